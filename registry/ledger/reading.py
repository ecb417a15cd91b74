"""Reading: what is needed of a rollout, read from the ledger at one moment and no more than the use needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from sluicegate.registry.ledger.external import read_samples
from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.ledger.keeper_notes import all_undriven, delay, reached, readiness, sights
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.rollout.decision import needs_driver
from sluicegate.registry.rollout.depending import waits_for_service
from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.rollout.record import RolloutRecord
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.obstacle import Undriven
from sluicegate.registry.words.readiness import Readiness
from sluicegate.registry.words.sight import Sights
from sluicegate.registry.words.verdict import Look


class Common:
    """Notes and documents about all rollouts, each read at most once for one answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @cached_property
    def freezes(self) -> tuple[Freeze, ...]:
        return freezes(self._ledger)

    @cached_property
    def undriven(self) -> Mapping[str, Undriven]:
        return all_undriven(self._ledger)

    @cached_property
    def sights(self) -> Sights:
        return sights(self._ledger)

    @cached_property
    def readiness(self) -> Readiness:
        return readiness(self._ledger)


def undriven(ledger: Ledger) -> dict[str, Undriven]:
    """Which rollouts under way have no driver that they need, and why."""
    noted = all_undriven(ledger)
    under_way = (rollout for rollout in ledger.current() if rollout.id in noted) if noted else ()
    return {rollout.id: noted[rollout.id] for rollout in under_way if needs_driver(rollout, None)}


def read_for_policy(ledger: Ledger, rollout: Rollout, common: Common | None = None) -> RolloutRecord:
    """What the policy needs. Other rollouts and freezes are read only if the policy decides about this rollout.

    Code that reads many rollouts passes in what they have in `common`.
    """
    common = common or Common(ledger)
    undriven = common.undriven.get(rollout.id) if needs_driver(rollout, None) else None
    counted = common.sights if rollout.is_judged and not rollout.is_ended else Sights()
    ready = common.readiness if waits_for_service(rollout) else Readiness()
    if rollout.phase not in (Phase.RUNNING, Phase.CONFIRMING) or not rollout.is_tried:
        return RolloutRecord(rollout=rollout, undriven=undriven, sights=counted, readiness=ready)
    of_model = ledger.current(rollout.requested.model) if rollout.is_comparison else ()
    return RolloutRecord(
        rollout=rollout, of_model=of_model, freezes=common.freezes, undriven=undriven, sights=counted, readiness=ready
    )  # fmt: skip


def read_for_views(
    ledger: Ledger, rollouts: Sequence[Rollout], common: Common | None = None
) -> tuple[RolloutRecord, ...]:
    """What the views of these rollouts need: also the last look of each gate, with its figures."""
    common, looks = common or Common(ledger), _last_looks(ledger, [each for each in rollouts if each.is_judged])
    return tuple(replace(_read_for_people(ledger, each, common), looks=tuple(looks[each.id])) for each in rollouts)


def read_for_report(ledger: Ledger, rollout: Rollout) -> RolloutRecord:
    """What a report needs: also every fact and every look."""
    entries, looks = ledger.entries(rollout.id), ledger.looks(rollout.id) if rollout.is_judged else ()
    return replace(_read_for_people(ledger, rollout), entries=entries, looks=looks)


def read_for_readout(ledger: Ledger, comparisons: Sequence[Rollout]) -> tuple[RolloutRecord, ...]:
    """The comparisons of an experiment, each with the last look of each gate."""
    looks = _last_looks(ledger, comparisons)
    return tuple(RolloutRecord(rollout=each, looks=tuple(looks[each.id])) for each in comparisons)


def _last_looks(ledger: Ledger, rollouts: Iterable[Rollout]) -> Mapping[str, list[Look]]:
    """The last look of each gate, by rollout."""
    found = defaultdict[str, list[Look]](list)
    for look in ledger.last_looks(*(each.id for each in rollouts)):
        found[look.rollout].append(look)
    return found


def _read_for_people(ledger: Ledger, rollout: Rollout, common: Common | None = None) -> RolloutRecord:
    samples = read_samples(ledger, rollout) if rollout.is_judged else {}
    return replace(with_launch(ledger, read_for_policy(ledger, rollout, common)), samples=samples)


def with_launch(ledger: Ledger, record: RolloutRecord) -> RolloutRecord:
    """The record with the stages of its launch, if it is being launched."""
    name = record.rollout.id
    if not record.rollout.is_being_launched:
        return record
    return replace(record, launch=reached(ledger, name), delay=delay(ledger, name))
