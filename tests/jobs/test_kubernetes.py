"""The Kubernetes manifests that users copy: valid, and meaning what they should. test_container runs their pods."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import kubernetes_validate
import pytest
import yaml
from cronsim import CronSim

from tests.conftest import parse
from tests.machine import IMAGE, ROOT, need, run
from titanic_batch import errors
from titanic_batch.runs.exit_codes import code_of

FOLDER = ROOT / "jobs" / "kubernetes"
KUSTOMIZATIONS = ["base", "overlays/example"]
Manifest = dict[str, Any]


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert told["onExitCodes"]["values"] == sorted(set(codes.values()))
    assert worth_a_retry == {74, 75}
    assert job["backoffLimitPerIndex" if indexed else "backoffLimit"] > 0
    assert job["activeDeadlineSeconds"] > 0


@each_with_pods
def test_arguments_are_those_of_the_command(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    container = container_of(manifest)
    assert container["image"] == IMAGE
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")  # as Kubernetes does
    for variable in container.get("env", ()):
        monkeypatch.setenv(variable["name"], variable.get("value", ""))
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


@pytest.mark.slow
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
