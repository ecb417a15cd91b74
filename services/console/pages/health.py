"""Health: what doctor finds, and what the collector has counted, awaits and could not read."""

from __future__ import annotations

from starlette.requests import Request

from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk


def page(desk: Desk) -> Endpoint:
    """The page of the machine."""

    def context(_: Request) -> Context:
        order = {"fail": 0, "warn": 1, "pass": 2}
        checks = sorted(desk.checks(), key=lambda check: order.get(check.status, 0))
        return {"checks": checks, "counts": desk.counts()}

    return template(desk, "health.html", context)
