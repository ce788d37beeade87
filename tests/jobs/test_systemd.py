"""The systemd service and timer that users copy: systemd itself finds them sound, and hard to escape from."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
from pathlib import Path

import pytest

from tests.cli.command import Titanic
from tests.conftest import parse
from tests.machine import ROOT, need, run
from titanic_batch import errors
from titanic_batch.runs.exit_codes import code_of

FOLDER = ROOT / "jobs" / "systemd"
SERVICE = (FOLDER / "titanic-score.service").read_text(encoding="utf-8")
TIMER = (FOLDER / "titanic-score.timer").read_text(encoding="utf-8")


def settings(unit: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", unit, flags=re.MULTILINE))


def test_command_is_one() -> None:
    program, *arguments = shlex.split(settings(SERVICE)["ExecStart"])
    assert program == "/opt/titanic/bin/titanic"
    given = parse(*arguments)
    written = settings(SERVICE)["ReadWritePaths"]
    assert all(given[name].startswith(f"{written}/") for name in ("output", "report"))


def test_only_what_may_come_right_is_tried_again() -> None:
    codes = {kind: code_of(kind()) for kind in errors.TitanicError.__subclasses__()}
    for kind in (errors.TransferError, errors.OutputBusyError):
        del codes[kind]
    prevented = settings(SERVICE)["RestartPreventExitStatus"].split()
    assert [int(code) for code in prevented] == sorted(set(codes.values()))
    assert settings(SERVICE)["Restart"] == "on-failure"


def test_metrics_can_be_read_by_the_exporter_whatever_the_unit_masks(titanic: Titanic, tmp_path: Path) -> None:
    (hint,) = re.findall(r"--metrics (\S+\.prom)", SERVICE)
    metrics = tmp_path / Path(hint).name
    before = os.umask(int(settings(SERVICE)["UMask"], 8))
    try:
        assert titanic("score", ROOT / "data" / "test.csv", "-o", "p.csv", "--metrics", metrics).exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o644
    assert stat.S_IMODE(Path("p.csv").stat().st_mode) == 0o640


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units as they stand, but for the program, which is where these tests have it."""
    program = Path(sys.executable).with_name("titanic")
    (tmp_path / "titanic-score.service").write_text(SERVICE.replace("/opt/titanic/bin/titanic", str(program)))
    (tmp_path / "titanic-score.timer").write_text(TIMER)
    return sorted(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.machine
def test_systemd_finds_no_fault(units: list[Path]) -> None:
    need("systemd-analyze")
    done = run(["systemd-analyze", "verify", *units])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.machine
def test_systemd_finds_what_is_misspelled(units: list[Path]) -> None:
    need("systemd-analyze")
    units[0].write_text(units[0].read_text().replace("ProtectHome=", "ProtectHomes="))
    assert "'ProtectHomes'" in run(["systemd-analyze", "verify", *units]).stderr


@pytest.mark.slow
@pytest.mark.machine
def test_service_is_safe_by_systemd_s_own_count(units: list[Path]) -> None:
    need("systemd-analyze")
    done = run(["systemd-analyze", "security", "--offline=true", "--threshold=10", units[0]])
    assert done.returncode == 0, done.stdout  # in tenths: at most 1.0 of 10
    assert "SAFE" in done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.machine
def test_timer_fires_every_night() -> None:
    need("systemd-analyze")
    done = run(["systemd-analyze", "calendar", "--iterations=3", settings(TIMER)["OnCalendar"]])
    assert done.returncode == 0
    assert len(set(re.findall(r"\d{4}-\d\d-\d\d 02:15:00", done.stdout))) >= 3
