"""The checks of `sluice doctor` on one machine."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.cluster_checks import checks_of_cluster
from sluicegate.flows.wiring.machine import PACKAGED, recipe
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words import figures
from sluicegate.registry.words.errors import NotFound, SluiceError
from sluicegate.registry.words.gateways import Confirmation
from sluicegate.services.host.installation import GATEWAY

if TYPE_CHECKING:
    from sluicegate.registry.rollout.rollout import Rollout
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.host.doctor.rounds import Check

_DOCTOR_SECONDS = 40.0
"""Time limit for all checks: the longest that a check may take by its own limits, and some slack."""


def examine() -> tuple[Finding, ...]:
    """The findings of every check of this installation."""
    from sluicegate.services.host.doctor.rounds import Rounds

    return Rounds(checks).findings(_DOCTOR_SECONDS)


def checks() -> Mapping[str, Check]:
    """Every check of this installation, by name."""
    from sluicegate.registry.ledger.keeper_notes import untended
    from sluicegate.registry.ledger.reading import undriven
    from sluicegate.services.host.doctor import examination
    from sluicegate.services.host.ports import read_ports
    from sluicegate.services.keeper.overdue import overdue
    from sluicegate.services.keeper.refusals import refusal

    runtime = current_runtime()
    if runtime.settings.cluster is not None:
        return checks_of_cluster(runtime, PACKAGED) | _record_checks(runtime)
    envoy = runtime.envoy_at(read_ports(runtime.folder.run / "ports.json").get(GATEWAY, 0))
    machine_checks = examination.checks(
        recipe(os.environ),
        envoy_check=(*envoy.command(), "--mode", "validate"),
        now=runtime.wall,
        refusal=lambda: refusal(runtime.ledger),
        untended=lambda: untended(runtime.ledger),
        undriven=lambda: undriven(runtime.ledger),
        overdue=lambda: overdue(runtime.ledger, runtime.clock()),
        files=lambda: _databases(runtime),
    )
    return machine_checks | _record_checks(runtime)


def _record_checks(runtime: Runtime) -> dict[str, Check]:
    """Checks of ledger and telemetry, on a machine and in a cluster."""
    record_checks: dict[str, Check] = {
        "settings": lambda: _settings(runtime),
        "prefect role": lambda: _prefect(runtime),
        "tokens": lambda: _tokens(runtime),
        "builds": lambda: _namesakes(runtime),
        "wall clock": lambda: _wall_clock(runtime),
        "keepers": lambda: _keepers(runtime),
        "git": lambda: _followed(runtime),
        "sources": lambda: _sources(runtime),
        "cores and memory": lambda: _room(runtime),
        "gateways": lambda: _gateways(runtime),
        "watched": lambda: _watched(runtime),
    }
    if runtime.settings.listen is not None:
        record_checks["certificate"] = lambda: _certificate(runtime)
    if runtime.settings.store is not None:
        record_checks["bento store"] = lambda: _bento_store(runtime)
    file = runtime.settings.telemetry_file()
    if file is None:
        record_checks["telemetry"] = lambda: _telemetry(runtime)
    if file is None or file.exists():
        record_checks |= {
            "collector": lambda: _collector(runtime),
            "counted": lambda: _counted(runtime),
            "kept": lambda: _kept(runtime),
            "generator": lambda: _generator(runtime),
        }
    return record_checks


def _settings(runtime: Runtime) -> Sequence[Finding]:
    """Invalid settings, with which `sluice up` does not start."""
    from sluicegate.services.host.doctor.finding import passed, warned

    warnings = [warned("settings", each.message, each.fix or "Unset it.") for each in runtime.settings.wrong()]
    return warnings or [passed("settings", "every setting of this environment is valid")]


def _sources(runtime: Runtime) -> Sequence[Finding]:
    """Whether the keeper has an address for every source that an applied plan names. Empty without the ledger."""
    import sqlalchemy as sa

    from sluicegate.flows.wiring.sources import source_findings

    try:
        plans = [Plan.recorded(each.body) for each in runtime.ledger.all_applied("plan")]
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()
    return source_findings(plans, _environment_of_keeper(runtime))


def _bento_store(runtime: Runtime) -> tuple[Finding, ...]:
    """Whether the shared store of bentos works."""
    from sluicegate.flows.wiring.bentos import store_finding
    from sluicegate.services.bento.stores.objects import Limits

    store = runtime.shared_store_within(Limits(silence=5.0, whole=8.0))
    return (store_finding(store),) if store is not None else ()


def _certificate(runtime: Runtime) -> Sequence[Finding]:
    """Which certificate other hosts are shown and until when, and whether the certificate's files can be used."""
    from sluicegate.flows.wiring.certificate_watch import findings

    try:
        served_name = runtime.served_name(runtime.site)
    except NotFound:
        return ()
    return () if served_name is None else findings(served_name, runtime.site, runtime.wall())


