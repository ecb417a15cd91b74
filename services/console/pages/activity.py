"""Activity: what happened, who did it and why, by rollout. The rollout of the newest event comes first; its own events
are in order, with routine ones folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Fed
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.report.timeline import Moment, moment
from sluicegate.registry.rollout.facts import (
    Aborted,
    Approved,
    Concluded,
    Confirmed,
    Entry,
    Established,
    Fact,
    Failed,
    FreezeOverridden,
    Judged,
    Jumped,
    Paused,
    Promoted,
    Requested,
    Resumed,
    Scaled,
    StepEntered,
    Superseded,
    Unconfirmed,
    Undeployed,
)
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.units import FULL
from sluicegate.registry.words.verdict import Answer
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.pages.routine import is_routine
from sluicegate.services.console.ports import Desk

PAGE = 200
"""Facts on one page."""
STRETCHES = 25
"""The most stretches of PAGE facts that are read to find matches of a filter."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Facts of one rollout, in order."""

    rollout: str
    title: str
    state: str
    """Its phase now, or how it ended."""
    events: tuple[Moment, ...]
    """Facts that are not routine."""
    routine: tuple[Moment, ...]
    """Facts that every successful rollout has."""


def page(desk: Desk) -> Endpoint:
    """The page of activity."""

    def context(request: Request) -> Context:
        model, kind, before = (request.query_params.get(name, "") for name in ("model", "kind", "before"))
        end = desk.ledger.feed_end() + 1
        place = min(int(before), end) if before.isascii() and before.isdigit() else end
        feed, older = _stretch(desk.ledger, place, model, kind)
        return {
            "episodes": list(episodes(desk.ledger, feed)),
            "older": older,
            "models": desk.ledger.models(),
            "model": model,
            "kinds": tuple(KINDS),
            "kind": kind,
        }

    return template(desk, "activity.html", context)


def _stretch(ledger: Ledger, before: int, model: str, kind: str) -> tuple[list[Fed], int | None]:
    """A page of matching facts, newest first, and the place before which older ones are. Reads at most STRETCHES * PAGE
    facts."""
    wanted: list[Fed] = []
    for _ in range(STRETCHES):
        after = max(0, before - 1 - PAGE)
        for fed in reversed(ledger.feed(after=after, before=before, limit=PAGE, model=model or None)):
            before = fed.place
            wanted += [fed] if kind not in KINDS or KINDS[kind](fed.entry.fact) else []
            if len(wanted) == PAGE:
                return wanted, before if before > 1 else None
        before = after + 1
        if not after:
            return wanted, None
    return wanted, before


def episodes(ledger: Ledger, feed: Iterable[Fed]) -> Iterable[Episode]:
    """The facts grouped by rollout, the rollout with the newest fact first."""
    by_rollout: dict[str, list[Entry]] = {}
    for fed in feed:
        by_rollout.setdefault(fed.entry.rollout, []).append(fed.entry)
    rollouts = {each.id: each for each in ledger.rollouts(Selection(ids=tuple(by_rollout)))}
    for name, newest_first in by_rollout.items():
        entries = newest_first[::-1]
        rollout = rollouts[name]
        stable = f"v{rollout.stable} → " if rollout.stable else ""
        yield Episode(
            rollout=name,
            title=f"{rollout.requested.model} {stable}v{rollout.requested.version}",
            state=(rollout.ending or rollout.phase).value,
            events=tuple(_event(entry, rollout) for entry in entries if not is_routine(entry.fact)),
            routine=tuple(_event(entry, rollout) for entry in entries if is_routine(entry.fact)),
        )


def _event(entry: Entry, rollout: Rollout) -> Moment:
    """A fact as a moment without weights, except for a promotion that keeps a holdout."""
    confirm = rollout.confirms if isinstance(entry.fact, Promoted) else None
    weight = FULL - confirm.holdout if confirm is not None else 0
    return moment(entry, weight, weight, is_shadow=rollout.is_shadow)


def _is_problem(fact: Fact) -> bool:
    return isinstance(fact, Aborted | Failed | Unconfirmed) or (isinstance(fact, Judged) and fact.answer == Answer.FAIL)


KINDS: Mapping[str, Callable[[Fact], bool]] = {
    "orders": lambda fact: isinstance(
        fact, Requested | Paused | Resumed | Approved | Promoted | Aborted | FreezeOverridden | Undeployed | Scaled
    ),
    "steps": lambda fact: isinstance(fact, StepEntered | Jumped | Promoted | Confirmed | Unconfirmed | Established),
    "problems": _is_problem,
    "endings": lambda fact: isinstance(fact, Promoted | Established | Aborted | Failed | Superseded | Concluded),
}
"""The filters of the page."""
