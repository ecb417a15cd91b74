"""Activity: every fact of every rollout, newest first, with who and why."""

from __future__ import annotations

from starlette.requests import Request

from sluicegate.services.console.acts.rollouts import fact_json
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk

PAGE = 200
"""Facts on one page."""


def page(desk: Desk) -> Endpoint:
    """The page of what happened."""

    def context(request: Request) -> Context:
        end = desk.ledger.feed_end()
        text = request.query_params.get("before", "")
        before = min(int(text), end + 1) if text.isascii() and text.isdigit() else end + 1
        after = max(0, before - 1 - PAGE)
        feed = [fed for fed in desk.ledger.feed(after=after, limit=PAGE) if fed.place < before]
        facts = [fact_json(fed.entry) for fed in reversed(feed)]
        return {"facts": facts, "older": after + 1 if after else None}

    return template(desk, "activity.html", context)
