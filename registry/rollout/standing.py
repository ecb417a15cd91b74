"""Standing: what one target (model, variation) trusts and is trying now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.plan.slice_rules import sliced_headers
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.build import BuildRef


@dataclass(frozen=True, kw_only=True)
class Shadowing:
    """A build that gets copies of a target's requests. Other builds answer every caller."""

    build: BuildRef
    share: int
    """Share of the requests, in basis points."""
    rollout: str
    epoch: int
    segments: tuple[str, ...] = ()
    """Request headers that the comparison is split by."""
    audiences: tuple[str, ...] = ()
    """Audiences whose requests are copied; empty: all."""
    serve: Serve = field(default_factory=Serve)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a target's traffic should be, and which builds need running services."""

    model: str
    variation: str
    stable: BuildRef
    """The build that is fully trusted."""
    serve: Serve
    unit: str | None = None
    """The request header that is hashed."""
    stable_serve: Serve | None = None
    candidate: BuildRef | None = None
    """The build being tried, if it should get any traffic."""
    former: BuildRef | None = None
    """The previous stable build, while it is kept warm. It answers callers who cannot reach stable."""
    former_serve: Serve | None = None
    is_promoted: bool = False
    """Whether the candidate is already promoted; `stable` is then the former stable, which keeps a holdout."""
    weight: int = 0
    """The candidate's share in basis points."""
    sliced_by: tuple[str, ...] = ()
    """Request headers whose values slice the candidate's traffic."""
    preview: BuildRef | None = None
    """A candidate that callers can ask for by name, whatever its weight."""
    shadows: tuple[Shadowing, ...] = ()
    """Builds that get copies, independent of the candidate."""
    rollout: str | None = None
    epoch: int = 0
    warm: frozenset[BuildRef] = frozenset()
    """Builds that must run without traffic: a candidate being launched, or a former stable during the bake."""

    @property
    def trusted(self) -> BuildRef:
        """The build that answers requests outside of the comparison."""
        return self.candidate if self.is_promoted and self.candidate is not None else self.stable

    @property
    def needed(self) -> frozenset[BuildRef]:
        """Every build that needs a running service."""
        copied = {shadow.build for shadow in self.shadows}
        return self.warm | {self.stable} | copied | ({self.candidate} if self.candidate else set())


def standings(rollouts: Iterable[Rollout]) -> tuple[Standing, ...]:
    """The standing of every target that trusts a build, in order of target. Rollouts may come in any order."""
    by_target = _by_target(rollouts)
    every = (_standing(by_target[target]) for target in sorted(by_target))
    return tuple(standing for standing in every if standing is not None)


def is_served(rollouts: Iterable[Rollout]) -> bool:
    """Whether any target of these rollouts trusts a build, and so has a standing."""
    return any(trusted(of_target) is not None for of_target in _by_target(rollouts).values())


def _by_target(rollouts: Iterable[Rollout]) -> dict[tuple[str, str], list[Rollout]]:
    by_target: dict[tuple[str, str], list[Rollout]] = {}
    for rollout in rollouts:
        by_target.setdefault(rollout.target, []).append(rollout)
    return by_target


def current(rollouts: Iterable[Rollout]) -> Rollout | None:
    """The one of a target's rollouts that blocks others, if any."""
    return next((rollout for rollout in rollouts if rollout.holds_target), None)


def trusted(rollouts: Iterable[Rollout]) -> Rollout | None:
    """The one of a target's rollouts that took over last: its candidate is stable, unless undeployed."""
    over = sorted((rollout for rollout in rollouts if rollout.took_over), key=took_over_at)
    return over[-1] if over and not over[-1].undeployed else None


def took_over_at(rollout: Rollout) -> datetime:
    """When the target began to trust the candidate."""
    return rollout.promoted_at or rollout.ended_at or rollout.requested_at


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """A build that its target began to trust."""

    rollout: str
    version: str
    strategy: str
    at: datetime


def takeovers(rollouts: Iterable[Rollout]) -> tuple[Takeover, ...]:
    """The takeovers among these rollouts, oldest first."""
    over = sorted((rollout for rollout in rollouts if rollout.took_over), key=took_over_at)
    return tuple(
        Takeover(
            rollout=each.id, version=each.requested.version, strategy=each.requested.strategy, at=took_over_at(each)
        )
        for each in over
    )


