"""What the collector needs to know about a shadow, from the ledger and, for the kinds of columns, the catalog."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import NotFound, SluiceError
from sluicegate.registry.words.outputs import OutputKind, output_kinds

if TYPE_CHECKING:
    from sluicegate.registry.words.build import Build
    from sluicegate.services.telemetry.pairs.spec import ShadowSource, ShadowSpec
    from sluicegate.services.telemetry.tally.spec import SpecSource


def shadow_specs(ledger: Ledger, metrics: SpecSource, build: Callable[[BuildRef], Build]) -> ShadowSource:
    """A function that reads a shadow's spec. If the catalog does not answer, the kinds follow from the answers."""
    from sluicegate.services.telemetry.pairs.spec import ShadowSpec

    def read(name: str) -> ShadowSpec | None:
        try:
            rollout = ledger.rollout(name)
        except NotFound:
            return None
        metric_specs, shadow = metrics(name), rollout.plan.shadow
        if not rollout.is_shadow or rollout.stable is None or metric_specs is None or shadow is None:
            return None
        stable = BuildRef(model=rollout.requested.model, version=rollout.stable)
        return ShadowSpec(
            metrics=metric_specs, stable=rollout.stable, kinds=column_kinds(stable, build), segments=shadow.slices,
            keep=shadow.keep, keep_for=shadow.keep_for, show_values=shadow.show_values,
        )  # fmt: skip

    return read


def column_kinds(ref: BuildRef, build: Callable[[BuildRef], Build]) -> dict[str, OutputKind]:
    """The kinds of a build's output columns; empty if the catalog does not give them."""
    try:
        return output_kinds(build(ref))
    except SluiceError:
        return {}
