"""Metrics that Prometheus' own tools take, of a run that went well and of one that did not."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from titanic_batch.runs.prometheus import LastRun, exposition

LABELS = {"output": 'out/"odd"\\name\n.csv'}


def metrics(exit_code: int = 0, ended: float = 1.5e9, old: str = "", **labels: str) -> str:
    run = LastRun(
        exit_code=exit_code,
        ended=ended,
        seconds=2.25,
        rows={"scored": 400, "rejected": 18},
        rules={("not_allowed", "size"): 17, ("wrong_field_count", None): 2},
    )
    return exposition(run, labels or LABELS, old)


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed")
    return path or pytest.skip(f"{name} is not installed")


def value(text: str, name: str) -> str | None:
    match = re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return match[1] if match else None


def test_a_run_is_told_in_full() -> None:
    samples = [line for line in metrics(output="p.csv").splitlines() if not line.startswith("#")]
    assert samples == [
        'titanic_last_run_timestamp_seconds{output="p.csv"} 1.5e+09',
        'titanic_last_success_timestamp_seconds{output="p.csv"} 1.5e+09',
        'titanic_last_run_duration_seconds{output="p.csv"} 2.25',
        'titanic_last_run_exit_code{output="p.csv"} 0.0',
        'titanic_last_run_rows{outcome="scored",output="p.csv"} 400.0',
        'titanic_last_run_rows{outcome="rejected",output="p.csv"} 18.0',
        'titanic_last_run_broken_rules{column="size",output="p.csv",rule="not_allowed"} 17.0',
        'titanic_last_run_broken_rules{column="",output="p.csv",rule="wrong_field_count"} 2.0',
    ]


def test_the_last_success_is_kept_through_failures() -> None:
    name = "titanic_last_success_timestamp_seconds"
    first = metrics(ended=1000000.25)
    assert value(first, name) == "1.00000025e+06"
    second = metrics(65, 2000000.0, first)
    third = metrics(74, 3000000.0, second)
    assert (value(third, name), value(third, "titanic_last_run_timestamp_seconds")) == ("1.00000025e+06", "3e+06")
    assert value(metrics(0, 4000000.0, third), name) == "4e+06"


def test_who_never_succeeded_has_no_last_success() -> None:
    assert "last_success" not in metrics(65)
    assert "last_success" not in metrics(65, old=metrics(output="of another job"))
    assert "last_success" not in metrics(65, old="no metrics at all")


@pytest.mark.parametrize("exit_code", [0, 65])
def test_promtool_finds_nothing(exit_code: int) -> None:
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=metrics(exit_code), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.slow
def test_node_exporter_serves_the_files_of_several_jobs(tmp_path: Path) -> None:
    (tmp_path / "odd.prom").write_text(metrics())
    (tmp_path / "failed.prom").write_text(metrics(65, output="p.csv", shard="0/2"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        tool("prometheus-node-exporter"),
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={tmp_path}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    exporter = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        served, until = "", time.monotonic() + 60
        while not served and time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    served = answer.read().decode()
            except OSError:
                time.sleep(0.1)
    finally:
        exporter.kill()
        exporter.wait()
    assert value(served, "node_textfile_scrape_error") == "0"
    assert r'titanic_last_run_exit_code{output="out/\"odd\"\\name\n.csv"} 0' in served
    assert 'titanic_last_run_exit_code{output="p.csv",shard="0/2"} 65' in served
    assert 'titanic_last_run_rows{outcome="rejected",output="p.csv",shard="0/2"} 18' in served
