"""An audience's slots: which variation and which arm gets each of them, and which builds get copies. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from sluicegate.registry.audience.connections import Copied, Weighted, weights
from sluicegate.registry.audience.layout import SLOTS, SlotRun, intervals, lay_out
from sluicegate.registry.rollout.standing import Shadowing, Standing
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.slots import runs
from sluicegate.services.traffic.table import Mirror, Slice, StandsIn, Target

Standings = Mapping[str, Standing]
"""The standings of one model by variation."""
Running = Collection[BuildRef]
"""The builds whose services run."""


def audience_slices(
    weighted: Sequence[Weighted], layout: Sequence[SlotRun], standings: Standings, running: Running
) -> tuple[Slice, ...]:
    """The slots, shared among the variations that hold a build; empty if no variation does.

    The share of a variation without a build goes to the others.
    """
    filled = {name: weight for name, weight in weights(tuple(weighted)).items() if name in standings}
    if not any(filled.values()):
        return ()
    ranges = intervals(lay_out(filled, layout or lay_out(weights(tuple(weighted)))))
    placed = [piece for name, own in ranges.items() for piece in _placed(standings[name], own, running)]
    return tuple(_merged(sorted(placed, key=lambda piece: piece[0])))


def stable_target(standing: Standing) -> Target:
    """A variation's trusted build outside of any comparison, for callers that ask for the variation by name."""
    mark = Assigned(
        variation=standing.variation, arm=Arm.STABLE, build=standing.trusted.version, rollout=None, epoch=0, weight=0
    )  # fmt: skip
    return Target(assigned=mark)


def preview_target(standing: Standing, candidate: BuildRef) -> Target:
    """A candidate outside of any comparison, for callers that ask for it by name. No other build answers for it."""
    mark = Assigned(
        variation=standing.variation, arm=Arm.CANDIDATE, build=candidate.version, rollout=None, epoch=0, weight=0
    )
    return Target(assigned=mark)


def mirrors(
    audience: str, copied: Sequence[Copied], slices: Sequence[Slice], standings: Standings, running: Running
) -> tuple[Mirror, ...]:
    """The builds that get copies: those of variations connected for copies, and shadows of this audience."""
    served = list(dict.fromkeys(part.target.assigned.variation for part in slices))
    connected = (mirror for each in copied if each.variation in standings
                 for mirror in _connected(standings[each.variation], each.sample, running))  # fmt: skip
    shadows = (
        _shadow(standings[name], shadow, copied=name if len(served) > 1 else None)
        for name in served
        for shadow in standings[name].shadows
        if shadow.build in running and (not shadow.audiences or audience in shadow.audiences)
    )
    return (*connected, *shadows)


def _placed(standing: Standing, ranges: Sequence[range], running: Running) -> Iterator[tuple[int, Slice]]:
    candidate, weight = _candidate(standing, running)
    stable = _target(standing, Arm.STABLE, standing.stable, weight, running)
    tried = _target(standing, Arm.CANDIDATE, candidate or standing.stable, weight, running)
    for run in runs(ranges, weight=weight, key=standing.rollout or ""):
        yield run.start, Slice(size=run.length, target=tried if run.is_candidate else stable)


def _candidate(standing: Standing, running: Running) -> tuple[BuildRef | None, int]:
    """The candidate and its weight; None and 0 if it does not run."""
    if standing.candidate is None or standing.candidate not in running:
        return None, 0
    return standing.candidate, standing.weight


def _merged(placed: Iterable[tuple[int, Slice]]) -> Iterator[Slice]:
    for target, run in groupby((piece for _, piece in placed), key=lambda piece: piece.target):
        yield Slice(size=sum(piece.size for piece in run), target=target)


def _connected(standing: Standing, sample: int, running: Running) -> Iterator[Mirror]:
    """Copies for a variation. Its candidate gets a share by its weight, which does not count for its rollout."""
    candidate, weight = _candidate(standing, running)
    tried = sample * weight // SLOTS
    for arm, build, share in ((Arm.STABLE, standing.stable, sample - tried), (Arm.CANDIDATE, candidate, tried)):
        if build is not None and build in running and share:
            yield Mirror(assigned=replace(_mark(standing, arm, build, weight), rollout=None), share=share)


def _shadow(standing: Standing, shadow: Shadowing, copied: str | None) -> Mirror:
    mark = Assigned(
        variation=standing.variation, arm=Arm.CANDIDATE, build=shadow.build.version, rollout=shadow.rollout,
        epoch=shadow.epoch, weight=shadow.share,
    )  # fmt: skip
    return Mirror(assigned=mark, share=shadow.share, copied_variation=copied, segments=shadow.segments)


def _target(standing: Standing, arm: Arm, build: BuildRef, weight: int, running: Running) -> Target:
    has_fallback = arm is Arm.CANDIDATE and standing.serve.retry
    return Target(
        assigned=_mark(standing, arm, build, weight),
        fallback=standing.stable.version if has_fallback else None,
        segments=standing.sliced_by,
        stands_in=_behind_stable(standing, weight, running) if arm is Arm.STABLE else None,
    )


def _behind_stable(standing: Standing, weight: int, running: Running) -> StandsIn | None:
    """The build that answers in stable's place, if there is one.

    For a holdout, the promoted build. After a promotion, the former stable build while it is kept warm, but only if the
    promoted build cannot be reached: its own answers, errors included, are kept.
    """
    if standing.is_promoted:
        return _behind_holdout(standing) if weight else None
    if standing.former is None or standing.former not in running:
        return None
    return StandsIn(variation=standing.variation, build=standing.former.version, on_errors=False)


def _behind_holdout(standing: Standing) -> StandsIn:
    """The promoted build, for a former one that serves only a holdout. Failures still count against the latter."""
    return StandsIn(variation=standing.variation, build=standing.trusted.version, on_errors=standing.serve.retry)


def _mark(standing: Standing, arm: Arm, build: BuildRef, weight: int) -> Assigned:
    return Assigned(
        variation=standing.variation, arm=arm, build=build.version, rollout=standing.rollout, epoch=standing.epoch,
        weight=weight,
    )  # fmt: skip
