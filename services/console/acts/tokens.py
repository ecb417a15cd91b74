"""Acts on access: tokens given and taken back, and who asked for what."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.authority import PREFECT, ROLE, role_of_prefect
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.units import Duration
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.tokens import Tokens, given_tokens

_SHOWN = ("number", "at", "actor", "role", "method", "path", "status")
"""What is told of a call: its body and its answer are not."""


class TokenBody(Body):
    """A token to give."""

    name: str = Field(min_length=1, max_length=36)
    """Whose it is; every fact that comes of it bears this name."""
    role: Literal["gateway", "reporter", "viewer", "analyst", "operator", "approver", "admin"] = "viewer"
    """What it may do; a reporter sends outcomes alone, of the others each may do what the
    ones before it may, but that captured requests are for analysts and admins."""
    model: str | None = Field(default=None, min_length=1, max_length=250)
    """Reporters: the one model whose outcomes it sends; none: every model's."""
    expires: Annotated[Duration, Field(gt=0)] | None = None
    """Its lifetime, such as 90d, at most 366d: from then on it is refused; none: it holds until it is taken back."""
    person: str | None = Field(default=None, min_length=1, max_length=36)
    """Whose it is, where one person has several tokens: they count as one where two named people are needed."""


class PrefectBody(Body):
    """What runs that are started in Prefect may do."""

    role: Literal["viewer", "operator", "approver"]
    """A viewer's give no order at all; drivers of rollouts that are under way go on in any case."""


class TokenActs:
    """Handlers; tokens, and the role of Prefect, are documents of the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self, _: Request, __: Body) -> Answer:
        now = self._desk.clock()
        tokens = [
            {
                "name": t.name, "person": t.person, "role": t.role.title, "model": t.model, "given_by": t.given_by,
                "given_at": t.given_at, "expires_at": t.expires_at, "expired": t.is_expired(now),
            }
            for t in given_tokens(self._desk.ledger)
        ]  # fmt: skip
        return 200, {"tokens": tokens, "prefect": role_of_prefect(self._desk.ledger).title}

    def give(self, request: Request, body: TokenBody) -> Answer:
        role = Role[body.role.upper()]
        lifetime = None if body.expires is None else timedelta(seconds=body.expires)
        token = self._tokens.give(
            body.name, role, model=body.model, actor=request.actor, lifetime=lifetime, person=body.person
        )  # fmt: skip
        return 201, {"name": body.name, "role": body.role, "model": body.model, "token": token}

    def revoke(self, request: Request, _: Body) -> Answer:
        self._tokens.revoke(request.path["name"], actor=request.actor)
        return 200, {"revoked": request.path["name"]}

    def let_prefect(self, request: Request, body: PrefectBody) -> Answer:
        role, now = body.model_dump(), self._desk.clock()
        document = Applied(kind=ROLE, name=PREFECT, body=role, digest=body.role, actor=request.actor, at=now)
        self._desk.ledger.apply(document)
        return 200, role

    def calls(self, request: Request, _: Body) -> Answer:
        before = request.count("before", 0, 2**31) or None
        latest = self._desk.calls.latest(limit=request.count("limit", 100, 1000), before=before)
        return 200, {"calls": [{name: getattr(call, name) for name in _SHOWN} for call in latest]}

    @property
    def _tokens(self) -> Tokens:
        return Tokens(self._desk.ledger, self._desk.admin_token, self._desk.clock)


def operations(desk: Desk) -> tuple[Operation, ...]:
    """What can be asked about access."""
    acts = TokenActs(desk)
    root = "/api/v1/tokens"
    return (
        Operation(
            method="GET", path=root, role=Role.ADMIN, act=acts.list, summary="Who has which role.",
            gives={
                200: "`tokens`, each with `name`, `person`, `role`, `model`, `given_by`, `given_at`, `expires_at`, "
                "`expired`; `prefect`: its role."
            },
        ),
        Operation(
            method="POST", path=root, role=Role.ADMIN, takes=TokenBody, act=acts.give, is_secret=True,
            summary="Give a token; the answer is the only place where it is ever shown.",
            gives={201: "`name`, `role`, `model` and the `token`."},
        ),
        Operation(
            method="DELETE", path=f"{root}/{{name}}", role=Role.ADMIN, act=acts.revoke, summary="Take a token back.",
            gives={200: "`revoked`: its name."},
        ),
        Operation(
            method="PUT", path="/api/v1/roles/prefect", role=Role.ADMIN, takes=PrefectBody, act=acts.let_prefect,
            summary="Say what runs that are started in Prefect may do.", gives={200: "`role`."},
        ),
        Operation(
            method="GET", path="/api/v1/calls", role=Role.ADMIN, act=acts.calls,
            summary="Who asked to change something, newest first: here, and what a form of Prefect was refused.",
            query={"limit": "At most this many, up to 1000.", "before": "Those before this number."},
            gives={200: "`calls`, each with `number`, `at`, `actor`, `role`, `method`, `path`, `status`."},
        ),
    )  # fmt: skip
