"""Operations and requests as acts see them, whether they come from the API, a page or the CLI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from sluicegate.registry.orders.order import Act, Order
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.if_match import seen_by_tag


class Body(BaseModel):
    """Base of all bodies: frozen, strict about types, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Nothing(Body):
    """A body without fields."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call: its caller, its door, its parameters and its body."""

    actor: str
    role: Role
    """What the actor may do."""
    person: str | None = None
    """The person behind the token; None: nobody in particular."""
    door: str = "console"
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    """Parsed JSON."""
    if_match: str | None = None
    """The entity tag that the rollout or the connections must still have."""
    only_model: str | None = None
    """The one model that the actor may report outcomes of; None: every model."""
    key: str | None = None
    """The caller's Idempotency-Key: an order that is sent again is carried out only once."""

    def order(
        self, act: Act, *, reason: str = "no reason given", override_freeze: str | None = None,
        override_assessment: str | None = None,
    ) -> Order:  # fmt: skip
        """The order that this request gives."""
        return Order(
            act=act, actor=self.actor, role=self.role, person=self.person, cause=self.door, reason=reason,
            override_freeze=override_freeze, override_assessment=override_assessment, seen=seen_by_tag(self.if_match),
            key=self.key,
        )  # fmt: skip

    def count(self, name: str, default: int, largest: int) -> int:
        """A whole number from the query, from 0 to `largest`. Raises UsageError."""
        text = self.query.get(name, str(default))
        if not text.isascii() or not text.isdigit() or int(text) > largest:
            raise UsageError(f"{name}: a whole number from 0 to {largest} is required, got {text!r}.")
        return int(text)


Answer = tuple[int, Any]
"""A status and a value, which may mix dataclasses, pydantic models and JSON values."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One act with its method and path, the role that it needs, and its parameters."""

    method: str
    path: str
    role: Role
    summary: str
    act: Callable[[Request, Any], Answer]
    takes: type[BaseModel] = Nothing
    query: Mapping[str, str] = field(default_factory=dict)
    """The query parameters, each with its description."""
    is_recorded: bool = True
    """Whether calls are recorded with their actor, time and result. Off for calls that come many times a second."""
    is_secret: bool = False
    """Whether the answer must not be recorded."""
    gives: Mapping[int, str] = field(default_factory=lambda: {200: "A rollout."})
    """What it answers on success, by status."""

    def run(self, request: Request) -> Answer:
        """Check the parameters, then act; the answer is in JSON values. Raises UsageError that lists all mistakes."""
        unknown = sorted(set(request.query) - set(self.query))
        if unknown:
            known = ", ".join(self.query) or "none"
            raise UsageError(f"unknown query parameter {', '.join(unknown)}; known: {known}.")
        status, value = self.act(request, self._body(request.body))
        return status, to_jsonable_python(value)

    def _body(self, body: object) -> BaseModel:
        try:
            return self.takes.model_validate({} if body is None else body)
        except ValidationError as error:
            raise UsageError("; ".join(_words(problem) for problem in error.errors(include_url=False))) from None


def _words(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "body"
    if problem["type"] == "extra_forbidden":
        return f"{where}: no such field"
    return f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
