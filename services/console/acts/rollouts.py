"""Acts on rollouts: list, show, start, and the orders that people give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import to_jsonable_python

from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.ledger.record import Receipt
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.naming import find
from sluicegate.registry.orders.order import (
    Abort,
    Approve,
    Jump,
    OnRollout,
    Order,
    OverrideFreeze,
    Pause,
    Promote,
    Resume,
    Retry,
    Start,
)
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.report.view import RolloutView, rollout_view
from sluicegate.registry.rollout.facts import Entry, to_payload
from sluicegate.registry.rollout.namesakes import refuse_namesake
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.roles import Role
from sluicegate.services.console import counted
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk

PAGE = 1000
"""The most entries in one page of a list."""


class StartBody(Body):
    """A rollout to start."""

    model: str = Field(min_length=1)
    """The registered model."""
    variation: str = "default"
    """The variation that the candidate is for."""
    build: str = "latest"
    """A version, an alias such as @candidate, or latest."""
    allow_older: bool = False
    """Whether a version older than stable may be rolled out."""
    strategy: Annotated[Strategy, Field(strict=False)] | None = None
    """A strategy other than the plan's: canary or shadow."""
    override_freeze: str | None = Field(default=None, min_length=1, max_length=2000)
    """The reason for overriding the freeze that is in force, until that freeze ends; needs the role admin."""
    override_assessment: str | None = Field(default=None, min_length=1, max_length=2000)
    """The reason for skipping what the plan requires before the first request; needs the role approver."""


class ReasonBody(Body):
    """Why an order is given."""

    reason: str = Field(default="no reason given", max_length=2000)
    """For the record; people read it later."""


class OverrideBody(Body):
    """Why a freeze is overridden."""

    reason: str = Field(min_length=1, max_length=2000)
    """For the record; people read it later."""


class ApproveBody(ReasonBody):
    """The step that is approved."""

    step: int = Field(ge=0)
    """Its number, from 1; the order is refused if the rollout is at another step by now. 0 approves the first
    request to a protected variation."""


class PromoteBody(ReasonBody):
    """Options of an order that sends requests to the candidate."""

    although_not_ready: bool = False
    """Whether to go ahead although no service of the candidate is ready: callers get errors or the stable build."""


class JumpBody(PromoteBody):
    """Which step to go to."""

    step: int = Field(ge=1)
    """From 1."""
    back: bool = False
    """Whether it lies before the current step; the order is refused if that is no longer so."""


@dataclass(frozen=True, kw_only=True)
class Steering:
    """An order that people may give on a rollout: the role that it needs, and its effect."""

    act: Callable[[str, Any], OnRollout]
    """Makes the act from the rollout's name and the request's body."""
    role: Role
    effect: str
    takes: type[ReasonBody] = ReasonBody


ORDERS = {
    "pause": Steering(
        act=lambda name, _: Pause(rollout=name), role=Role.OPERATOR,
        effect="Hold the weight where it is; guardrails stay active.",
    ),
    "resume": Steering(act=lambda name, _: Resume(rollout=name), role=Role.OPERATOR, effect="Continue the plan."),
    "approve": Steering(
        act=lambda name, body: Approve(rollout=name, step=body.step - 1), role=Role.APPROVER, takes=ApproveBody,
        effect="Let the rollout leave a step once its gates have passed.",
    ),
    "jump": Steering(
        act=lambda name, body: Jump(
            rollout=name, step=body.step - 1, back=body.back, although_not_ready=body.although_not_ready
        ),
        role=Role.APPROVER, takes=JumpBody,
        effect="Go to another step now: forward, skipping the gates of the steps between, or back to less weight.",
    ),
    "promote": Steering(
        act=lambda name, body: Promote(rollout=name, although_not_ready=body.although_not_ready),
        role=Role.APPROVER, takes=PromoteBody,
        effect="Give the candidate all traffic now; recorded as an override.",
    ),
    "abort": Steering(
        act=lambda name, _: Abort(rollout=name), role=Role.OPERATOR,
        effect="Take all traffic back to stable and end the rollout.",
    ),
    "retry": Steering(
        act=lambda name, _: Retry(rollout=name), role=Role.OPERATOR,
        effect="Try a rollout that ended without success once more; returns the new rollout.",
    ),
}  # fmt: skip
"""The orders that people may give on a rollout, by name."""


