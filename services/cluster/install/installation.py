"""Installation: the options of an installation on Kubernetes, as files of `--values` have them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sluicegate.registry.plan.document import Document

_HOST = r"[a-z0-9][a-z0-9.-]{0,252}"
_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
_IMAGE = (
    r"^[a-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[a-z0-9][A-Za-z0-9._/-]*)?"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_HOSTS = rf"^({_HOST}(,{_HOST})*)?$"


def _fits(pattern: str, what: str, fix: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if re.search(pattern, text) is None or text.endswith("\n"):
            raise ValueError(f"{text!r} is not {what}; write {fix}")
        return text

    return check


def _number_as_text(value: object) -> object:
    """`cpu: 1` means the text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Label = Annotated[
    str,
    AfterValidator(_fits(_LABEL, "a namespace", "lower-case letters, digits and -, at most 63")),
    Field(json_schema_extra={"pattern": _LABEL}),
]
Name = Annotated[
    str,
    AfterValidator(_fits(_NAME, "a name of Kubernetes", "lower-case letters, digits, - and ., at most 253")),
    Field(json_schema_extra={"pattern": _NAME}),
]
Image = Annotated[
    str,
    AfterValidator(_fits(_IMAGE, "an image", "its name and tag or digest, such as registry.example.com/sluicegate:1")),
    Field(json_schema_extra={"pattern": _IMAGE}),
]
Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text, json_schema_input_type=str | int | float),
    AfterValidator(_fits(_QUANTITY, "a quantity of Kubernetes", "a number with a unit such as 500m, 512Mi or 4Gi")),
    Field(json_schema_extra={"pattern": _QUANTITY}),
]
Hosts = Annotated[
    str,
    AfterValidator(_fits(_HOSTS, "a list of hosts", "names without ports, separated by commas")),
    Field(json_schema_extra={"pattern": _HOSTS}),
]


class Resources(Document):
    """What one container asks for. Its memory is its limit as well; processor time has no limit."""

    cpu: Quantity
    memory: Quantity


class Accounts(Document):
    """Names of the service accounts."""

    control: Name = "sluicegate-control"
    gateway: Name = "sluicegate-gateway"
    worker: Name = "sluicegate-worker"
    flow: Name = "sluicegate-flow"


class Demands(Document):
    """What the containers ask for."""

    keeper: Resources = Resources(cpu="250m", memory="768Mi")
    console: Resources = Resources(cpu="100m", memory="768Mi")
    gateway: Resources = Resources(cpu="500m", memory="1536Mi")
    worker: Resources = Resources(cpu="100m", memory="512Mi")
    flow: Resources = Resources(cpu="250m", memory="2Gi")


class Storage(Document):
    """Sizes of the folders that pods write to; each is empty when its pod starts."""

    control: Quantity = "4Gi"
    gateway: Quantity = "4Gi"
    flow: Quantity = "8Gi"


class Reference(Document):
    """An object by its name, as Kubernetes writes it."""

    name: Name


class Installation(Document):
    """Everything that the manifests of one installation depend on."""

    namespace: Label = "sluicegate"
    """The namespace of all objects."""
    image: Image
    """The image of every role."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When nodes pull the image: the `imagePullPolicy` of Kubernetes."""
    pull_secrets: tuple[Reference, ...] = ()
    """Secrets with the credentials for pulling the image."""
    gateways: Annotated[int, Field(ge=2, le=64)] = 2
    """Number of gateway pods; at least two, so that requests are answered while one is down."""
    controls: Annotated[int, Field(ge=1, le=8)] = 1
    """Number of control pods, which run keeper and console: one keeper leads, the others take over if it fails."""
    worker: bool = True
    """Whether to run a worker of the Prefect work pool; false if one runs elsewhere."""
    connections: Name = "sluicegate-connections"
    """Secret with the settings: SLUICE_LEDGER, SLUICE_TELEMETRY, SLUICE_STORE, MLFLOW_TRACKING_URI, PREFECT_API_URL."""
    keys: Name = "sluicegate-keys"
    """The Secret that `sluice cluster keys` prints."""
    accounts: Accounts = Accounts()
    """Names of the service accounts."""
    resources: Demands = Demands()
    """What each container requests; its memory request is also its limit. A gateway is Envoy, its agent and the
    collector of its log; a flow is one run of Prefect's, which packs a build and drives a rollout."""
    storage: Storage = Storage()
    """Sizes of the folders that pods write to. A gateway keeps its access log until it is counted, about 500 bytes a
    request; a flow keeps the files of a model and the bento that is packed from them."""
    console_hosts: Hosts = ""
    """Host names, separated by commas, under which callers outside reach the console, such as that of an Ingress."""
    console_from: tuple[Label, ...] = ()
    """Namespaces whose pods may reach the console, such as those of the Ingress and of Prometheus."""
    network_policies: bool = True
    """Whether to create NetworkPolicies."""
    service_monitor: bool = False
    """Whether to create a ServiceMonitor, which needs the Prometheus operator in the cluster."""
    monitor_secret: Name = "sluicegate-monitor"  # noqa: S105
    """The Secret whose key `token` holds a token of the role viewer, which Prometheus sends."""
