"""The kinds of Kubernetes objects that Sluicegate uses, and their paths in the API. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""An object of the API, as parsed JSON."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of object."""

    name: str
    plural: str
    group: str = ""
    """Empty: the core group."""
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """As in a manifest, such as apps/v1."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """The path of the objects of a namespace, or of the one with this name."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


DEPLOYMENT = Kind(name="Deployment", plural="deployments", group="apps")
SERVICE = Kind(name="Service", plural="services")
DISRUPTION_BUDGET = Kind(name="PodDisruptionBudget", plural="poddisruptionbudgets", group="policy")
ENDPOINT_SLICE = Kind(name="EndpointSlice", plural="endpointslices", group="discovery.k8s.io")
POD = Kind(name="Pod", plural="pods")
CONFIG_MAP = Kind(name="ConfigMap", plural="configmaps")
LEASE = Kind(name="Lease", plural="leases", group="coordination.k8s.io")
EVENT = Kind(name="Event", plural="events")
AUTOSCALER = Kind(name="HorizontalPodAutoscaler", plural="horizontalpodautoscalers", group="autoscaling", version="v2")
