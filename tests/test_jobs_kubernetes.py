"""The Kubernetes manifests that users copy: valid, meaning what they should, and their pods run."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import kubernetes_validate
import pyarrow.parquet as pq
import pytest
import yaml
from cronsim import CronSim
from pyarrow import csv

from tests.conftest import DATA, parse
from tests.machine import IMAGE, ROOT, Podman, need, run, wait_until
from titanic_batch import errors
from titanic_batch.exit_codes import code_of

FOLDER = ROOT / "jobs" / "kubernetes"
KUSTOMIZATIONS = ["base", "overlays/example"]
Manifest = dict[str, Any]

in_containers = [pytest.mark.slow, pytest.mark.machine, pytest.mark.xdist_group("podman")]


def manifests(folder: Path) -> list[Manifest]:
    """Return what the folder's files hold, as it stands there."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text)]


BASE = [manifest for manifest in manifests(FOLDER / "base") if manifest["kind"] != "Kustomization"]


def named(kind: str, among: list[Manifest] = BASE) -> Manifest:
    (found,) = [manifest for manifest in among if manifest["kind"] == kind]
    return found


def job_of(manifest: Manifest) -> Any:
    return manifest["spec"]["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else manifest["spec"]


def pod_of(manifest: Manifest) -> Any:
    return job_of(manifest)["template"]["spec"]


def container_of(manifest: Manifest) -> Any:
    (container,) = pod_of(manifest)["containers"]
    return container


WITH_PODS = [manifest for manifest in BASE if manifest["kind"] in {"CronJob", "Job", "Deployment"}]
each_with_pods = pytest.mark.parametrize("manifest", WITH_PODS, ids=lambda manifest: manifest["kind"])
each_job = pytest.mark.parametrize("manifest", WITH_PODS[:2], ids=lambda manifest: manifest["kind"])


@pytest.fixture(scope="module", params=KUSTOMIZATIONS)
def rendered(request: pytest.FixtureRequest) -> list[Manifest]:
    """What `kubectl kustomize` makes of the base, and of the overlay."""
    need("kubectl")
    done = run(["kubectl", "kustomize", FOLDER / request.param])
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def test_every_file_begins_with_what_to_change() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert len(files) == 7
    assert all(path.read_text(encoding="utf-8").startswith("# ") for path in files)


@pytest.mark.machine
@pytest.mark.parametrize("version", ["1.33", kubernetes_validate.latest_version()])
def test_is_valid_in_every_field(rendered: list[Manifest], version: str) -> None:
    assert len(rendered) >= 7
    for manifest in rendered:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_check_of_fields_finds_what_is_misspelled_or_unknown() -> None:
    misspelled = copy.deepcopy(named("CronJob"))
    job_of(misspelled)["backofLimit"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelled, "1.33", strict=True)
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(named("CronJob") | {"apiVersion": "batch/v9"}, "1.33", strict=True)


@pytest.mark.machine
def test_overlay_changes_what_it_shows(rendered: list[Manifest], request: pytest.FixtureRequest) -> None:
    kinds = [manifest["kind"] for manifest in rendered]
    nightly = named("CronJob", rendered)
    config = named("ConfigMap", rendered)
    assert container_of(nightly)["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    if "overlays/example" not in request.node.name:
        assert container_of(nightly)["image"] == "titanic"
        assert named("Job", rendered)["spec"]["suspend"] is True
        return
    assert "Job" not in kinds
    assert {manifest["metadata"].get("namespace", "passengers") for manifest in rendered} == {"passengers"}
    labels = named("Namespace", rendered)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert container_of(nightly)["image"].startswith("registry.example.org/passengers/titanic@sha256:")
    assert container_of(nightly)["args"][-1] == "--max-rejects=1%"
    assert len(config["data"]["TITANIC_MODEL_SHA256"]) == 64
    assert config["data"]["TITANIC_MODEL"].startswith("/data/models/")
    assert named("Deployment", rendered)["spec"]["replicas"] == 4


@pytest.mark.machine
def test_schedule_comes_round_in_a_time_zone_that_exists(rendered: list[Manifest]) -> None:
    spec = named("CronJob", rendered)["spec"]
    schedule = CronSim(spec["schedule"], datetime(2026, 11, 23, tzinfo=UTC))
    first, second = next(schedule), next(schedule)
    assert 86400 <= (second - first).total_seconds() <= 3 * 86400
    assert spec["timeZone"] in available_timezones()
    assert spec["startingDeadlineSeconds"] < 86400
    assert spec["concurrencyPolicy"] == "Forbid"


@each_job
def test_only_what_may_come_right_is_tried_again(manifest: Manifest) -> None:
    job, container = job_of(manifest), container_of(manifest)
    assert pod_of(manifest)["restartPolicy"] == "Never"
    disrupted, told = job["podFailurePolicy"]["rules"]
    assert disrupted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    indexed = job.get("completionMode") == "Indexed"
    assert told["action"] == ("FailIndex" if indexed else "FailJob")
    assert told["onExitCodes"]["containerName"] == container["name"]
    assert told["onExitCodes"]["operator"] == "In"
    codes = {kind: code_of(kind()) for kind in errors.TitanicError.__subclasses__()}
    worth_a_retry = {codes.pop(errors.TransferError), codes.pop(errors.OutputBusyError)}
    assert told["onExitCodes"]["values"] == sorted(codes.values())
    assert worth_a_retry == {74, 75}
    assert job["backoffLimitPerIndex" if indexed else "backoffLimit"] > 0
    assert job["activeDeadlineSeconds"] > 0


@each_with_pods
def test_arguments_are_those_of_the_command(manifest: Manifest) -> None:
    container = container_of(manifest)
    assert container["image"] == IMAGE
    parse(*container["args"])


def test_all_shares_are_taken() -> None:
    job = named("Job")
    spec, environment = job["spec"], {item["name"]: item.get("value") for item in container_of(job)["env"]}
    assert spec["completionMode"] == "Indexed"
    assert environment["TITANIC_SHARD_COUNT"] == str(spec["completions"])
    assert 1 < spec["parallelism"] <= spec["completions"]


def test_service_and_budget_find_the_pods_that_serve() -> None:
    deployment, service, budget = named("Deployment"), named("Service"), named("PodDisruptionBudget")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]]
    for selector in [*selectors, budget["spec"]["selector"]["matchLabels"]]:
        assert selector
        assert selector.items() <= labels.items()
    assert deployment["spec"]["replicas"] > budget["spec"]["maxUnavailable"]
    container = container_of(deployment)
    (port,) = container["ports"]
    assert port["containerPort"] == 8080
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [probe["port"] for probe in probes] == [port["name"]] * 3


