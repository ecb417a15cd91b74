"""Attention: the experiments that a person should decide about, and the rollouts to which requests have stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.report.pulse import Pulse, silence
from sluicegate.registry.report.readout import WAITS, Compared, Readout, experiment_readout, winner_to_decide
from sluicegate.registry.report.view import RolloutView
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.console.ports import Desk


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An experiment whose goal is reached: somebody should release the best variation, or not."""

    readout: Readout
    best: Compared
    comparisons: Sequence[Rollout]


def decisions(desk: Desk) -> list[Decision]:
    """The experiments whose goal is reached and that a person should decide about, newest first."""
    comparisons = [
        *desk.ledger.rollouts(Selection(comparisons=True, ended_since=desk.clock() - WAITS)),
        *desk.ledger.rollouts(Selection(comparisons=True, is_ended=False)),
    ]
    reached = {each.requested.experiment or "": each.requested_at for each in comparisons if each.has_passed}
    newest_first = sorted(reached, key=reached.__getitem__, reverse=True)
    return [found for name in newest_first if (found := _decision(desk, name)) is not None]


def silences(views: Iterable[RolloutView], pulses: Mapping[str, Pulse]) -> dict[str, str]:
    """That requests have stopped, in a sentence, by rollout that waits for them."""
    told = ((view.id, silence(view, pulses.get(view.model))) for view in views)
    return {name: sentence for name, sentence in told if sentence is not None}


def _decision(desk: Desk, experiment: str) -> Decision | None:
    comparisons = desk.ledger.rollouts(Selection(experiment=experiment))
    records = read_for_readout(desk.ledger, comparisons)
    readout = experiment_readout(records)
    best = winner_to_decide(readout, records, desk.ledger.current(readout.model), desk.clock())
    return None if best is None else Decision(readout=readout, best=best, comparisons=comparisons)
