"""Recording: each call that may change something is recorded before it acts. A repeated key gives the same answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sluicegate.registry.ledger.calls import Call, Calls
from sluicegate.registry.words.errors import Forbidden, SluiceError, Unreachable, UsageError
from sluicegate.services.console.operations import Answer, Operation, Request
from sluicegate.services.console.problems import problem_document
from sluicegate.services.console.tokens import Caller

LONGEST_KEY = 255


def allow(caller: Caller, operation: Operation) -> None:
    """Raise Forbidden unless the caller's role permits the operation."""
    if not caller.role.may(operation.role):
        needed, has = operation.role.title, caller.role.title
        raise Forbidden(
            f"{operation.method} {operation.path} needs the role {needed}; the token of {caller.name} has the "
            f"role {has}.",
            fix=f"ask an admin: sluice token give NAME --role {needed}",
        )


class Recorder:
    """Runs operations and records them."""

    def __init__(self, calls: Calls, clock: Callable[[], datetime]) -> None:
        self._calls = calls
        self._clock = clock

    def run(self, operation: Operation, request: Request, caller: Caller, path: str) -> Answer:
        """The answer; errors become problem documents."""
        if operation.method == "GET" or not operation.is_recorded:
            return _carry_out(operation, request)
        if request.key is not None and not 0 < len(request.key) <= LONGEST_KEY:
            raise UsageError(f"Idempotency-Key: 1 to {LONGEST_KEY} characters.")
        wanted = Call(
            at=self._clock(),
            actor=caller.name,
            role=caller.role.name.lower(),
            method=operation.method,
            path=path,
            digest=_digest(operation.method, path, request),
            key=None if operation.is_secret else request.key,
        )
        kept, is_first = self._calls.begin(wanted)
        if not is_first:
            _refuse_another(kept, wanted)
        if kept.status is not None and kept.answer is not None:
            return kept.status, json.loads(kept.answer)
        status, answer = _carry_out(operation, request)
        with suppress(Unreachable):  # the act is done, and repeating it with its key does nothing
            self._calls.finish(kept.number, status, json.dumps(answer))
        return status, answer


def _carry_out(operation: Operation, request: Request) -> Answer:
    try:
        return operation.run(request)
    except SluiceError as error:
        return problem_document(error)


def _refuse_another(kept: Call, wanted: Call) -> None:
    """Raise UsageError if the key was used for a different call.

    The same call without an answer, because its process died or is still working, is carried out again; the order's
    own key ensures that it takes effect only once.
    """
    if kept.digest != wanted.digest:
        raise UsageError(f"Idempotency-Key {kept.key!r} was used for another call already.", fix="choose a new key")


def _digest(method: str, path: str, request: Request) -> str:
    words = json.dumps([method, path, request.if_match, request.body], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()