def _environment_of_keeper(runtime: Runtime) -> Mapping[str, str]:
    """The keeper's environment; if it does not run, the environment that it would get here."""
    import psutil

    with contextlib.suppress(SluiceError, psutil.Error, OSError):
        keeper = next((each for each in runtime.supervisor.running() if each.name == "keeper"), None)
        if keeper is not None and keeper.pid:
            return psutil.Process(keeper.pid).environ()
    return os.environ


def _telemetry(runtime: Runtime) -> Sequence[Finding]:
    """Where the telemetry is, and whether it can be used."""
    from sluicegate.flows.wiring.collecting import telemetry_finding

    return [telemetry_finding(runtime.telemetry_place(), _why_no_telemetry(runtime))]


def gaps_in_words() -> Sequence[str]:
    """Requests that were served and never counted. Empty if the telemetry cannot be read, reported elsewhere."""
    from sluicegate.services.telemetry.reading.accounts import gaps

    runtime, file = current_runtime(), current_runtime().settings.telemetry_file()
    if file is not None and not file.exists():
        return ()
    try:
        return [str(each) for each in gaps(runtime.store)]
    except SluiceError:
        return ()


def telemetry_server() -> Finding | None:
    """Whether the telemetry's server can be used; None if the telemetry is a local file."""
    runtime = current_runtime()
    return None if runtime.settings.telemetry_file() else _telemetry(runtime)[0]


def _why_no_telemetry(runtime: Runtime) -> str | None:
    """Why the telemetry cannot be used; None if it can."""
    try:
        with runtime.store.read():
            return None
    except SluiceError as error:
        return str(error)


def _collector(runtime: Runtime) -> Sequence[Finding]:
    """How much of the logs has not been read yet, or never will be."""
    import sqlalchemy as sa

    from sluicegate.flows.wiring.collecting import TELEMETRY_FIX, finding, gap_findings, reader_findings
    from sluicegate.services.host.doctor.finding import failed
    from sluicegate.services.telemetry.reading.accounts import gaps
    from sluicegate.services.telemetry.tailing.readers import all_readers

    now = runtime.wall().timestamp()
    try:
        readers = reader_findings(all_readers(runtime.store), round(now * 1e6))
        return [finding(runtime.backlog(), now), *gap_findings(gaps(runtime.store)), *readers]
    except (sa.exc.SQLAlchemyError, SluiceError, OSError) as error:
        fix = _TELEMETRY_FIX if runtime.settings.telemetry_file() else TELEMETRY_FIX
        return [failed("collector", f"the telemetry cannot be read: {error}", fix)]


def _kept(runtime: Runtime) -> Sequence[Finding]:
    """How much of the disk the kept requests use, and outcomes that no plan asks for."""
    import sqlalchemy as sa

    from sluicegate.flows.wiring.collecting import growth_finding, unasked_findings
    from sluicegate.flows.wiring.keeping import kept_for
    from sluicegate.registry.plan.fields import UNSTATED_RETENTION
    from sluicegate.services.host.doctor.finding import warned
    from sluicegate.services.telemetry.reading.growth import growth, unasked

    try:
        unasked_outcomes = unasked_findings(unasked(runtime.store))
        if not runtime.store.is_sqlite:
            return unasked_outcomes
        free = shutil.disk_usage(runtime.folder.root).free
        grown = growth(runtime.store, runtime.wall().timestamp())
        longest = max(kept_for(runtime.ledger).values(), default=UNSTATED_RETENTION)
        return [growth_finding(grown, free, longest), *unasked_outcomes]
    except (sa.exc.SQLAlchemyError, SluiceError, OSError) as error:
        why = f"how long the disk lasts is not known: {error}"
        return [warned("growth", why, "Fix the other findings first.")]


