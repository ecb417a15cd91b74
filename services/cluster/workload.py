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
    """The Deployment and pods of one build. Pods that are ending, or have ended, are left out."""

    deployment: Object
    pods: tuple[Object, ...]
    """Ready pods first, then the oldest first."""

    @classmethod
    def of(cls, deployment: Object, pods: Iterable[Object]) -> Self:
        here = (pod for pod in pods if not is_ending(pod) and pod.get("status", {}).get("phase") not in _OVER)
        return cls(deployment=deployment, pods=tuple(sorted(here, key=_order)))

    @property
    def replicas(self) -> int:
        """The desired number of pods."""
        return int(self.deployment["spec"].get("replicas", 1))

    @property
    def leaving(self) -> tuple[Object, ...]:
        return tuple(filter(leaves, self.pods))

    @property
    def serving(self) -> tuple[Object, ...]:
        """The pods that get requests, or will."""
        return tuple(pod for pod in self.pods if not leaves(pod))

    @property
    def staying(self) -> int:
        """The desired number of pods, without leaving ones."""
        return max(0, self.replicas - len(self.leaving))

    @property
    def grace(self) -> int:
        """Seconds that a pod may take to end."""
        return int(self.deployment["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30))


def packed_of(deployment: Object) -> Packed:
    """What a Deployment serves."""
    annotations = deployment["metadata"].get("annotations") or {}
    return Packed(
        bento=annotations.get(BENTO, ""),
        env=annotations.get(ENVIRONMENT, ""),
        bento_digest=annotations.get(BENTO_DIGEST, ""),
        model_digest=annotations.get(MODEL_DIGEST, ""),
    )


def leaves(pod: Object) -> bool:
    """Whether a pod gets no requests any more."""
    return (pod["metadata"].get("labels") or {}).get(SERVING) == "false"


def is_ending(thing: Object) -> bool:
    """Whether an object was deleted and is not gone yet."""
    return thing["metadata"].get("deletionTimestamp") is not None


def _order(pod: Object) -> tuple[bool, str, str]:
    conditions = pod.get("status", {}).get("conditions") or ()
    is_ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return not is_ready, str(pod["metadata"].get("creationTimestamp", "")), str(pod["metadata"]["name"])