def is_open(rollout: Rollout) -> bool:
    """Whether work remains: it has not ended, or what follows from its end is not done or not in force yet."""
    is_done = rollout.is_ended and rollout.settled and rollout.epoch == rollout.observed_epoch
    return not is_done or rollout.has_hooks_to_tell


KEPT_TAKEOVERS = 2
"""A target's last takeover, whose build it trusts, and the one before, whose build is kept warm for a return."""


def past(rollouts: Sequence[Rollout]) -> frozenset[str]:
    """The ids of those of one model's rollouts on which nothing depends any more.

    All others matter: open rollouts, the last takeovers of each target, and the comparisons of an experiment with an
    open one. Together they hold all that routes, services and gates need to know.
    """
    latest: dict[tuple[str, str], list[Rollout]] = {}
    for rollout in sorted((each for each in rollouts if each.took_over), key=took_over_at):
        latest[rollout.target] = [*latest.get(rollout.target, ())[1 - KEPT_TAKEOVERS :], rollout]
    trusted_ids = {rollout.id for group in latest.values() for rollout in group}
    compared = {each.requested.experiment for each in rollouts if is_open(each)} - {None}
    return frozenset(
        each.id
        for each in rollouts
        if not (is_open(each) or each.id in trusted_ids or each.requested.experiment in compared)
    )


def _standing(rollouts: list[Rollout]) -> Standing | None:
    last = trusted(rollouts)
    if last is None:
        return None
    open_rollout = current(rollouts)
    warm: set[BuildRef] = set()
    before = _kept_warm(open_rollout)
    if before is not None:
        warm.add(before)
    if (
        open_rollout is not None
        and not open_rollout.took_over
        and open_rollout.packed is not None
        and open_rollout.weight == 0
    ):
        warm.add(open_rollout.candidate)
    former = _holding_out(rollouts, open_rollout)
    replaced = _replaced(rollouts, open_rollout)
    is_trying = open_rollout is not None and open_rollout.weight > 0 and (former or not open_rollout.took_over)
    trying = open_rollout if is_trying else None
    return Standing(
        model=last.requested.model,
        variation=last.requested.variation,
        stable=(former or last).candidate,
        former=before if last.is_judged else None,
        former_serve=replaced.serve if replaced is not None and before is not None else None,
        is_promoted=former is not None,
        serve=(open_rollout or last).serve,
        stable_serve=(former or last).serve,
        unit=(open_rollout or last).plan.unit,
        candidate=trying.candidate if trying else None,
        weight=trying.weight if trying else 0,
        sliced_by=sliced_headers(trying.plan) if trying else (),
        preview=open_rollout.candidate if open_rollout is not None and open_rollout.is_previewed else None,
        shadows=_shadows(rollouts),
        rollout=open_rollout.id if open_rollout is not None else None,
        epoch=open_rollout.epoch if open_rollout is not None else last.epoch,
        warm=frozenset(warm),
    )


def _kept_warm(holder: Rollout | None) -> BuildRef | None:
    """The former stable, while the rollout that replaced it bakes."""
    if holder is None or holder.phase is not Phase.BAKING or holder.stable is None:
        return None
    return BuildRef(model=holder.requested.model, version=holder.stable)


def _holding_out(rollouts: Iterable[Rollout], holder: Rollout | None) -> Rollout | None:
    """The former stable's rollout, if that build keeps a holdout while its successor is being confirmed."""
    return _replaced(rollouts, holder) if holder is not None and holder.phase is Phase.CONFIRMING else None


def _replaced(rollouts: Iterable[Rollout], holder: Rollout | None) -> Rollout | None:
    """The rollout of the stable build that this one tries to replace, or has replaced."""
    if holder is None:
        return None
    return trusted(each for each in rollouts if each.id != holder.id and each.requested.version == holder.stable)


def _shadows(rollouts: Iterable[Rollout]) -> tuple[Shadowing, ...]:
    """The shadows that should get copies, ordered by id."""
    copied = (each for each in rollouts if each.is_shadow and each.is_under_way and each.weight > 0)
    return tuple(
        Shadowing(
            build=each.candidate, share=each.weight, rollout=each.id, epoch=each.epoch,
            segments=shadow.slices if shadow is not None else (),
            audiences=shadow.audiences if shadow is not None else (), serve=each.serve,
        )
        for each in sorted(copied, key=lambda each: each.id)
        for shadow in (each.plan.shadow,)
    )  # fmt: skip
