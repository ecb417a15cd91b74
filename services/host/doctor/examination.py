"""All checks of `sluice doctor`: whether this machine is suitable, and whether its programs work, with fixes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.obstacle import Undriven
from sluicegate.registry.words.sight import Blindness
from sluicegate.services.host.doctor.finding import Finding, failed, passed, warned
from sluicegate.services.host.doctor.rounds import Check
from sluicegate.services.host.machine import Recipe


def checks(
    recipe: Recipe,
    *,
    envoy_check: Sequence[str],
    now: Callable[[], datetime],
    refusal: Callable[[], str | None],
    untended: Callable[[], Mapping[str, Blindness]],
    overdue: Callable[[], Mapping[str, str]],
    undriven: Callable[[], Mapping[str, Undriven]],
    files: Callable[[], Sequence[Finding]],
) -> dict[str, Check]:
    """Every check by its name; those of running servers only after an `up`. No check changes anything.

    `refusal` returns why the data plane refuses the ledger's routes, or None; `untended` the rollouts that the keeper
    cannot judge, and why; `overdue` the desired weights that are not in force in time; `undriven` the rollouts without
    a driver; `files` the findings about database files.
    """
    from sluicegate.services.host.doctor import local, servers

    of_machine: dict[str, Check] = {
        "python": local.python,
        "versions": local.versions,
        "state folder": lambda: local.state_folder(recipe.folder),
        "disk": lambda: local.disk(recipe.folder.root),
        "envoy files": lambda: local.envoy_files(envoy_check),
        "databases": files,
    }
    try:
        running = servers.Running.find(recipe)
    except NotFound as error:
        never_up = warned("stack", error.message, "sluice up")
        return of_machine | {"stack": lambda: [never_up]}
    return of_machine | {
        "programs": running.programs,
        "heartbeats": lambda: running.heartbeats(now()),
        "ports": running.ports,
        "loopback only": running.loopback_only,
        "servers": running.reachable,
        "closed to strangers": running.closed,
        "clock": lambda: running.clock(now()),
        "webhook": running.webhook,
        "prefect": running.prefect,
        "ledger": lambda: of_ledger(refusal(), overdue(), untended(), undriven()),
    }


def of_ledger(
    refusal: str | None, overdue: Mapping[str, str], untended: Mapping[str, Blindness], undriven: Mapping[str, Undriven]
) -> Sequence[Finding]:
    """Whether the ledger's routes and weights are in force, and its rollouts can be judged and advance."""
    return [_routes(refusal), _orders(overdue), _rollouts(untended), _drivers(undriven)]


def _routes(refusal: str | None) -> Finding:
    if refusal is None:
        return passed("routes", "Envoy has the routes that the ledger requires")
    return failed(
        "routes",
        refusal,
        "Withdraw the document that was applied last. Until then no route of any model changes.",
    )


def _orders(overdue: Mapping[str, str]) -> Finding:
    if not overdue:
        return passed("orders", "every desired weight is in force")
    listed = "; ".join(f"{rollout}: {what}" for rollout, what in sorted(overdue.items()))
    return failed(
        "orders",
        f"not in force: {listed}",
        "The keeper tries again every second. Fix the other failures first: disk, heartbeats.",
    )


def _drivers(undriven: Mapping[str, Undriven]) -> Finding:
    if not undriven:
        return passed("drivers", "every rollout that needs a driver has one")
    first, note = next(iter(undriven.items()))
    others = f", and {len(undriven) - 1} more" if len(undriven) > 1 else ""
    return failed("drivers", f"{first}{others}: {note.hindrance.detail}, since {note.since:%H:%M:%S} UTC", note.fix)


def _rollouts(untended: Mapping[str, Blindness]) -> Finding:
    if not untended:
        return passed("rollouts", "every open rollout can be judged")
    first, reason = next(iter(untended.items()))
    others = f", and {len(untended) - 1} more" if len(untended) > 1 else ""
    return failed(
        "rollouts",
        f"{first}{others}: {reason}",
        f"Its guardrails do not work. Abort it: sluice rollout abort {first}. The whole error is in logs/keeper.log.",
    )
