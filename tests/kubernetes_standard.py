"""What Kubernetes publishes, to hold manifests against: schemas of its minor versions, the Pod Security Standard."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

MINOR_VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
"""The last four, and the one before them."""
_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"


def schema_errors(thing: Mapping[str, Any], minor: str) -> list[str]:
    """What the strict schemas of a minor version find; an unknown field is an error, too."""
    api = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", thing["apiVersion"])
    validator = _validator(minor, f"{thing['kind'].lower()}-{api}.json")
    return [f"{minor} {thing['kind']} {error.json_path}: {error.message}" for error in validator.iter_errors(thing)]


@lru_cache
def _validator(minor: str, name: str) -> Draft202012Validator:
    folder = _SCHEMAS / f"v{minor}.0-local-strict"
    schema = json.loads((folder / name).read_text())
    return Draft202012Validator(schema, registry=_definitions(minor))


@lru_cache
def _definitions(minor: str) -> Registry[Any]:
    text = (_SCHEMAS / f"v{minor}.0-local-strict/_definitions.json").read_text()
    return Resource.from_contents(json.loads(text)) @ Registry()


# https://kubernetes.io/docs/concepts/security/pod-security-standards/ : each control of "baseline" and "restricted".
Pod, Container = Mapping[str, Any], Mapping[str, Any]
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
_SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_PROFILES = ("RuntimeDefault", "Localhost")

POD_RULES: Mapping[str, Callable[[Pod], bool]] = {
    "host namespaces": lambda pod: not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
    "volume types": lambda pod: all(set(each) - {"name"} <= _VOLUMES for each in pod.get("volumes", ())),
    "sysctls": lambda pod: {each["name"] for each in _security(pod).get("sysctls", ())} <= _SYSCTLS,
}
RULES: Mapping[str, Callable[[Pod, Container], bool]] = {
    "HostProcess": lambda pod, each: not _either(pod, each, "windowsOptions", {}).get("hostProcess"),
    "privileged": lambda _, each: not _security(each).get("privileged"),
    "host ports": lambda _, each: not any(port.get("hostPort") for port in each.get("ports", ())),
    "host probes": lambda _, each: not any(handler.get("host") for handler in _handlers(each)),
    "AppArmor": lambda pod, each: _either(pod, each, "appArmorProfile", {"type": None})["type"] in (None, *_PROFILES),
    "SELinux": lambda pod, each: (
        _either(pod, each, "seLinuxOptions", {}).get("type") in _SELINUX
        and not _either(pod, each, "seLinuxOptions", {}).keys() & {"user", "role"}
    ),
    "/proc": lambda _, each: _security(each).get("procMount", "Default") == "Default",
    "privilege escalation": lambda _, each: _security(each).get("allowPrivilegeEscalation") is False,
    "running as non-root": lambda pod, each: _either(pod, each, "runAsNonRoot", None) is True,
    "non-root user": lambda pod, each: 0 not in (_security(pod).get("runAsUser"), _security(each).get("runAsUser")),
    "seccomp": lambda pod, each: _either(pod, each, "seccompProfile", {"type": None})["type"] in _PROFILES,
    "capabilities dropped": lambda _, each: "ALL" in _security(each).get("capabilities", {}).get("drop", ()),
    "capabilities added": lambda _, each: (
        set(_security(each).get("capabilities", {}).get("add", ())) <= {"NET_BIND_SERVICE"}
    ),
}


def restricted_errors(pod: Pod) -> Iterator[str]:
    """Controls of the level "restricted" that the specification of a pod breaks."""
    yield from (name for name, holds in POD_RULES.items() if not holds(pod))
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for each in pod.get(kind, ()):
            yield from (f"{each['name']}: {name}" for name, holds in RULES.items() if not holds(pod, each))


def _security(thing: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = thing.get("securityContext") or {}
    return found


def _either(pod: Pod, container: Container, name: str, default: Any) -> Any:
    """What a container says, else what its pod says."""
    return _security(container).get(name, _security(pod).get(name, default))


def _handlers(container: Container) -> Iterator[Mapping[str, Any]]:
    probes = [container.get(f"{name}Probe", {}) for name in ("startup", "readiness", "liveness")]
    hooks = [container.get("lifecycle", {}).get(name, {}) for name in ("postStart", "preStop")]
    for each in (*probes, *hooks):
        yield from (each[kind] for kind in ("httpGet", "tcpSocket") if kind in each)