def offences(pod: Any) -> list[str]:
    """Return what of a pod offends against the "restricted" Pod Security Standard, or the house's own rules."""
    security = pod.get("securityContext", {})
    volumes = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    rules = {
        "host": not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
        "volumes": all(set(volume) - {"name"} <= volumes for volume in pod.get("volumes", [])),
        "root": security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0,
        "seccomp": security.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "sysctls": not security.get("sysctls"),
        "token": pod.get("automountServiceAccountToken") is False,
        "links": pod.get("enableServiceLinks") is False,
    }
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext", {})
        rules |= {
            "escalation": own.get("allowPrivilegeEscalation") is False and not own.get("privileged"),
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "own root": own.get("runAsNonRoot", True) is True and own.get("runAsUser", 1) > 0,
            "own seccomp": own.get("seccompProfile", {}).get("type", "RuntimeDefault") == "RuntimeDefault",
            "ports": not any("hostPort" in port for port in container.get("ports", [])),
            "read-only": own.get("readOnlyRootFilesystem") is True,
            "memory": "memory" in container["resources"]["limits"] and "memory" in container["resources"]["requests"],
        }
    return [name for name, kept in rules.items() if not kept]


@pytest.mark.machine
def test_pods_meet_the_restricted_standard(rendered: list[Manifest]) -> None:
    pods = [pod_of(manifest) for manifest in rendered if manifest["kind"] in {"CronJob", "Job", "Deployment"}]
    assert pods
    assert [offences(pod) for pod in pods] == [[]] * len(pods)


@each_with_pods
def test_base_meets_the_restricted_standard(manifest: Manifest) -> None:
    assert offences(pod_of(manifest)) == []


@pytest.mark.parametrize(
    ("offence", "spoil"),
    [
        ("host", lambda pod: pod.update(hostNetwork=True)),
        ("volumes", lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})),
        ("root", lambda pod: pod["securityContext"].pop("runAsNonRoot")),
        ("seccomp", lambda pod: pod["securityContext"].pop("seccompProfile")),
        ("links", lambda pod: pod.pop("enableServiceLinks")),
        ("token", lambda pod: pod.pop("automountServiceAccountToken")),
        ("escalation", lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
        ("capabilities", lambda pod: pod["containers"][0]["securityContext"].pop("capabilities")),
        ("own root", lambda pod: pod["containers"][0]["securityContext"].update(runAsUser=0)),
        ("read-only", lambda pod: pod["containers"][0]["securityContext"].pop("readOnlyRootFilesystem")),
    ],
)
def test_the_check_of_the_standard_finds_offences(offence: str, spoil: Any) -> None:
    pod = copy.deepcopy(pod_of(named("CronJob")))
    spoil(pod)
    assert offences(pod) == [offence]


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
        table = csv.read_csv(DATA / "test.csv")
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
        for kind in ("startup", "liveness", "readiness"):
            path = container[f"{kind}Probe"]["httpGet"]["path"]
            done = podman("exec", served, "python", "-c", ask, path)
            assert done.returncode == 0, done.stderr
