"""Shell completion with the current names of rollouts, models, audiences, variations and tokens.

A completer must never disturb the person who types: if the console does not answer, it offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

Completer = Callable[["CompletionContext"], list[str]]


def _names(find: Callable[[], Iterable[str]]) -> Completer:
    def complete(context: CompletionContext) -> list[str]:
        try:
            names = sorted(set(find()))
        except Exception:  # noqa: BLE001  # commands report what is wrong; a completion must not
            return []
        return [name for name in names if name.startswith(context.incomplete)]

    return complete


def _get(path: str, key: str) -> Any:
    from sluicegate.flows.cli.reach import call

    return call("GET", path)[key]


def _rollouts() -> Iterable[str]:
    for view in _get("/api/v1/rollouts", "rollouts"):
        yield from (view["id"], view["model"])


rollouts = _names(_rollouts)
models = _names(lambda: [each["model"] for each in _get("/api/v1/variations", "variations")])
variations = _names(lambda: [each["variation"] for each in _get("/api/v1/variations", "variations")])
audiences = _names(lambda: [each["name"] for each in _get("/api/v1/audiences", "audiences")])
tokens = _names(lambda: [each["name"] for each in _get("/api/v1/tokens", "tokens")])
