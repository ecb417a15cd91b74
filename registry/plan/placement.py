"""Placement: where Kubernetes runs a build's pods, and what decides how many there are. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sluicegate.registry.plan.document import Document

_SEGMENT = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
LabelName = Annotated[str, Field(pattern=rf"^([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_SEGMENT}$")]
LabelValue = Annotated[str, Field(pattern=rf"^({_SEGMENT})?$")]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Image = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}$")]


class Toleration(Document):
    """A taint of nodes on which the pods may run nevertheless. Without a value, every taint with the key."""

    key: LabelName
    """The taint's key."""
    value: LabelValue | None = None
    """The taint's value; none: any."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; none: all of them."""


class Placement(Document):
    """How Kubernetes places the pods of a build. Has no effect on a single machine."""

    node_selector: dict[LabelName, LabelValue] = Field(default_factory=dict)
    """Labels that a node must have, such as {pool: gpu}."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes on which the pods may run nevertheless."""
    pull_secrets: tuple[ObjectName, ...] = ()
    """Secrets of the namespace for pulling images."""
    gpu: LabelName = "nvidia.com/gpu"
    """The cluster's resource name of the GPUs that `resources` asks for."""
    autoscaler: ObjectName | None = None
    """A HorizontalPodAutoscaler of the namespace. Each build gets a copy of it, which decides how many replicas it has;
    `replicas` is left out."""
