"""Scraping: gathers what the metrics for Prometheus show."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.token_expiries import expiries
from sluicegate.registry.ledger.keeper_notes import all_undriven, sights
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.bento.stage_times import stage_family
from sluicegate.services.console.tokens import given_tokens
from sluicegate.services.host.programs.watching import BEATING
from sluicegate.services.keeper.overdue import overdue
from sluicegate.services.telemetry.reading.accounts import gaps
from sluicegate.services.telemetry.reading.prometheus import Scrape, exposition
from sluicegate.services.traffic.envoy.gateway_stats import added

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.services.bento.stage_times import StageTimes


def metrics(runtime: Runtime) -> bytes:
    """The metrics in Prometheus's text format."""
    disk = shutil.disk_usage(runtime.folder.root)
    beats = {name: runtime.heartbeats.silence(name) for name in BEATING}
    scrape = Scrape(
        gateway=_gateway_figures(runtime),
        stable_only=_stable_only(runtime),
        now=runtime.wall().timestamp(),
        free=disk.free / disk.total,
        silence={name: math.inf if silence is None else silence for name, silence in beats.items()},
        families=[stage_family(_stage_times(runtime))],
    )
    try:
        scrape = replace(scrape, backlog=runtime.backlog(), gaps=gaps(runtime.store))
    except Unreachable:
        scrape = replace(scrape, telemetry_up=False)
    try:
        scrape = _with_ledger(runtime, scrape)
    except Unreachable:
        scrape = replace(scrape, ledger_up=False)
    return exposition(runtime.telemetry, scrape)


def _stable_only(runtime: Runtime) -> dict[str, bool]:
    """For each gateway, whether it serves stable builds only."""
    unwatched = {each.gateway for each in runtime.unwatched()}
    return {name: name in unwatched for name in runtime.heard_gateways()}


def _with_ledger(runtime: Runtime, scrape: Scrape) -> Scrape:
    """The scrape, completed with figures from the ledger. Raises Unreachable."""
    rollouts, sight_notes, now = runtime.ledger.current(), sights(runtime.ledger), runtime.clock()
    under_way = [rollout for rollout in rollouts if not rollout.is_ended]
    return replace(
        scrape,
        models=list(runtime.ledger.models()),
        rollouts=under_way,
        untended=len(sight_notes.unjudged),
        overdue=len(overdue(runtime.ledger, now)),
        undriven=len({each.id for each in under_way} & set(all_undriven(runtime.ledger))),
        waiting=len(runtime.readings.waiting(now)) if scrape.telemetry_up else None,
        expiries=expiries(given_tokens(runtime.ledger), now),
        sights=sight_notes.at(now),
    )


def _stage_times(runtime: Runtime) -> Iterator[StageTimes]:
    """Stage times of this machine's services, from their files."""
    if runtime.settings.cluster is None:
        for build in runtime.fleet.endpoints():
            yield from runtime.fleet.stage_times(build)


def _gateway_figures(runtime: Runtime) -> dict[str, float] | None:
    """The summed statistics of all gateways that answer; None if none does."""
    statistics = []
    for envoy in runtime.envoys.values():
        with contextlib.suppress(Unreachable):
            statistics.append(envoy.gateway_stats())
    return added(statistics) if statistics else None