def _counted(runtime: Runtime) -> Sequence[Finding]:
    """How many of the served requests are counted."""
    import sqlalchemy as sa

    from sluicegate.flows.wiring.collecting import sight_findings
    from sluicegate.registry.ledger.keeper_notes import sights
    from sluicegate.services.host.doctor.finding import failed

    try:
        return sight_findings(sights(runtime.ledger).at(runtime.clock()))
    except (sa.exc.SQLAlchemyError, SluiceError) as error:
        fix = error.fix if isinstance(error, SluiceError) and error.fix else _LEDGER_FIX
        return [failed("counted", "the ledger cannot be read, so it is not known how many requests are counted", fix)]


def _generator(runtime: Runtime) -> Sequence[Finding]:
    """Whether rollouts that want generated requests have some to send. Empty if that cannot be read."""
    import sqlalchemy as sa

    from sluicegate.flows.wiring.generator import findings

    try:
        return findings(runtime)
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()


def _followed(runtime: Runtime) -> tuple[Finding, ...]:
    """The state of each tree of documents that is followed in Git."""
    from sluicegate.flows.sync.remembered import followed
    from sluicegate.services.host.doctor.finding import passed, warned

    try:
        trees = followed(runtime.ledger)
    except SluiceError:  # another check reports this
        return ()
    return tuple(
        warned(
            "git",
            f"{each.tree}: {'; '.join(each.wrong)}",
            each.fix
            or "change it in Git or in this installation, then run sluice sync again; with --no-follow it "
            "is not shown any more",
        )
        if each.wrong
        else passed("git", f"{each.tree} is at commit {each.commit[:12]}, checked {figures.moment(each.at)} UTC")
        for each in trees
    )


_LEDGER_FIX = (
    "Routes and services stay as they are. sluice down, then bring the last backup back: sluice restore FROM, and "
    "sluice up. Without one: sqlite3 ledger.db .recover | sqlite3 new.db, and new.db in its place."
)
_TELEMETRY_FIX = (
    "sluice down, then restore the last backup with sluice restore FROM, then sluice up. Without one, move "
    "telemetry.db "
    "and the files beside it away: requests whose logs are still there are read again, and gates start over."
)


def _prefect(runtime: Runtime) -> tuple[Finding, ...]:
    """The role of Prefect. Empty if the ledger cannot be read, which another check reports."""
    import sqlalchemy as sa

    from sluicegate.registry.orders.authority import role_of_prefect
    from sluicegate.services.host.doctor.finding import passed

    try:
        role = role_of_prefect(runtime.ledger).title
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()
    return (passed("prefect role", f"runs that are started in Prefect have the role {role}"),)


def _tokens(runtime: Runtime) -> tuple[Finding, ...]:
    """Tokens that expire soon. Empty if the ledger cannot be read, which another check reports."""
    import sqlalchemy as sa

    from sluicegate.flows.wiring.token_expiries import token_finding
    from sluicegate.services.console.tokens import given_tokens

    try:
        return (token_finding(given_tokens(runtime.ledger), runtime.clock()),)
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()


def _keepers(runtime: Runtime) -> tuple[Finding, ...]:
    """Which keeper leads and which stand by. Empty if there was never one, or if the ledger cannot be read."""
    import sqlalchemy as sa

    from sluicegate.flows.wiring.keeper_names import named_keepers
    from sluicegate.services.host.doctor.finding import passed, warned

    try:
        keepers = runtime.ledger.keepers(runtime.clock())
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()
    if not keepers:
        return ()
    if any(each.until is not None for each in keepers):
        return (passed("keepers", named_keepers(keepers)),)
    fix = "start one: sluice up; if one runs, read its log: sluice logs keeper."
    return (warned("keepers", named_keepers(keepers), fix),)


def _wall_clock(runtime: Runtime) -> tuple[Finding, ...]:
    """A warning if the wall clock was set away from the ledger's clock while rollouts were open."""
    from sluicegate.flows.wiring.record_clock import APART
    from sluicegate.services.host.doctor.finding import warned

    ahead = runtime.clock.ahead()
    if abs(ahead) <= APART:
        return ()
    way = "forward" if ahead > timedelta(0) else "back"
    summary = f"it was set {way} by {abs(ahead)} while rollouts were open; their timers ignore that"
    return (
        warned(
            "wall clock",
            summary,
            "Nothing to do if the clock is right now: Sluicegate follows it again once no rollout is open.",
        ),
    )


