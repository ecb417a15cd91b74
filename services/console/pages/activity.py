"""Activity: what happened, newest first, by rollout, with who and why; the routine of a rollout is folded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import Request

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Fed
from sluicegate.registry.report.timeline import Moment, moment
from sluicegate.registry.rollout.facts import (
    Baked,
    Begun,
    Entry,
    Fact,
    Frozen,
    Judged,
    Observed,
    Packed,
    Ready,
    Settled,
)
from sluicegate.registry.words.verdict import Answer
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk

PAGE = 200
"""Facts on one page."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Facts of one rollout, newest first."""

    rollout: str
    title: str
    events: tuple[Moment, ...]
    """What a reader wants to know of."""
    routine: tuple[Moment, ...]
    """What happens in every rollout that goes well."""


def page(desk: Desk) -> Endpoint:
    """The page of what happened."""

    def context(request: Request) -> Context:
        end = desk.ledger.feed_end()
        text = request.query_params.get("before", "")
        before = min(int(text), end + 1) if text.isascii() and text.isdigit() else end + 1
        after = max(0, before - 1 - PAGE)
        feed = [fed for fed in desk.ledger.feed(after=after, limit=PAGE) if fed.place < before]
        return {"episodes": list(episodes(desk.ledger, reversed(feed))), "older": after + 1 if after else None}

    return template(desk, "activity.html", context)


def episodes(ledger: Ledger, feed: Iterable[Fed]) -> Iterable[Episode]:
    """The facts by rollout; the rollout of the newest fact first."""
    by_rollout: dict[str, list[Entry]] = {}
    for fed in feed:
        by_rollout.setdefault(fed.entry.rollout, []).append(fed.entry)
    for name, entries in by_rollout.items():
        requested = ledger.rollout(name).requested
        yield Episode(
            rollout=name,
            title=f"{requested.model} v{requested.version}",
            events=tuple(moment(entry, 0, 0) for entry in entries if not _is_routine(entry.fact)),
            routine=tuple(moment(entry, 0, 0) for entry in entries if _is_routine(entry.fact)),
        )


def _is_routine(fact: Fact) -> bool:
    match fact:
        case Judged(answer=answer):
            return answer != Answer.FAIL
        case Begun() | Packed() | Ready() | Frozen() | Observed() | Baked() | Settled():
            return True
        case _:
            return False
