"""The manifests of an installation: published schemas, the standard "restricted", rights, who reaches whom."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from sluicegate.services.cluster.install.conformance import conformance_job
from sluicegate.services.cluster.install.flow_jobs import base_job_template
from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.manifests import manifests
from sluicegate.services.cluster.install.parts import STATE, beat_probe
from sluicegate.services.cluster.install.texts import documents, files
from sluicegate.services.heartbeat import Heartbeats
from tests.kubernetes_standard import MINOR_VERSIONS, restricted_errors, schema_errors
from tests.unit.commands import sluice

IMAGE = "registry.example.com:5000/ml/sluicegate:1.0"
PLAIN = Installation(image=IMAGE)
FULL = Installation(
    image=IMAGE, namespace="ml", gateways=5, controls=2, service_monitor=True, console_from=("ingress", "monitoring"),
    console_hosts="sluice.example.com", pull_secrets=({"name": "regcred"},), pull_policy="Always",
)  # fmt: skip
Thing = Mapping[str, Any]


def of_kind(installation: Installation, kind: str) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in manifests(installation) if each["kind"] == kind}


def job(installation: Installation) -> dict[str, Any]:
    """The Job of a flow run, without what the worker adds: tests/integration/test_cluster_work_pool.py has all."""
    made: dict[str, Any] = json.loads(json.dumps(base_job_template(installation)["job_configuration"]["job_manifest"]))
    made["metadata"]["labels"] = {}
    [container] = made["spec"]["template"]["spec"]["containers"]
    container["args"] = ["prefect", "flow-run", "execute"]
    for misplaced in ("parallelism", "completions"):
        del made["spec"]["template"]["spec"][misplaced]
    return made


@pytest.mark.parametrize("minor", MINOR_VERSIONS)
def test_every_manifest_fits_the_published_schemas(minor: str) -> None:
    known = [each for each in manifests(FULL) if each["kind"] != "ServiceMonitor"]
    assert len(known) > 20
    assert [error for each in (*known, job(FULL), conformance_job(FULL)) for error in schema_errors(each, minor)] == []


def test_an_unknown_field_is_found() -> None:
    thing = copy.deepcopy(of_kind(PLAIN, "Deployment")["sluicegate-gateway"])
    thing["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
    assert schema_errors(thing, "1.36")


def pods(installation: Installation) -> dict[str, Any]:
    found = {name: each["spec"]["template"]["spec"] for name, each in of_kind(installation, "Deployment").items()}
    jobs = {"flow": job(installation), "conformance": conformance_job(installation)}
    return found | {name: each["spec"]["template"]["spec"] for name, each in jobs.items()}


def test_every_pod_is_admitted_as_restricted() -> None:
    found = pods(FULL)
    assert set(found) == {"sluicegate-control", "sluicegate-gateway", "sluicegate-worker", "flow", "conformance"}
    assert {name: errors for name, pod in found.items() if (errors := list(restricted_errors(pod)))} == {}


def test_whoever_holds_no_log_is_made_elsewhere_soon_after_its_node_is_lost() -> None:
    """By default Kubernetes waits for five minutes: so long there would be no keeper, and no driver."""
    for name, pod in pods(PLAIN).items():
        said = {each["key"]: each["tolerationSeconds"] for each in pod["tolerations"]}
        lost = {"node.kubernetes.io/not-ready": 10, "node.kubernetes.io/unreachable": 10}
        assert said == ({} if name == "sluicegate-gateway" else lost)


@pytest.mark.parametrize(
    ("change", "control"),
    [
        (lambda pod: pod["securityContext"].pop("seccompProfile"), "seccomp"),
        (lambda pod: pod["securityContext"].pop("runAsNonRoot"), "running as non-root"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "non-root user"),
        (lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"), "capabilities dropped"),
        (lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"), "privilege escalation"),
        (lambda pod: pod["containers"][0]["ports"][0].update(hostPort=80), "host ports"),
        (lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "volume types"),
        (lambda pod: pod.update(hostNetwork=True), "host namespaces"),
        (lambda pod: pod["containers"][0]["readinessProbe"]["httpGet"].update(host="10.0.0.1"), "host probes"),
    ],
)
def test_a_pod_that_breaks_the_standard_is_found(change: Any, control: str) -> None:
    pod = copy.deepcopy(pods(PLAIN)["sluicegate-gateway"])
    change(pod)
    assert any(control in each for each in restricted_errors(pod))


def test_every_container_writes_to_its_folders_alone_and_has_a_limit_of_memory() -> None:
    for pod in pods(FULL).values():
        for each in pod["containers"]:
            assert each["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"/state", "/tmp"} <= {mount["mountPath"] for mount in each["volumeMounts"]}
            assert each["resources"]["limits"]["memory"] == each["resources"]["requests"]["memory"]
            assert each["image"] == IMAGE


def test_long_lived_containers_say_that_they_live() -> None:
    for name, pod in pods(FULL).items():
        for each in pod["containers"] if name not in ("flow", "conformance") else ():
            assert each["livenessProbe"]
            assert each["startupProbe"]


def test_rights_are_those_of_one_namespace_and_nothing_is_for_everything() -> None:
    kinds = {each["kind"] for each in manifests(FULL)}
    assert not {kind for kind in kinds if kind.startswith("Cluster")}
    for role in of_kind(FULL, "Role").values():
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert "secrets" not in rule["resources"]
    assert {each["metadata"]["namespace"] for each in manifests(FULL)} == {"ml"}


def test_only_those_who_ask_the_api_have_a_token() -> None:
    assert {name: pod["automountServiceAccountToken"] for name, pod in pods(FULL).items()} == {
        "sluicegate-control": True, "sluicegate-gateway": True, "sluicegate-worker": True, "flow": False,
        "conformance": False,
    }  # fmt: skip
    bound = {s["name"] for each in of_kind(FULL, "RoleBinding").values() for s in each["subjects"]}
    assert bound == {"sluicegate-control", "sluicegate-gateway", "sluicegate-worker"}


def test_a_gateway_holds_no_password_of_mlflow_or_prefect() -> None:
    [gateway] = pods(FULL)["sluicegate-gateway"]["containers"]
    assert "envFrom" not in gateway
    assert not [each["name"] for each in gateway["env"] if each["name"].startswith(("MLFLOW", "PREFECT_API"))]


def test_who_may_reach_whom() -> None:
    policies = of_kind(FULL, "NetworkPolicy")

    def callers(name: str) -> set[str]:
        return {
            peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component", "other pods")
            for rule in policies[name]["spec"].get("ingress", ())
            for peer in rule["from"]
        }

    assert callers("sluicegate-service") == {"gateway", "control", "flow"}
    assert callers("sluicegate-gateway") == {"other pods"}
    assert callers("sluicegate-control") == {"gateway", "conformance"}
    assert callers("sluicegate-console") == {"other pods"}
    assert callers("sluicegate-worker") == callers("sluicegate-flow") == set()
    assert all(rule["from"] and rule["ports"] for each in policies.values() for rule in each["spec"].get("ingress", ()))
    assert "sluicegate-console" not in of_kind(PLAIN, "NetworkPolicy")


def test_the_table_is_left_to_the_keeper() -> None:
    assert set(of_kind(PLAIN, "ConfigMap")["sluicegate-table"]) == {"apiVersion", "kind", "metadata"}


def test_a_node_that_is_emptied_takes_one_gateway_at_a_time() -> None:
    [gateway] = [each for name, each in of_kind(FULL, "Deployment").items() if name == "sluicegate-gateway"]
    assert gateway["spec"]["replicas"] == 5
    assert gateway["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = gateway["spec"]["template"]["spec"]
    assert [each["topologyKey"] for each in pod["topologySpreadConstraints"]] == ["kubernetes.io/hostname"], (
        "beside a zone that the nodes do not have, the scheduler ignores this one as well"
    )
    [by_zone] = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert by_zone["podAffinityTerm"] == {
        "topologyKey": "topology.kubernetes.io/zone", "labelSelector": gateway["spec"]["selector"],
        "matchLabelKeys": ["pod-template-hash"],
    }  # fmt: skip
    budget = of_kind(FULL, "PodDisruptionBudget")["sluicegate-gateway"]
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == gateway["spec"]["selector"]


def test_a_flow_run_is_a_job_of_our_image_without_rights() -> None:
    found = job(PLAIN)
    pod = found["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == IMAGE
    assert [*container["command"], *container["args"]] == [
        "sluice", "cluster", "run", "flow", "prefect", "flow-run", "execute",
    ]  # fmt: skip
    names = {each["name"] for each in container["env"]}
    assert {"SLUICE_CLUSTER", "SLUICE_STATE"} <= names
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("sluicegate-flow", False)
    assert found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "flow"


def test_the_job_that_tries_an_installation_asks_its_services_and_has_no_right() -> None:
    made = sluice(None, "cluster", "conform", "--job", "--image", IMAGE, "--namespace", "ml").out
    found = YAML(typ="safe").load(made)
    pod = found["spec"]["template"]["spec"]
    [container] = pod["containers"]
    services = of_kind(Installation(image=IMAGE, namespace="ml"), "Service")
    told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    for setting in ("SLUICE_API", "SLUICE_GATEWAY"):
        name, port = told[setting].removeprefix("http://").split(":")
        assert int(port) in [each["port"] for each in services[name]["spec"]["ports"]]
    assert (found["metadata"]["namespace"], pod["automountServiceAccountToken"]) == ("ml", False)


def test_options_that_are_not_wanted_leave_nothing() -> None:
    few = Installation(image=IMAGE, worker=False, network_policies=False)
    assert not {each["kind"] for each in manifests(few)} & {"NetworkPolicy", "ServiceMonitor"}
    assert not [each for each in manifests(few) if "worker" in each["metadata"]["name"]]


def test_twice_the_same_bytes_in_another_process_too() -> None:
    program = (
        "from sluicegate.services.cluster.install import installation, manifests, texts;"
        f"print(texts.documents(manifests.manifests(installation.Installation(image={IMAGE!r}))), end='')"
    )
    once, twice = (
        subprocess.run(
            (sys.executable, "-c", program), check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    )
    assert once == twice == documents(manifests(PLAIN))


def test_the_text_says_what_the_values_say() -> None:
    read = list(YAML(typ="safe").load_all(documents(manifests(FULL))))
    assert read == manifests(FULL)
    assert json.loads(
        read[[each["metadata"]["name"] for each in read].index("sluicegate-flows")]["data"]["work-pool.json"]
    )


def test_a_file_for_each_and_a_kustomization_of_all() -> None:
    found = files(manifests(FULL))
    named = YAML(typ="safe").load(found["kustomization.yaml"])["resources"]
    assert named == [name for name in found if name != "kustomization.yaml"]
    assert [YAML(typ="safe").load(found[name]) for name in named] == manifests(FULL)


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": ""},
        {"image": "UPPER/x"},
        {"image": "a b"},
        {"namespace": "Ml"},
        {"namespace": "-x"},
        {"gateways": 1},
        {"gateways": 2.5},
        {"controls": 0},
        {"keys": "a/b"},
        {"storage": {"gateway": "4 GB"}},
        {"pull_policy": "Sometimes"},
        {"resources": {"keeper": {"cpu": "1"}}},
        {"console_from": ["Ingress"]},
        {"console_hosts": "http://x"},
        {"gateway": 3},
    ],
    ids=str,
)  # fmt: skip
def test_what_kubernetes_would_refuse_is_refused_first(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Installation.model_validate({"image": IMAGE, **wrong})


def test_values_of_a_file_lie_over_the_defaults_at_every_level(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("gateways: 3\nresources: {keeper: {cpu: 1}}\nimage: a/b:1\n")
    done = sluice(None, "cluster", "render", "--values", str(values), "--namespace", "ml")
    read = list(YAML(typ="safe").load_all(done.out))
    assert done.code == 0
    wanted = Installation(
        image="a/b:1", namespace="ml", gateways=3, resources={"keeper": {"cpu": "1", "memory": "768Mi"}}
    )
    assert read == manifests(wanted)


def test_every_wrong_value_is_named_with_its_place(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("gatewys: 3\nstorage: {gateway: 4GB}\n")
    done = sluice(None, "cluster", "render", "--image", "A", "--values", str(values))
    assert done.code == 2
    assert "gatewys: unknown key gatewys (did you mean gateways?)" in done.err
    assert f"{values}:2:20 storage.gateway: '4GB' is not a quantity of Kubernetes" in done.err
    assert "image: 'A' is not an image" in done.err
    assert sluice(None, "cluster", "render").code == 2


def test_a_folder_that_is_written_again_keeps_no_manifest_of_before(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    (tmp_path / "few.yaml").write_text("worker: false\n")
    assert sluice(None, "cluster", "render", "--image", "a", "-o", str(folder)).code == 0
    (folder / "ours.yaml").write_text("of the user")
    assert (
        sluice(
            None, "cluster", "render", "--image", "a", "-o", str(folder), "--values", str(tmp_path / "few.yaml")
        ).code
        == 0
    )
    names = {each.name for each in folder.iterdir()}
    assert "deployment-sluicegate-worker.yaml" not in names
    assert {"deployment-sluicegate-gateway.yaml", "ours.yaml"} <= names


def test_keys_are_a_secret_that_is_drawn_anew(tmp_path: Path) -> None:
    one, other = (YAML(typ="safe").load(sluice(None, "cluster", "keys", "--namespace", "ml").out) for _ in range(2))
    assert (one["kind"], one["metadata"]["name"], one["metadata"]["namespace"]) == ("Secret", "sluicegate-keys", "ml")
    assert not set(one["stringData"].values()) & set(other["stringData"].values())
    assert [error for minor in MINOR_VERSIONS for error in schema_errors(one, minor)] == []


def test_the_probe_tells_a_program_that_beats_from_one_that_does_not(tmp_path: Path) -> None:
    beats = tmp_path / "run" / "beats"
    command = [
        each.replace(f"{STATE}/sluicegate", str(tmp_path)) for each in beat_probe("keeper", 20)["exec"]["command"]
    ]
    command[0] = sys.executable

    def alive() -> bool:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert not alive()
    Heartbeats(folder=beats).beat("keeper")
    assert alive()
    Heartbeats(folder=beats, elapsed=lambda: time.monotonic() - 21).beat("keeper")
    assert not alive()
