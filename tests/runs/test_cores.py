"""Cores are counted as joblib counts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from joblib.externals.loky.backend import context

from tests.cli.process import environment
from titanic_batch.runs import cores
from titanic_batch.runs.cores import count_cores

COUNTS = "import joblib; from titanic_batch.runs.cores import count_cores; print(count_cores(), joblib.cpu_count())"


@pytest.fixture
def no_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without files of a control group, in place of the machine's."""
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    monkeypatch.setattr(cores, "_QUOTA", str(tmp_path / "cpu.max"))
    monkeypatch.setattr(cores, "_QUOTA_V1", (str(tmp_path / "quota"), str(tmp_path / "period")))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))  # of a machine with eight cores
    return tmp_path


def counted_in_a_process(program: str = COUNTS, **variables: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(**variables), capture_output=True, text=True, check=True
    )
    return [int(count) for count in done.stdout.split()]


def test_cores_are_those_that_joblib_counts() -> None:
    assert count_cores() == joblib.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_process_that_is_bound_to_a_core_has_one() -> None:
    core = min(os.sched_getaffinity(0))
    assert counted_in_a_process(f"import os; os.sched_setaffinity(0, {{{core}}}); {COUNTS}") == [1, 1]


@pytest.mark.parametrize("limit", ["1", "2", " 1 ", "0", "-3", "10000"])
def test_the_limit_of_joblib_is_kept(limit: str) -> None:
    ours, theirs = counted_in_a_process(LOKY_MAX_CPU_COUNT=limit)
    assert ours == theirs <= len(os.sched_getaffinity(0))


def test_a_limit_that_is_no_number_is_an_error(no_group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "two")
    with pytest.raises(ValueError, match="two"):
        count_cores()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("100001 100000", 2),
        ("50000 100000\n", 1),
        ("1 100000\n", 1),
        ("1600000 100000\n", 8),
        ("max 100000\n", 8),
        ("max\n", 8),
        ("0 100000", 8),
        ("-1 100000", 8),
        ("100000 0", 8),
        ("", 8),
        ("100000\n", 8),
        ("1 2 3\n", 8),
        ("many few\n", 8),
        ("1.5 2\n", 8),
    ],
)
def test_the_quota_of_a_group_is_rounded_up(no_group: Path, content: str, expected: int) -> None:
    (no_group / "cpu.max").write_text(content)
    assert count_cores() == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("300000\n", "100000\n", 3),
        ("250000", "100000", 3),
        ("-1\n", "100000\n", 8),
        ("300000\n", "0\n", 8),
        ("x", "100000", 8),
        ("300000", None, 8),
        (None, "100000", 8),
    ],
)
def test_the_quota_of_an_older_group_is_rounded_up(
    no_group: Path, quota: str | None, period: str | None, expected: int
) -> None:
    for name, content in (("quota", quota), ("period", period)):
        if content is not None:
            (no_group / name).write_text(content)
    assert count_cores() == expected


@pytest.mark.parametrize(("content", "expected"), [("max 100000\n", 8), ("200000 100000\n", 2)])
def test_a_group_of_today_hides_an_older_one(no_group: Path, content: str, expected: int) -> None:
    (no_group / "cpu.max").write_text(content)
    (no_group / "quota").write_text("300000")
    (no_group / "period").write_text("100000")
    assert count_cores() == expected


def test_a_file_that_cannot_be_read_is_no_quota(no_group: Path) -> None:
    (no_group / "cpu.max").mkdir()
    assert count_cores() == 8


def test_the_least_of_all_limits_counts(no_group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (no_group / "cpu.max").write_text("400000 100000\n")
    assert count_cores() == 4
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "3")
    assert count_cores() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 6})
    assert count_cores() == 2


def test_a_system_without_affinity_has_all_cores(no_group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert count_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores() == 1


def test_the_files_are_those_that_joblib_reads() -> None:
    read = Path(str(context.__file__)).read_text(encoding="utf-8")
    for file in (cores._QUOTA, *cores._QUOTA_V1):
        assert f'"{file}"' in read
