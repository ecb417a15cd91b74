"""Acts on access: give and revoke tokens, and list who called what."""

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
"""The fields of a call that the API shows; its body and its answer stay private."""


class TokenBody(Body):
    """A token to give."""

    name: str = Field(min_length=1, max_length=36)
    """Whose it is; every fact that results from its use has this name."""
    role: Literal["gateway", "reporter", "viewer", "analyst", "operator", "approver", "admin"] = "viewer"
    """What it may do. A gateway's token is only for that gateway, a reporter's only for sending outcomes. From viewer
    on, each role includes the ones before it, except that only analysts and admins may read captured requests."""
    model: str | None = Field(default=None, min_length=1, max_length=250)
    """For reporters: the one model whose outcomes it may send; none: every model's."""
    expires: Annotated[Duration, Field(gt=0)] | None = None
    """Its lifetime, such as 90d, at most 366d; then it is refused. None: it is valid until it is revoked."""
    person: str | None = Field(default=None, min_length=1, max_length=36)
    """Its owner, if one person has several tokens: they count as one where two named people are needed."""


class PrefectBody(Body):
    """The role of runs that people start in Prefect."""

    role: Literal["viewer", "operator", "approver"]
    """With viewer they can give no order. Drivers of rollouts in progress are not affected."""


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
    """The operations on access."""
    acts = TokenActs(desk)
    root = "/api/v1/tokens"
    return (
        Operation(
            method="GET", path=root, role=Role.ADMIN, act=acts.list, summary="Every token and its role.",
            gives={
                200: "`tokens`, each with `name`, `person`, `role`, `model`, `given_by`, `given_at`, `expires_at`, "
                "`expired`; `prefect`: its role."
            },
        ),
        Operation(
            method="POST", path=root, role=Role.ADMIN, takes=TokenBody, act=acts.give, is_secret=True,
            summary="Create a token. It is shown only in this answer.",
            gives={201: "`name`, `role`, `model` and the `token`."},
        ),
        Operation(
            method="DELETE", path=f"{root}/{{name}}", role=Role.ADMIN, act=acts.revoke, summary="Revoke a token.",
            gives={200: "`revoked`: its name."},
        ),
        Operation(
            method="PUT", path="/api/v1/roles/prefect", role=Role.ADMIN, takes=PrefectBody, act=acts.let_prefect,
            summary="Set the role of runs that people start in Prefect.", gives={200: "`role`."},
        ),
        Operation(
            method="GET", path="/api/v1/calls", role=Role.ADMIN, act=acts.calls,
            summary="Calls that ask for a change, newest first, and orders from Prefect's forms that were refused.",
            query={"limit": "At most this many, up to 1000.", "before": "Only calls before this number."},
            gives={200: "`calls`, each with `number`, `at`, `actor`, `role`, `method`, `path`, `status`."},
        ),
    )  # fmt: skip
