"""The image: what it is built from, and how it runs, built from the Dockerfile as it is; and the pods that run it.

All tests that need the image are here, so that a run that is split by files builds it once.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from packaging.requirements import Requirement

from tests.conftest import DATA
from tests.jobs.test_kubernetes import Manifest, container_of, job_of, named, pod_of
from tests.machine import HARDENED, IMAGE, ROOT, Podman, wait_until
from tests.passengers import many
from titanic_batch.version import __version__

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.lock", "build-requirements.lock")
SITE_PACKAGES = "/opt/titanic/lib/python3.11/site-packages"

in_containers = [pytest.mark.slow, pytest.mark.machine]


def pins(lock: str) -> dict[str, tuple[str, int]]:
    """Return each pinned package's version and how many hashes it may have."""
    found = {}
    for pin in re.split(r"^(?=[a-z])", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, _, version = pin.split()[0].partition("==")
        found[name] = (version, len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", pin)))
    return found


@pytest.mark.parametrize(
    ("lock", "asked_for"),
    [(LOCKS[0], PROJECT["project"]["dependencies"]), (LOCKS[1], PROJECT["build-system"]["requires"])],
)
def test_lock_holds_a_version_of_all_that_is_asked_for(lock: str, asked_for: list[str]) -> None:
    pinned = pins(lock)
    for requirement in map(Requirement, asked_for):
        assert requirement.name in pinned, f"renew {lock} by the command at its top"
        assert requirement.specifier.contains(pinned[requirement.name][0]), f"renew {lock} by the command at its top"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_hashes_and_no_addresses(lock: str) -> None:
    assert all(version and hashes for version, hashes in pins(lock).values())
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "-url" not in text.replace("--no-emit-index-url", "")
    assert "uv pip compile" in text.splitlines()[1]


def test_label_has_the_version_of_the_package() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE


def test_build_context_is_what_the_dockerfile_copies() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE)
        for name in line.split()
    }
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the image's user may write to, with passengers in it."""
    shutil.copy(DATA / "test.csv", tmp_path / "input.csv")
    os.chown(tmp_path, 10001, 10001)
    return tmp_path


