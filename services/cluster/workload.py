"""Workload: a build's Deployment and its pods, as they are read. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sluicegate.registry.rollout.facts import Packed
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import BENTO, BENTO_DIGEST, ENVIRONMENT, MODEL_DIGEST, SERVING

_OVER = ("Failed", "Succeeded")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What runs of one build. Pods that end, or have ended, are left out."""

    deployment: Object
    pods: tuple[Object, ...]
    """Those that are ready first, and of these the oldest."""

    @classmethod
    def of(cls, deployment: Object, pods: Iterable[Object]) -> Self:
        here = (pod for pod in pods if not is_ending(pod) and pod.get("status", {}).get("phase") not in _OVER)
        return cls(deployment=deployment, pods=tuple(sorted(here, key=_order)))

    @property
    def replicas(self) -> int:
        """How many pods there are to be."""
        return int(self.deployment["spec"].get("replicas", 1))

    @property
    def leaving(self) -> tuple[Object, ...]:
        return tuple(filter(leaves, self.pods))

    @property
    def serving(self) -> tuple[Object, ...]:
        """The pods that callers are sent to, or will be."""
        return tuple(pod for pod in self.pods if not leaves(pod))

    @property
    def staying(self) -> int:
        """How many pods there are to be, but for those that leave."""
        return max(0, self.replicas - len(self.leaving))

    @property
    def grace(self) -> int:
        """Seconds that a pod that ends may take."""
        return int(self.deployment["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30))


def packed_of(deployment: Object) -> Packed:
    """What a Deployment serves."""
    said = deployment["metadata"].get("annotations") or {}
    return Packed(
        bento=said.get(BENTO, ""),
        env=said.get(ENVIRONMENT, ""),
        bento_digest=said.get(BENTO_DIGEST, ""),
        model_digest=said.get(MODEL_DIGEST, ""),
    )


def leaves(pod: Object) -> bool:
    """Whether nobody is sent to a pod any more."""
    return (pod["metadata"].get("labels") or {}).get(SERVING) == "false"


def is_ending(thing: Object) -> bool:
    """Whether an object was deleted and is not gone yet."""
    return thing["metadata"].get("deletionTimestamp") is not None


def _order(pod: Object) -> tuple[bool, str, str]:
    conditions = pod.get("status", {}).get("conditions") or ()
    is_ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return not is_ready, str(pod["metadata"].get("creationTimestamp", "")), str(pod["metadata"]["name"])
