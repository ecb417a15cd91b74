"""Access: tokens with their roles, and the calls that were made. For admins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import unquote

from starlette.requests import Request

from sluicegate.registry.ledger.calls import Call, Calls
from sluicegate.registry.orders.authority import role_of_prefect
from sluicegate.registry.words.errors import Forbidden, NotFound
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.acts.rollouts import ORDERS
from sluicegate.services.console.acts.table import find
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk
from sluicegate.services.console.tokens import given_tokens

PAGE = 100
"""Calls on one page."""
SCAN = 2_000
"""The most calls that are searched for matches of a filter."""
REFUSED = "refused"
"""The filter for calls that were not carried out."""
_FIRST_REFUSAL = 400


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Consecutive calls by one person with the same operation and the same answer."""

    text: str
    """The operation, in words."""
    about: str
    """What the calls were about; empty if that differs between them or is nothing."""
    calls: tuple[Call, ...]
    """Newest first."""

    @property
    def answer(self) -> str:
        """Their result, in words."""
        status = self.calls[0].status
        if status is None:
            return "no answer"
        return "done" if status < _FIRST_REFUSAL else f"refused ({status})"


def page(desk: Desk) -> Endpoint:
    """The page of tokens and calls."""

    def context(request: Request) -> Context:
        if request.state.caller.role < Role.ADMIN:
            raise Forbidden("this page is for admins.")
        who, answer, before = (request.query_params.get(name, "") for name in ("who", "answer", "before"))
        calls, older = _calls(desk.calls, who.strip(), answer, int(before) if _is_number(before) else None)
        return {
            "tokens": given_tokens(desk.ledger),
            "prefect": role_of_prefect(desk.ledger).title,
            "asked": list(gathered(desk, calls)),
            "who": who,
            "answer": answer,
            "older": older,
        }

    return template(desk, "access.html", context)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _calls(calls: Calls, who: str, answer: str, before: int | None) -> tuple[list[Call], int | None]:
    """The calls that match the filter, newest first, and the number before which older calls begin."""
    wanted: list[Call] = []
    for _ in range(SCAN // PAGE):
        stretch = calls.latest(limit=PAGE, before=before)
        for call in stretch:
            before = call.number
            if (not who or call.actor == who) and (answer != REFUSED or (call.status or 0) >= _FIRST_REFUSAL):
                wanted.append(call)
            if len(wanted) == PAGE:
                return wanted, before
        if len(stretch) < PAGE:
            return wanted, None
    return wanted, before


def gathered(desk: Desk, calls: Sequence[Call]) -> Iterator[Asked]:
    """The calls in words; consecutive calls by one person with the same operation and answer become one line."""
    worded = [(*_worded(desk, call), call) for call in calls]
    for (text, *_), group in groupby(worded, key=lambda each: (each[0], each[2].actor, each[2].status)):
        same = list(group)
        yield Asked(text=text, about=_common(about for _, about, _ in same), calls=tuple(call for *_, call in same))


def _common(names: Iterable[str]) -> str:
    distinct = set(names)
    return distinct.pop() if len(distinct) == 1 else ""


def _worded(desk: Desk, call: Call) -> tuple[str, str]:
    """The operation of a call in words, and what it is about."""
    path = call.path.partition("?")[0]
    try:
        operation, names = find(desk, call.method, path)
    except NotFound:
        return f"{call.method} {unquote(path)}", ""
    act = path.rpartition("/")[2]
    if act in ORDERS and "/rollouts/" in path:
        return f"{act.capitalize()} a rollout", names["id"]
    return re.split("[.;:]", operation.summary)[0], ", ".join(names.values())
