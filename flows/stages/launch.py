"""Launch: turns a registered version into a bento. The keeper then starts and probes its service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sluicegate.flows.stages.assessment import Runs, assess
from sluicegate.flows.stages.shadow import note_outputs
from sluicegate.registry.ledger.keeper_notes import note_stage
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.progress import append
from sluicegate.registry.plan.against_build import check_against_build
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import AtOnce, Failed, Packed
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import Build, BuildRef, service_name
from sluicegate.registry.words.compatibility import check_inputs
from sluicegate.registry.words.errors import IllegalMove, NotFound, PackFailed, Refused
from sluicegate.registry.words.launching import Stage


class BuildFiles(Runs, Protocol):
    """Gives access to builds and their files."""

    def fetch(self, ref: BuildRef, into: Path) -> Path:
        """The folder with the model's files; downloads them if it is not there yet."""
        ...


class Packing(Protocol):
    """Turns a build's files into a bento."""

    def pack(self, build: Build, model_path: Path, *, serve: Serve, note: Callable[[Stage], None]) -> Packed: ...


def launch(
    ledger: Ledger, source: BuildFiles, packing: Packing, rollout: Rollout, into: Path, clock: Callable[[], datetime]
) -> Rollout:
    """Judge the candidate by the plan's offline gates, pack it and append Packed.

    Appends Failed if it cannot be packed, or not judged as the plan asks, and Aborted if an offline gate failed. A
    rollout that ended meanwhile is left as it is. Raises CatalogUnavailable if MLflow does not answer; the next driver
    tries again.
    """
    if rollout.is_shadow and rollout.stable is not None:
        note_outputs(ledger, source.build, rollout)
    try:
        rollout = assess(ledger, source, rollout, clock)
    except IllegalMove:
        return ledger.rollout(rollout.id)
    if rollout.is_ended:
        return rollout
    fact: Packed | Failed
    try:
        fact = _packed(source, packing, rollout, into, lambda stage: note_stage(ledger, rollout.id, stage, clock()))
    except (PackFailed, Refused) as error:
        fact = Failed(stage="pack", reason=str(error))
    try:
        return append(ledger, rollout.id, lambda _: fact, clock())
    except IllegalMove:
        return ledger.rollout(rollout.id)


def _packed(
    source: BuildFiles, packing: Packing, rollout: Rollout, into: Path, note: Callable[[Stage], None]
) -> Packed:
    note(Stage.FETCHING)
    build = source.build(rollout.candidate)
    problems = check_against_build(rollout.plan, build) if rollout.is_judged else ()
    if rollout.requested.strategy not in (AtOnce.DEPLOY, AtOnce.ROLLBACK):
        problems += _refusals(source, rollout, build)
    if problems:
        raise Refused("; ".join(problems))
    files = source.fetch(rollout.candidate, into / service_name(rollout.candidate))
    return replace(packing.pack(build, files, serve=rollout.plan.serve, note=note), registered_at=build.created_at)


def _refusals(source: BuildFiles, rollout: Rollout, build: Build) -> tuple[str, ...]:
    """Why the candidate would refuse requests that stable accepts."""
    if rollout.stable is None:
        return ()
    stable = BuildRef(model=rollout.requested.model, version=rollout.stable)
    try:
        return check_inputs(build, source.build(stable))
    except NotFound:
        return ()
