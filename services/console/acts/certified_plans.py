"""Acts on certificates: record and read what `sluice certify` found about a plan."""

from __future__ import annotations

import re

from pydantic import Field

from sluicegate.registry.orders.certified_plans import KIND, Tried, certificate
from sluicegate.registry.words.errors import NotFound, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk

_DIGEST = re.compile(r"[0-9a-f]{64}")


class TriedBody(Body):
    """One check of a gate."""

    metric: str = Field(max_length=100)
    name: str = Field(max_length=200)
    ok: bool
    reason: str = Field(max_length=2000)


class CertificateBody(Body):
    """The results of certifying a plan."""

    model: str = Field(min_length=1, max_length=200)
    """The plan's model."""
    checks: list[TriedBody] = Field(min_length=1, max_length=2000)
    """All checks, each with `metric`, `name`, `ok` and `reason`. The plan passes if all of them did."""


class CertificateActs:
    """Handlers; certificates are documents of the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def record(self, request: Request, body: CertificateBody) -> Answer:
        digest = request.path["digest"]
        if not _DIGEST.fullmatch(digest):
            raise UsageError(f"digest must be the 64 hexadecimal digits of a plan's digest, got {digest[:80]!r}.")
        tried = [Tried(metric=each.metric, name=each.name, ok=each.ok, reason=each.reason) for each in body.checks]
        document = certificate(body.model, digest, tried, actor=request.actor, at=self._desk.clock())
        changed = self._desk.ledger.apply(document)
        return (201 if changed else 200), {"digest": digest, "ok": document.body["ok"], "changed": changed}

    def show(self, request: Request, _: Body) -> Answer:
        document = self._desk.ledger.applied(KIND, request.path["digest"])
        if document is None:
            raise NotFound("no plan with this digest has been certified.", fix="sluice certify -f FILE")
        return 200, document.body | {"digest": document.name, "actor": document.actor, "at": document.at}


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on certificates."""
    acts = CertificateActs(desk)
    one = "/api/v1/certificates/{digest}"
    return (
        Operation(
            method="GET", path=one, role=Role.VIEWER, act=acts.show, summary="The certificate of a plan.",
            gives={200: "`model`, `ok`, `checks`, `digest`, `actor`, `at`."},
        ),
        Operation(
            method="PUT", path=one, role=Role.APPROVER, takes=CertificateBody, act=acts.record,
            summary="Record what `sluice certify` found about a plan; the latest certificate counts.",
            gives={201: "`digest`, `ok`, `changed`.", 200: "The same, if nothing changed."},
        ),
    )  # fmt: skip
