"""doctor: is this machine fit, and does what runs on it answer as it should? Each finding has its fix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sluicegate.registry.words.errors import NotFound, SluiceError
from sluicegate.services.host.doctor.finding import Finding, failed, passed, warned
from sluicegate.services.host.machine import Recipe


def examine(
    recipe: Recipe, *, envoy_check: Sequence[str], now: Callable[[], datetime], refusal: Callable[[], str | None]
) -> tuple[Finding, ...]:
    """Every check; those of running servers only after an `up`. No check changes anything.

    `refusal` tells why the data plane refuses the routes that the ledger asks for, if it does.
    """
    from sluicegate.services.host.doctor import local, servers

    checks: list[Callable[[], Sequence[Finding]]] = [
        local.python,
        local.versions,
        lambda: local.state_folder(recipe.folder),
        lambda: local.disk(recipe.folder.root),
        lambda: local.envoy_files(envoy_check),
    ]
    try:
        running = servers.Running.find(recipe)
    except NotFound as nothing:
        never_up = warned("stack", nothing.message, "sluice up")
        checks.append(lambda: [never_up])
    else:
        checks += [
            running.programs,
            running.ports,
            running.loopback_only,
            running.reachable,
            running.closed,
            lambda: running.clock(now()),
            running.webhook,
            running.prefect,
            lambda: [_routes(refusal())],
        ]
    return tuple(finding for check in checks for finding in _guarded(check))


def _routes(refusal: str | None) -> Finding:
    if refusal is None:
        return passed("routes", "as the ledger asks for them")
    return failed("routes", refusal, "Withdraw what was applied last; until then no route of any model changes.")


def _guarded(check: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    """A check that cannot be made is a failed one, and the others are made all the same."""
    try:
        return check()
    except (SluiceError, OSError, ValueError, KeyError) as error:
        name = getattr(check, "__name__", "check").strip("<>")
        fix = error.fix if isinstance(error, SluiceError) and error.fix else "See the message."
        text = error.message if isinstance(error, SluiceError) else f"{type(error).__name__}: {error}"
        return [failed(name, text, fix)]
