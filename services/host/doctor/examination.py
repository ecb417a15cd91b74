"""doctor: is this machine fit, and does what runs on it answer as it should? Each finding has its fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sluicegate.registry.words.errors import NotFound, SluiceError
from sluicegate.registry.words.sight import Blindness
from sluicegate.services.host.doctor.finding import Finding, failed, passed, warned
from sluicegate.services.host.machine import Recipe


def examine(
    recipe: Recipe,
    *,
    envoy_check: Sequence[str],
    now: Callable[[], datetime],
    refusal: Callable[[], str | None],
    untended: Callable[[], Mapping[str, Blindness]],
    overdue: Callable[[], Mapping[str, str]],
    files: Callable[[], Sequence[Finding]],
) -> tuple[Finding, ...]:
    """Every check; those of running servers only after an `up`. No check changes anything.

    `refusal` tells why the data plane refuses the routes that the ledger asks for, if it does; `untended` which
    rollouts the keeper cannot judge, and why; `overdue` which weights were ordered and are not in force;
    `files` how those of the databases are.
    """
    from sluicegate.services.host.doctor import local, servers

    def ledger() -> Sequence[Finding]:
        return [_routes(refusal()), _orders(overdue()), _rollouts(untended())]

    checks: list[Callable[[], Sequence[Finding]]] = [
        local.python,
        local.versions,
        lambda: local.state_folder(recipe.folder),
        lambda: local.disk(recipe.folder.root),
        lambda: local.envoy_files(envoy_check),
        files,
    ]
    try:
        running = servers.Running.find(recipe)
    except NotFound as nothing:
        never_up = warned("stack", nothing.message, "sluice up")
        checks.append(lambda: [never_up])
    else:
        checks += [
            running.programs,
            lambda: running.heartbeats(now()),
            running.ports,
            running.loopback_only,
            running.reachable,
            running.closed,
            lambda: running.clock(now()),
            running.webhook,
            running.prefect,
            ledger,
        ]
    return tuple(finding for check in checks for finding in _guarded(check))


def _routes(refusal: str | None) -> Finding:
    if refusal is None:
        return passed("routes", "as the ledger asks for them")
    return failed("routes", refusal, "Withdraw what was applied last; until then no route of any model changes.")


def _orders(overdue: Mapping[str, str]) -> Finding:
    if not overdue:
        return passed("orders", "each weight that was ordered is in force")
    those = "; ".join(f"{rollout}: {what}" for rollout, what in sorted(overdue.items()))
    return failed(
        "orders",
        f"not in force: {those}",
        "It is tried at every look: mend what else fails here, first disk and heartbeats.",
    )


def _rollouts(untended: Mapping[str, Blindness]) -> Finding:
    if not untended:
        return passed("rollouts", "each one that is under way can be judged")
    first, reason = next(iter(untended.items()))
    others = f", and {len(untended) - 1} more" if len(untended) > 1 else ""
    return failed(
        "rollouts",
        f"{first}{others}: {reason}",
        f"Its guardrails do not work: sluice rollout abort {first}. logs/keeper.log has the whole error.",
    )


def _guarded(check: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    """A check that cannot be made is a failed one, and the others are made all the same."""
    try:
        return check()
    except (SluiceError, OSError, ValueError, KeyError) as error:
        name = getattr(check, "__name__", "check").strip("<>")
        fix = error.fix if isinstance(error, SluiceError) and error.fix else "See the message."
        text = error.message if isinstance(error, SluiceError) else f"{type(error).__name__}: {error}"
        return [failed(name, text, fix)]
