"""Acts on proposals: orders that wait for a second named person because they change a protected variation."""

from __future__ import annotations

from pydantic import Field

from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import ApproveProposal, RejectProposal
from sluicegate.registry.orders.proposals import OPEN, Proposal, find_proposal, proposals
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk


class OpinionBody(Body):
    """A decision about a proposal."""

    reason: str = Field(default="no reason given", max_length=2000)
    """For the record."""


class ProposalActs:
    """Handlers; proposals are documents of the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self, request: Request, _: Body) -> Answer:
        state = None if request.query.get("all") == "1" else OPEN
        return 200, {"proposals": [proposal_json(each) for each in proposals(self._desk.ledger, state=state)]}

    def approve(self, request: Request, body: OpinionBody) -> Answer:
        return self._decided(request, ApproveProposal(proposal=request.path["id"]), body)

    def reject(self, request: Request, body: OpinionBody) -> Answer:
        return self._decided(request, RejectProposal(proposal=request.path["id"]), body)

    def _decided(self, request: Request, act: ApproveProposal | RejectProposal, body: OpinionBody) -> Answer:
        give(self._desk.ledger, request.order(act, reason=body.reason), self._desk.clock())
        return 200, proposal_json(find_proposal(self._desk.ledger, act.proposal))


def proposal_json(proposal: Proposal) -> dict[str, object]:
    """A proposal as the API and the pages show it."""
    return {
        "id": proposal.name,
        "says": proposal.says,
        "targets": proposal.targets,
        "asked_by": proposal.order.actor,
        "asked_at": proposal.asked_at,
        "reason": proposal.order.reason,
        "people": [each.actor for each in proposal.people],
        "state": proposal.state,
        "closed_by": proposal.closed_by,
        "closed_why": proposal.closed_why,
    }


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on proposals."""
    acts = ProposalActs(desk)
    root = "/api/v1/proposals"
    one = "`id`, `says`, `targets`, `asked_by`, `asked_at`, `reason`, `people`, `state`, `closed_by`, `closed_why`"
    return (
        Operation(
            method="GET", path=root, role=Role.VIEWER, act=acts.list, query={"all": "1: closed ones too."},
            summary="The proposals that wait for a second named person, oldest first.",
            gives={200: f"`proposals`, each with {one}."},
        ),
        Operation(
            method="POST", path=f"{root}/{{id}}/approve", role=Role.APPROVER, takes=OpinionBody, act=acts.approve,
            summary="Carry out what another named person proposed; refused if it would now do something different.",
            gives={200: f"{one}."},
        ),
        Operation(
            method="POST", path=f"{root}/{{id}}/reject", role=Role.OPERATOR, takes=OpinionBody, act=acts.reject,
            summary="Reject a proposal; its author and every approver may.", gives={200: f"{one}."},
        ),
    )  # fmt: skip
