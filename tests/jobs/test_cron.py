"""The crontab that users copy, fired by a real cron."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import DATA, parse
from tests.machine import ROOT, need, wait_until

CRONTAB = (ROOT / "jobs" / "cron" / "titanic").read_text(encoding="utf-8")
(JOB,) = re.findall(r"^[\d*].*$", CRONTAB, flags=re.MULTILINE)

# What cron reads and what it hands its mail to are replaced in a mount namespace of its own: the machine's crontabs are
# not run, nothing is installed, and all that cron started ends with it.
_PRIVATE = """
set -e
mount --bind cron.d /etc/cron.d
mount --bind empty /etc/crontab
mount -t tmpfs tmpfs /var/spool/cron
mkdir /var/spool/cron/crontabs
mount -t tmpfs tmpfs /run
mount -t overlay overlay -o lowerdir=/usr/sbin,upperdir="$PWD/sbin",workdir="$PWD/work" /usr/sbin
exec /usr/sbin/cron -f -L 15
"""


def fields(job: str) -> tuple[list[str], str, str]:
    """Return the schedule, the user and the command of a line of a crontab in /etc/cron.d."""
    *schedule, user, command = job.split(maxsplit=6)
    return schedule, user, command


def test_job_is_a_command_at_a_time_that_comes() -> None:
    (minute, hour, *days), user, command = fields(JOB)
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert days == ["*", "*", "*"]
    assert user == "titanic"
    assert "%" not in command  # which cron takes for the end of the line
    program, *arguments = shlex.split(command)
    assert program == "titanic"
    given = parse(*arguments)
    assert given["wait"] > 0
    assert given["output"].startswith("/srv/titanic/out/")
    assert re.search(r"^TITANIC_MODEL=/srv/titanic/", CRONTAB, flags=re.MULTILINE)
    assert CRONTAB.endswith("\n")  # cron passes over a last line without its end


@pytest.fixture
def srv(tmp_path: Path, model_file: Path) -> Path:
    """A folder laid out as the crontab has it, and one as bad as the other is good."""
    for name in ("good", "bad"):
        for part in ("in", "out"):
            (tmp_path / name / part).mkdir(parents=True)
        shutil.copy(DATA / "test.csv", tmp_path / name / "in" / "passengers.csv")
        shutil.copy(model_file, tmp_path / name / "model.skops")
    path = tmp_path / "bad" / "in" / "passengers.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",male,", ",other,", 1), encoding="utf-8")
    return tmp_path


@pytest.fixture
def cron(srv: Path) -> Iterator[Path]:
    """A real cron, with the crontab for each folder, every minute, as root; gives the folder where mail arrives."""
    need("cron", "unshare", root=True)
    for name in ("cron.d", "sbin", "work", "mail"):
        (srv / name).mkdir()
    (srv / "empty").touch()
    for name in ("good", "bad"):
        crontab = CRONTAB.replace(JOB, f"* * * * * root {fields(JOB)[2]}")
        crontab = crontab.replace("/opt/titanic/bin", str(Path(sys.executable).parent))
        crontab = crontab.replace("/srv/titanic", str(srv / name)).replace("ops@", f"{name}@")
        (srv / "cron.d" / name).write_text(crontab)
        (srv / "cron.d" / name).chmod(0o644)
    sendmail = srv / "sbin" / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat > {srv}/mail/$$.part && mv {srv}/mail/$$.part {srv}/mail/$$\n")
    sendmail.chmod(0o755)
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen([*unshare, "sh", "-c", _PRIVATE], cwd=srv, stdin=subprocess.DEVNULL) as running:
        try:
            yield srv / "mail"
        finally:
            running.kill()


@pytest.mark.slow
@pytest.mark.machine
def test_cron_runs_the_job_and_mails_only_where_it_fails(cron: Path, srv: Path) -> None:
    predictions, report = (srv / "good" / "out" / name for name in ("preds.parquet", "report.json"))

    def mail() -> list[Path]:
        return [path for path in cron.iterdir() if path.suffix != ".part"]

    wait_until(lambda: report.exists() and mail(), 100, "cron has fired")  # a run publishes its report last
    assert pq.read_metadata(predictions).num_rows == 418
    assert not (srv / "bad" / "out" / "preds.parquet").exists()
    (letter,) = [path.read_text(encoding="utf-8") for path in mail()]
    assert "To: bad@example.org" in letter
    head, _, body = letter.partition("\n\n")
    assert "Subject: Cron" in head
    assert re.fullmatch(r"titanic: .*1 of 418 rows rejected.*no predictions written.*\n", body)