def _gateways(runtime: Runtime) -> tuple[Finding, ...]:
    """What each gateway serves. Empty if the ledger cannot be read, which another check reports."""
    import sqlalchemy as sa

    from sluicegate.registry.ledger.keeper_notes import gateway_states
    from sluicegate.services.host.doctor.finding import failed, passed

    try:
        states = gateway_states(runtime.ledger).at(runtime.clock())
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()
    fix = (
        "No candidate gets more requests until this gateway confirms its routes; an abort takes effect at all others. "
        "Read its log: sluice logs envoy, or envoy-2 and so on. If it hangs, end its process: it is started again."
    )
    findings = []
    for each in states:
        reported = "no version" if each.version is None else f"version {each.version}"
        if each.confirmation is Confirmation.CONFIRMED:
            findings.append(passed(each.name, f"it has the current routes ({reported})"))
        else:
            findings.append(failed(each.name, f"{each}. It last reported {reported}.", fix))
    return tuple(findings)


def _watched(runtime: Runtime) -> tuple[Finding, ...]:
    """Whether a keeper watches each gateway. Uses neither ledger nor gateway, since these may be away."""
    from sluicegate.services.host.doctor.finding import failed, passed

    fix = (
        "Callers are served by stable builds meanwhile; no rollout advances. Check that the keeper runs and reads the "
        "ledger: sluice status, sluice logs keeper. It restores the routes by itself."
    )
    unwatched = {each.gateway: each for each in runtime.unwatched()}
    return tuple(
        failed(f"{name} watched", str(unwatched[name]), fix)
        if name in unwatched
        else passed(f"{name} watched", "a keeper watches it")
        for name in runtime.heard_gateways()
    )


def _namesakes(runtime: Runtime) -> tuple[Finding, ...]:
    """Versions that serve although their numbers now mean other builds in MLflow. Empty if that cannot be read."""
    import sqlalchemy as sa

    from sluicegate.registry.rollout.namesakes import namesakes
    from sluicegate.services.host.doctor.finding import warned

    try:
        by_model: dict[str, list[Rollout]] = {}
        for rollout in runtime.ledger.current():
            by_model.setdefault(rollout.requested.model, []).append(rollout)
        builds = runtime.catalog.snapshot(by_model)
        notes = [note for model, rollouts in by_model.items() for note in namesakes(rollouts, builds[model]).values()]
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()
    fix = "Register the build once more, so that it gets a number of its own, and roll that out."
    return tuple(warned("builds", note, fix) for note in notes)


def _room(runtime: Runtime) -> tuple[Finding, ...]:
    """Whether this machine has room for the services that must run. Empty if the ledger cannot be read."""
    import psutil
    import sqlalchemy as sa

    from sluicegate.registry.rollout.standing import standings
    from sluicegate.services.host.doctor.room import Demand, finding
    from sluicegate.services.keeper.fleet_pass import needs

    try:
        rollouts = runtime.ledger.current()
    except (sa.exc.SQLAlchemyError, SluiceError):
        return ()
    demands = [
        Demand(
            build=str(need.build),
            replicas=need.serve.replicas,
            workers=need.serve.workers,
            cpu=need.serve.resources.cpu or float(need.serve.workers),
            memory=need.serve.resources.memory,
        )
        for need in needs(rollouts, standings(rollouts))
    ]
    return (finding(demands, len(os.sched_getaffinity(0)), psutil.virtual_memory().total),)


def _databases(runtime: Runtime) -> Sequence[Finding]:
    """Checks of the files of ledger and telemetry, if these are files."""
    from sqlalchemy import make_url

    from sluicegate.services.host.doctor.databases import database

    url = make_url(runtime.settings.ledger_url())
    ledger = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    file = runtime.settings.telemetry_file()
    telemetry = database("telemetry", file, _TELEMETRY_FIX) if file else ()
    return [*(database("ledger", ledger.absolute(), _LEDGER_FIX) if ledger else ()), *telemetry]
