"""Acts on captures: read the requests and answers that services have captured. Needs the role analyst."""

from __future__ import annotations

from sluicegate.registry.words.roles import Role
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk

PAGE = 200
LARGEST_PAGE = 1000
_LAST = 2**62


class CaptureActs:
    """Handlers; captures are in the telemetry store."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def page(self, request: Request, _: Body) -> Answer:
        page = self._desk.captures(
            request.path["model"], build=request.query.get("build"), since=request.count("since", 0, _LAST),
            until=request.count("until", _LAST, _LAST), after=request.query.get("after"),
            limit=max(request.count("limit", PAGE, LARGEST_PAGE), 1),
        )  # fmt: skip
        return 200, page


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on captures."""
    return (
        Operation(
            method="GET", path="/api/v1/models/{model}/captures", role=Role.ANALYST, act=CaptureActs(desk).page,
            summary="Captured requests with their answers and outcomes, oldest first, a page at a time.",
            query={"build": "Only this version's.", "since": "From this microsecond since 1970 on.",
                   "until": "Before this microsecond.", "after": "next_after of the page before.",
                   "limit": f"At most this many, up to {LARGEST_PAGE}; a page ends sooner after 4 MiB of bodies."},
            gives={200: "`captures`, each with `rid`, `at`, `model`, `build`, `copy`, `variation`, `audience`, "
                        "`rollout`, `arm`, `unit`, `headers`, `request`, `answer`, `outcomes`; and `next_after` where "
                        "there are more."},
        ),
    )  # fmt: skip