class TestImage:
    pytestmark = in_containers

    def test_says_what_it_is_and_how_it_starts(self, podman: Podman) -> None:
        image = podman.inspect(IMAGE)
        config = image["Config"]
        assert config["User"] == "10001:10001"
        assert config["Entrypoint"] == ["titanic"]
        assert config["Cmd"] == ["serve"]
        assert list(config["ExposedPorts"]) == ["8080/tcp"]
        assert {"TITANIC_HOST=0.0.0.0", "TITANIC_MODEL=/models/model.skops"} <= set(config["Env"])
        assert image["Healthcheck"]["Test"][:2] == ["CMD", "python"]
        labels = {
            name.rpartition(".")[2]: value for name, value in config["Labels"].items() if "opencontainers" in name
        }
        assert labels["title"] == "titanic"
        assert labels["version"] == __version__
        assert labels["licenses"] == "MIT"

    def test_holds_no_tests_no_pip_and_bytecode_only_of_what_is_imported(self, podman: Podman) -> None:
        root = Path(podman("image", "mount", IMAGE).stdout.strip())
        packages = root / SITE_PACKAGES[1:]
        names = {path.name for path in packages.iterdir()}
        assert {"titanic_batch", "pyarrow", "sklearn"} <= names
        assert not {"pip", "setuptools", "hatchling", "pytest"} & names
        assert list(packages.rglob("tests")) == []
        assert list(packages.glob("titanic_batch/runs/__pycache__/batch.*.pyc"))
        assert not list(packages.glob("pygments/lexers/__pycache__/sql.*"))
        size = sum(path.lstat().st_size for path in packages.rglob("*"))
        podman("image", "unmount", IMAGE)
        assert size < 420e6, "the image has grown: see what dominates, and change the README's figures"

    def test_scores_restricted_as_hard_as_may_be(self, podman: Podman, folder: Path) -> None:
        done = podman.titanic(folder, "score", "/data/input.csv", "-o", "/data/preds.parquet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        written = pq.read_table(folder / "preds.parquet")
        assert written.column_names == ["PassengerId", "Survived", "Probability"]
        assert written.num_rows == 418
        assert written.column("Survived").value_counts().to_pylist() != []
        assert {path.name for path in folder.iterdir()} == {"input.csv", "preds.parquet"}

    def test_scores_two_million_rows_within_768_megabytes(self, podman: Podman, folder: Path) -> None:
        pa.csv.write_csv(many(2_000_000), folder / "large.csv")
        done = podman.titanic(folder, "score", "/data/large.csv", "-o", "/data/preds.parquet")
        assert done.returncode == 0, done.stderr
        assert pq.read_metadata(folder / "preds.parquet").num_rows == 2_000_000

    def test_has_no_more_memory_than_that(self, podman: Podman, folder: Path) -> None:
        greedy = ["python", "-c", "len(bytearray(b'x' * 900_000_000))"]
        done = podman("run", "--rm", "--pull=never", *HARDENED, f"--entrypoint={json.dumps(greedy)}", IMAGE)
        assert done.returncode == 137

    @pytest.mark.parametrize(
        ("code", "arguments"),
        [
            (0, ["--version"]),
            (2, ["score", "/data/input.csv"]),
            (65, ["score", "/data/bad.csv", "-o", "/data/preds.csv"]),
            (66, ["score", "/data/none.csv", "-o", "/data/preds.csv"]),
            (73, ["score", "/data/input.csv", "-o", "/srv/preds.csv"]),
            (78, ["score", "/data/input.csv", "-o", "/data/preds.csv", "--model", "/models/none.skops"]),
            (78, ["score", "/data/input.csv", "-o", "/data/preds.csv", "--model-sha256", "0" * 64]),
        ],
    )
    def test_exit_code_comes_through(self, podman: Podman, folder: Path, code: int, arguments: list[str]) -> None:
        (folder / "bad.csv").write_text("PassengerId,Pclass\n1,3\n")
        done = podman.titanic(folder, *arguments)
        assert done.returncode == code
        assert len(done.stderr.splitlines()) <= 1 or code == 2
        assert "Traceback" not in done.stderr
        assert not (folder / "preds.csv").exists()

    def test_stops_within_seconds_when_told_to_and_leaves_the_old_output(self, podman: Podman, folder: Path) -> None:
        (folder / "preds.csv").write_text("old\n")
        name = "stopped"
        arguments = ["score", "-", "-o", "/data/preds.csv", "--rejects", "/data/rejects.csv"]
        command = podman.command(
            "run", "--rm", "--interactive", "--pull=never", f"--name={name}", *HARDENED, "--tmpfs=/tmp"
        )
        with subprocess.Popen(
            [*command, f"--volume={folder}:/data", IMAGE, *arguments],
            env=podman.environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as running:
            assert running.stdin is not None
            pa.csv.write_csv(many(400_000), running.stdin)  # some of the blocks that it reads, and no end
            running.stdin.flush()
            wait_until(lambda: any(path.name.endswith(".partial") for path in folder.iterdir()), 30, "it writes")
            podman("kill", "--signal=TERM", name)
            started = time.monotonic()
            assert running.wait(30) == 143
            assert time.monotonic() - started < 10  # podman's own default before SIGKILL, which would be 137
        assert (folder / "preds.csv").read_text() == "old\n"
        assert {path.name for path in folder.iterdir()} == {"input.csv", "preds.csv"}


@pytest.fixture(scope="module")
def server(podman: Podman) -> Iterator[str]:
    """The bare image, serving; it listens in a network of its own."""
    name = "serving"
    started = podman("run", "--detach", "--pull=never", f"--name={name}", *HARDENED, IMAGE)
    assert started.returncode == 0, started.stderr
    wait_until(lambda: podman("healthcheck", "run", name).returncode == 0, 30, "it is healthy")
    yield name
    podman("rm", "--force", "--time=0", name)


class TestServing:
    pytestmark = in_containers

    def test_healthcheck_fails_where_nothing_serves(self, podman: Podman) -> None:
        idle = '--entrypoint=["python", "-c", "import time; time.sleep(60)"]'
        assert podman("run", "--detach", "--pull=never", "--name=idle", *HARDENED, idle, IMAGE).returncode == 0
        assert podman("healthcheck", "run", "idle").returncode == 1
        podman("rm", "--force", "--time=0", "idle")

    def test_answers_from_any_address(self, podman: Podman, server: str) -> None:
        ask = "from urllib.request import urlopen; print(urlopen('http://127.0.0.2:8080/ping').status)"
        done = podman("exec", server, "python", "-c", ask)
        assert (done.returncode, done.stdout) == (0, "200\n")

    def test_stops_when_told_to(self, podman: Podman, server: str) -> None:
        started = time.monotonic()
        assert podman("stop", "--time=20", server).returncode == 0
        assert time.monotonic() - started < 20
        assert podman.inspect(server)["State"]["ExitCode"] == 0
        assert "Traceback" not in podman("logs", server).stdout


def docker_blocks() -> list[str]:
    return re.findall(r"^```sh\n(docker .*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


class TestReadme:
    pytestmark = in_containers

    def test_what_is_shown_for_docker_works(self, podman: Podman, tmp_path: Path) -> None:
        """Run the README's lines in one shell, in their order; ``docker`` is podman, and nothing is pulled."""
        (tmp_path / "bin").mkdir()
        shim = tmp_path / "bin" / "docker"
        command = " ".join(podman.command())
        shim.write_text(
            "#!/bin/sh\ncommand=$1; shift\n"
            f'[ "$command" = build ] && exec {command} build --format=docker --pull=never --network=host "$@"\n'
            f'exec {command} "$command" --pull=never "$@"\n'
        )
        shim.chmod(0o755)
        (tmp_path / "models").mkdir()
        model = Path(podman("image", "mount", IMAGE).stdout.strip()) / "models" / "model.skops"
        for name in ("model.skops", "models/2026-11.skops"):
            shutil.copy(model, tmp_path / name)
        podman("image", "unmount", IMAGE)
        shutil.copy(DATA / "test.csv", tmp_path / "input.csv")
        blocks = docker_blocks()
        assert len(blocks) == 4
        script = "set -e\n" + "".join(blocks).replace("docker build -t titanic .\n", "")
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=podman.environment | {"PATH": f"{tmp_path / 'bin'}:{podman.environment['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert pq.read_metadata(tmp_path / "preds.parquet").num_rows == 418

    def test_a_mounted_folder_without_the_model_is_an_error(self, podman: Podman, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        mount = f"--volume={tmp_path / 'empty'}:/models:ro"
        done = podman.titanic(folder, "score", "/data/input.csv", "-o", "/data/preds.csv", options=[mount])
        assert done.returncode == 78
        assert len(done.stderr.splitlines()) == 1


def with_data(pod: Any, folder: Path) -> Any:
    """Return the pod with our image, and with ``folder`` in the place of the volume, which podman does not have."""
    pod = copy.deepcopy(pod)
    for volume in pod["volumes"]:
        if "persistentVolumeClaim" in volume:
            del volume["persistentVolumeClaim"]
            volume["hostPath"] = {"path": str(folder), "type": "Directory"}
    (container,) = pod["containers"]
    container |= {"image": f"localhost/{IMAGE}", "imagePullPolicy": "Never"}
    return pod


def play(podman: Podman, *played: Manifest) -> None:
    file = podman.folder / "play.yaml"
    file.write_text(yaml.safe_dump_all(played), encoding="utf-8")
    done = podman("kube", "play", "--network=none", file)
    assert done.returncode == 0, done.stderr


def config(sha256: str = "") -> Manifest:
    data = {"TITANIC_MODEL": "/models/model.skops"} | ({"TITANIC_MODEL_SHA256": sha256} if sha256 else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "titanic-model"}, "data": data}


class TestPods:
    pytestmark = in_containers

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """What the volume holds: passengers, and a folder for each kind of output."""
        for name in ("in", "out", "reports"):
            (tmp_path / name).mkdir()
        for path in (tmp_path, *tmp_path.iterdir()):
            os.chown(path, 10001, 10001)
        shutil.copy(DATA / "test.csv", tmp_path / "in" / "passengers.csv")
        return tmp_path

    def run_job(
        self, podman: Podman, folder: Path, manifest: Manifest, index: int | None = None, sha256: str = ""
    ) -> tuple[int, str]:
        """Run a job's pod as Kubernetes would, and return its exit code and what it logged."""
        spec = with_data(pod_of(manifest), folder)
        metadata: Manifest = {"name": "job"}
        if index is not None:
            metadata["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
            (container,) = spec["containers"]
            container["env"].append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
            # Kubernetes puts a container's variables into its arguments, podman does not.
            container["args"] = [argument.replace("$(SHARD)", str(index)) for argument in container["args"]]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        try:
            play(podman, config(sha256), pod)
            code = int(podman("wait", "job-titanic").stdout)
            logged = podman("logs", "job-titanic")
            return code, logged.stdout + logged.stderr
        finally:
            podman("pod", "rm", "--force", "--time=0", "job")

    def test_nightly_run_writes_predictions_and_a_report(self, podman: Podman, folder: Path) -> None:
        code, _ = self.run_job(podman, folder, named("CronJob"))
        assert code == 0
        assert pq.read_metadata(folder / "out" / "preds.parquet").num_rows == 418
        report = json.loads((folder / "reports" / "nightly.json").read_text(encoding="utf-8"))
        assert report["exit_code"] == 0

    def test_nightly_run_fails_for_good_where_the_data_is_bad(self, podman: Podman, folder: Path) -> None:
        path = folder / "in" / "passengers.csv"
        path.write_text(path.read_text(encoding="utf-8").replace(",male,", ",other,", 1), encoding="utf-8")
        code, logged = self.run_job(podman, folder, named("CronJob"))
        assert code == 65
        assert code in job_of(named("CronJob"))["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
        assert [json.loads(line) for line in logged.splitlines()]
        assert not (folder / "out" / "preds.parquet").exists()

    def test_nightly_run_takes_no_model_but_the_pinned_one(self, podman: Podman, folder: Path) -> None:
        code, _ = self.run_job(podman, folder, named("CronJob"), sha256="2" * 64)
        assert code == 78
        assert not (folder / "out" / "preds.parquet").exists()

    def test_shares_of_the_large_job_make_a_whole(self, podman: Podman, folder: Path) -> None:
        table = pa.csv.read_csv(DATA / "test.csv")
        for number in range(3):
            pq.write_table(table.slice(number * 100, 100), folder / "in" / f"{number}.parquet")
        job = copy.deepcopy(named("Job"))
        environment = container_of(job)["env"]
        next(item for item in environment if item["name"] == "TITANIC_SHARD_COUNT")["value"] = "2"
        for index in range(2):
            code, logged = self.run_job(podman, folder, job, index)
            assert code == 0, logged
            report = json.loads((folder / "reports" / f"large-{index}.json").read_text(encoding="utf-8"))
            assert report["exit_code"] == 0
        written = sorted((folder / "out" / "large").glob("*.parquet"))
        assert [path.name for path in written] == ["0.parquet", "1.parquet", "2.parquet"]
        assert [pq.read_metadata(path).num_rows for path in written] == [100] * 3

    @pytest.fixture
    def served(self, podman: Podman, folder: Path) -> Iterator[str]:
        deployment = copy.deepcopy(named("Deployment"))
        deployment["spec"]["replicas"] = 1
        deployment["spec"]["template"]["spec"] = spec = with_data(pod_of(deployment), folder)
        # podman would publish what Kubernetes only names, and has no network to do so.
        (port,) = spec["containers"][0].pop("ports")
        for kind in ("startup", "liveness", "readiness"):
            spec["containers"][0][f"{kind}Probe"]["httpGet"]["port"] = port["containerPort"]
        try:
            play(podman, config(), deployment)
            pods = podman("pod", "ps", "--format={{.Name}}").stdout.split()
            (pod,) = [name for name in pods if name.startswith("titanic")]
            listens = "from socket import create_connection as c; c(('127.0.0.1', 8080))"
            asked = ["exec", f"{pod}-titanic", "python", "-c", listens]
            wait_until(lambda: podman(*asked).returncode == 0, 30, "it listens")
            yield f"{pod}-titanic"
        finally:
            podman("pod", "rm", "--all", "--force", "--time=0")

    def test_probes_are_answered(self, podman: Podman, served: str) -> None:
        container = container_of(named("Deployment"))
        ask = "import sys, urllib.request as r; r.urlopen('http://127.0.0.1:8080' + sys.argv[1])"

        def is_answered(kind: str) -> bool:
            path = container[f"{kind}Probe"]["httpGet"]["path"]
            return podman("exec", served, "python", "-c", ask, path).returncode == 0

        kinds = ("startup", "liveness", "readiness")
        # It listens before its model is loaded, and Kubernetes asks again.
        wait_until(partial(is_answered, "readiness"), 30, "the readiness probe is answered")
        assert [kind for kind in kinds if not is_answered(kind)] == []