class RolloutActs:
    """Handlers; all state is in the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self, request: Request, _: Body) -> Answer:
        limit, before = request.count("limit", 100, PAGE), request.query.get("before")
        oldest = find(self._desk.ledger, before).id if before is not None else None
        wanted = Selection(model=request.query.get("model"), before=oldest, newest=limit + 1)
        rollouts = self._desk.ledger.rollouts(wanted)[::-1]
        page = rollouts[:limit]
        more = page[-1].id if page and len(rollouts) > limit else None
        return 200, {"rollouts": self.views(page), "next_before": more}

    def show(self, request: Request, _: Body) -> Answer:
        return 200, self.view(find(self._desk.ledger, request.path["id"]))

    def facts(self, request: Request, _: Body) -> Answer:
        rollout = find(self._desk.ledger, request.path["id"])
        after = request.count("after", 0, 10**9) - 1 if "after" in request.query else -1
        entries = self._desk.ledger.entries(rollout.id, after=after)[: request.count("limit", PAGE, PAGE)]
        answer: dict[str, object] = {"facts": [fact_json(entry) for entry in entries]}
        if "timeline" in request.query:
            wanted = {entry.seq for entry in entries}
            answer["timeline"] = [
                each for each in timeline(self._desk.ledger.entries(rollout.id)) if each.seq in wanted
            ]
        return 200, answer

    def start(self, request: Request, body: StartBody) -> Answer:
        desk, version = self._desk, self._desk.catalog.resolve(body.model, body.build).version
        refuse_namesake(desk.ledger.current(body.model), desk.catalog.builds(body.model), body.model, version)
        act = Start(
            model=body.model, variation=body.variation, version=version, strategy=body.strategy,
            allow_older=body.allow_older,
        )  # fmt: skip
        order = request.order(act, override_freeze=body.override_freeze, override_assessment=body.override_assessment)
        receipt = self.give(order)
        return (201 if receipt.created else 200), self.after(receipt)

    def steer(self, steering: Steering) -> Callable[[Request, ReasonBody], Answer]:
        """The handler of an order on a rollout."""

        def handle(request: Request, body: ReasonBody) -> Answer:
            act = steering.act(request.path["id"], body)
            return 200, self.after(self.give(request.order(act, reason=body.reason)))

        return handle

    def override_freeze(self, request: Request, body: OverrideBody) -> Answer:
        order = request.order(OverrideFreeze(rollout=request.path["id"]), reason=body.reason)
        return 200, self.after(self.give(order))

    def give(self, order: Order) -> Receipt:
        """Carry out an order now."""
        return give(self._desk.ledger, order, self._desk.clock())

    def after(self, receipt: Receipt) -> RolloutView:
        """The current view of the rollout that the receipt names."""
        return self.view(self._desk.ledger.rollout(receipt.rollout or ""))

    def view(self, rollout: Rollout) -> RolloutView:
        """The rollout as CLI, pages and reports show it."""
        return self.views([rollout])[0]

    def views(self, rollouts: Sequence[Rollout]) -> tuple[RolloutView, ...]:
        """The same of several."""
        desk = self._desk
        requests, errors = counted.requests(desk, rollouts), counted.errors(desk, rollouts)
        generated = counted.generated(desk, rollouts)
        return tuple(
            rollout_view(
                record,
                desk.clock(),
                requests.get(record.rollout.id),
                errors=errors.get(record.rollout.id, {}),
                generated=generated.get(record.rollout.id),
            )
            for record in read_for_views(desk.ledger, rollouts)
        )


def fact_json(entry: Entry) -> dict[str, Any]:
    """A fact as the API shows it, in JSON values."""
    name = type(entry.fact).__name__
    head = {"rollout": entry.rollout, "seq": entry.seq, "at": entry.at, "fact": name}
    return to_jsonable_python(head | to_payload(entry.fact))  # type: ignore[no-any-return]


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on rollouts."""
    acts = RolloutActs(desk)
    root, one = "/api/v1/rollouts", "/api/v1/rollouts/{id}"
    return (
        Operation(
            method="GET", path=root, role=Role.VIEWER, summary="Every rollout, newest first.", act=acts.list,
            gives={200: "`rollouts`, and `next_before` if there are more."},
            query={"model": "Only this model's.", "limit": f"At most this many, up to {PAGE}.",
                   "before": "The page after this rollout: next_before of the page before."},
        ),
        Operation(
            method="POST", path=root, role=Role.OPERATOR, takes=StartBody, act=acts.start,
            summary="Roll out a build by its model's applied plan. If this rollout already exists, returns that one.",
            gives={201: "The rollout.", 200: "The rollout that already existed."},
        ),
        Operation(
            method="GET", path=one, role=Role.VIEWER, act=acts.show,
            summary="One rollout; a model's name gives the one in progress.",
        ),
        Operation(
            method="GET", path=f"{one}/facts", role=Role.VIEWER, summary="Its facts, in order.", act=acts.facts,
            gives={200: "`facts`, each with `rollout`, `seq`, `at`, `fact` and its fields."},
            query={"after": "From this seq on.", "limit": f"At most this many, up to {PAGE}.",
                   "timeline": "1: with `timeline`, which describes each fact in a sentence."},
        ),
        *(
            Operation(
                method="POST", path=f"{one}/{name}", role=steering.role, summary=steering.effect, takes=steering.takes,
                act=acts.steer(steering),
            )
            for name, steering in ORDERS.items()
        ),
        Operation(
            method="POST", path=f"{one}/override-freeze", role=Role.ADMIN, takes=OverrideBody,
            act=acts.override_freeze, summary="Override the freeze that holds the rollout, until that freeze ends.",
        ),
    )  # fmt: skip
