"""The check whether the machine has the cores and memory that its plans require. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sluicegate.registry.words.units import format_memory
from sluicegate.services.host.doctor.finding import Finding, passed, warned

_CHECK = "cores and memory"


@dataclass(frozen=True, kw_only=True)
class Demand:
    """The resources that a service may use according to its plan."""

    build: str
    replicas: int
    workers: int
    cpu: float
    """Cores of a replica: the number in its plan, or one for each worker."""
    memory: int | None
    """Bytes of a replica, if its plan sets them."""


def finding(demands: Sequence[Demand], cores: int, memory: int) -> Finding:
    """Warns if all services together may use more cores or memory than the machine has."""
    wanted = sum(each.replicas * each.cpu for each in demands)
    needed_memory = sum(each.replicas * (each.memory or 0) for each in demands)
    most = max(demands, key=lambda each: each.replicas * each.cpu, default=None)
    if (
        most is not None
        and wanted > cores
        and any(each.replicas * each.workers > 1 or each.cpu > 1 for each in demands)
    ):
        return warned(
            _CHECK,
            f"services may use {wanted:g} cores, and the machine has {cores}; "
            f"{most.build} may use most: {most.replicas} x {most.cpu:g}",
            "Lower serve.replicas or serve.workers in its plan: more workers than cores are not faster.",
        )
    if needed_memory > memory:
        return warned(
            _CHECK,
            f"services may use {format_memory(needed_memory)} of memory, and the machine has {format_memory(memory)}",
            "Lower serve.resources.memory or serve.replicas in the plans.",
        )
    if not demands:
        return passed(_CHECK, "no build is served on this machine")
    return passed(_CHECK, f"services may use {wanted:g} of {cores} cores")
