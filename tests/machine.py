"""The real parts that some tests start: programs of the machine, and containers of podman's own.

Where a program is missing the test is skipped with that reason; in CI it fails, since .ci/run installs them all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
IMAGE = "titanic"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PIP_CONFIG = Path("/etc/pip.conf")
_SBIN = "/usr/sbin:/sbin"  # where Debian has some of these programs, and a user's PATH does not reach

# Restricted as hard as a scheduler may restrict a batch run.
HARDENED = (
    "--network=none",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=10001:10001",
    "--memory=768m",
    "--memory-swap=768m",
    "--pids-limit=64",
)


def need(*programs: str, root: bool = False) -> None:
    """Skip the test where a program is missing, or root's rights are; in CI fail it."""
    path = f"{os.environ['PATH']}:{_SBIN}"
    lacking = [program for program in programs if shutil.which(program, path=path) is None]
    if root and os.geteuid() != 0:
        lacking.append("root's rights")
    if lacking:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {', '.join(lacking)}")


def run(
    arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of the machine to its end, which is not checked."""
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:{_SBIN}"} if environment is None else environment
    return subprocess.run(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Ask every tenth of a second until ``condition`` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain until {what}"
        time.sleep(0.1)


class Podman:
    """podman with storage of its own, and no image but those that it builds itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver="overlay"\ngraphroot="{folder}/graph"\nrunroot="{folder}/run"\n'
        )
        (folder / "registries.conf").write_text('unqualified-search-registries=["docker.io"]\n')
        # No network unless one is asked for, and limits that a container inside of another, as CI may be, may set.
        (folder / "containers.conf").write_text(
            '[containers]\nnetns="none"\ndefault_ulimits=["nofile=20000:20000","nproc=20000:20000"]\npids_limit=0\n'
        )
        self.environment = os.environ | {
            "PATH": f"{os.environ['PATH']}:{_SBIN}",
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
        }

    def command(self, *arguments: str | Path) -> list[str]:
        return ["podman", "--runtime=runc", *map(str, arguments)]

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run podman to its end, which is not checked. stderr is without podman's own words on systemd."""
        done = run(self.command(*arguments), self.environment, self.folder)  # where a killed container leaves a file
        done.stderr = re.sub(r'^time="[^"]*" level=error msg="unable to get systemd.*\n', "", done.stderr, flags=re.M)
        return done

    def build(self, folder: Path, tag: str) -> None:
        """Build ``folder``'s Dockerfile as it is; the machine's settings of pip are there while it is built."""
        mounts = [f"--volume={path}:{path}:ro" for path in (_CERTIFICATES, _PIP_CONFIG) if path.exists()]
        options = ["--format=docker", "--layers=false", "--network=host", "--pull=never"]
        built = self("build", *options, *mounts, f"--tag={tag}", folder)
        assert built.returncode == 0, built.stdout + built.stderr

    def make_base_image(self) -> None:
        """Make what stands in for the official python:3.11-slim: Debian 12 with its Python, from the machine's mirror.

        Like the official one it has apt, and so libstdc++, which wheels expect of a system.
        """
        sources = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
        text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.exists())
        mirror = re.search(r"^(?:URIs: *|deb +(?:\[[^]]*\] *)?)(\S+)", text, flags=re.MULTILINE)
        assert mirror, "no mirror of Debian's packages is known to this machine"
        root = self.folder / "base.tar"
        options = [
            "--variant=apt",
            "--include=ca-certificates,python3,python3-venv",
            "--customize-hook=ln -s /usr/bin/python3 $1/usr/local/bin/python",
        ]
        made = run(["mmdebstrap", *options, "bookworm", root, mirror[1]])
        assert made.returncode == 0, made.stderr
        path = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        imported = self("import", f"--change={path}", root, "docker.io/library/python:3.11-slim")
        assert imported.returncode == 0, imported.stderr
        root.unlink()

    def titanic(
        self, data: Path, *arguments: str | Path, options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run the image as hard restricted as may be, with ``data`` as /data."""
        return self("run", "--rm", "--pull=never", *HARDENED, f"--volume={data}:/data", *options, IMAGE, *arguments)

    def inspect(self, name: str) -> Any:
        found = self("inspect", name)
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)[0]

    def close(self) -> None:
        """End every container and unmount and remove what podman keeps."""
        self("pod", "rm", "--all", "--force", "--time=0")
        self("rm", "--all", "--force", "--time=0")
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        for mount in sorted((mount for mount in mounts if mount.startswith(f"{self.folder}/")), reverse=True):
            run(["umount", mount])
        shutil.rmtree(self.folder)
