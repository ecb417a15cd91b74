"""up, down, status, doctor, env: the stack on this machine."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from sluicegate.flows.cli.output import Format, Output, columns, emit, plain, remark
from sluicegate.registry.words.errors import NotFound, SluiceError, Unreachable
from sluicegate.registry.words.gateways import Confirmation

if TYPE_CHECKING:
    from sluicegate.registry.ledger.record import Keeping
    from sluicegate.registry.words.gateways import GatewayState, Unwatched
    from sluicegate.registry.words.program import ProgramState
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.host.machine import Status
    from sluicegate.services.host.raising import Progress

UNREACHABLE = 6
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Print no progress.")]


def up(
    *,
    timeout: Annotated[
        float, Parameter(help="Wait at most this many seconds until everything is ready; then exit with code 5.")
    ] = 300.0,
    gateways: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1, lte=16),
            help="How many gateways to run, each with its own port and log; by default as many as before, or one. "
            "A weight grows only once every running gateway has confirmed it.",
        ),
    ] = None,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> None:
    """Start everything on this machine and wait until it is ready. What already runs is left alone.

    MLFLOW_TRACKING_URI and PREFECT_API_URL, where set, name servers to use instead of starting our own.
    """
    from sluicegate.flows.wiring.machine import machine
    from sluicegate.registry.words.settings import Settings

    Settings.read().check()
    with _progress(quiet=quiet) as show:
        site = machine().up(show, seconds=timeout, gateways=gateways)
    emit(
        {"state": site.state, "urls": site.urls()},
        output,
        table=_urls(site.urls()) + '\n\nTo use other tools in this shell:  eval "$(sluice env)"',
    )


def down(*, quiet: Quiet = False) -> None:
    """Let requests in flight finish, then stop everything that up started, and nothing else."""
    from sluicegate.flows.wiring.machine import machine

    with _progress(quiet=quiet) as show:
        stopped = machine().down(show)
    if not quiet:
        remark("everything has been stopped." if stopped else "nothing was running.")


def status(*, output: Output = Format.TABLE) -> int:
    """Show what runs, and where. Exit code 6 if nothing runs, 1 if a program does not run as it should."""
    from sluicegate.flows.wiring.keeper_names import named_keepers
    from sluicegate.flows.wiring.machine import machine
    from sluicegate.flows.wiring.machine_checks import gaps_in_words, telemetry_server
    from sluicegate.services.host.doctor.finding import CheckStatus

    now = datetime.now(UTC)
    try:
        stack = machine().status(now)
    except NotFound as error:
        raise Unreachable(error.message, fix=_console_hint() or error.fix) from error
    blind, gateways, ledger = ((), (), None) if stack.supervisor is None else _keeper_notes()
    replicas = {} if stack.supervisor is None else _replicas()
    unwatched = () if stack.supervisor is None else _unwatched()
    keepers = () if stack.supervisor is None or ledger is not None else _keepers()
    fewer = (f"{build}: {have} of {planned} replicas" for build, (have, planned) in replicas.items())
    telemetry = None if stack.supervisor is None else telemetry_server()
    gaps = () if stack.supervisor is None else gaps_in_words()
    text = (
        _status_table(stack, now),
        *fewer,
        *map(str, unwatched),
        *(str(each) for each in gateways if each.confirmation is not Confirmation.CONFIRMED),
        *blind,
        *([] if len(keepers) < 2 else [named_keepers(keepers)]),
        *([] if ledger is None else [f"the ledger cannot be read: {ledger}"]),
        *([] if telemetry is None else [f"telemetry: {telemetry.found}"]),
        *gaps,
    )
    report = _status(stack, blind, gateways, unwatched, ledger, replicas, keepers, telemetry, gaps, now)
    emit(report, output, table="\n".join(text))
    if stack.supervisor is None:
        return UNREACHABLE
    are_all_there = all(have == planned for have, planned in replicas.values())
    holds_up = any(each.holds_up for each in gateways)
    is_usable = ledger is None and (telemetry is None or telemetry.status is CheckStatus.PASS)
    is_well = are_all_there and not holds_up and not unwatched and is_usable
    return 0 if stack.is_up and is_well else 1


def env(
    *,
    output: Annotated[Format, Parameter(name=["--output", "-o"], help="table prints lines for the shell.")] = (
        Format.TABLE
    ),
) -> None:
    """Print export lines for MLflow, Prefect and sluice: eval "$(sluice env)". They hold secrets."""
    from sluicegate.flows.wiring.machine import machine

    values = machine().environment()
    lines = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(values.items()))
    emit(dict(sorted(values.items())), output, table=lines)


def doctor(
    *,
    cluster: Annotated[
        bool, Parameter(negative="", help="Check the installation of the cluster that SLUICE_CLUSTER names.")
    ] = False,
    output: Output = Format.TABLE,
) -> int:
    """Check this machine and everything that sluice needs. Each line says PASS, WARN or FAIL, and how to fix it.

    If SLUICE_CLUSTER is set, checks the cluster instead: rights, versions, databases, store, work pool and gateways.
    """
    from sluicegate.flows.wiring.machine_checks import examine
    from sluicegate.registry.words.settings import Settings
    from sluicegate.services.host.doctor.finding import CheckStatus

    if cluster and Settings.read().cluster is None:
        raise NotFound("no cluster is named here.", fix="run it in a control pod, or set SLUICE_CLUSTER.")

    findings = examine()
    emit(plain(findings), output, table=_findings_table(findings))
    return 1 if any(each.status is CheckStatus.FAIL for each in findings) else 0


def _console_hint() -> str | None:
    """How to ask the console that SLUICE_API names; None if it names none."""
    from sluicegate.registry.words.settings import Settings

    url = Settings.read().api_url
    return f"to ask the console at {url}, which SLUICE_API names: sluice overview" if url else None


def _keeper_notes() -> tuple[Sequence[str], Sequence[GatewayState], str | None]:
    """What the ledger's notes say: blind listeners and rollouts with their reasons, and the state of each gateway.

    If the ledger cannot be read, both are empty and the third value says why.
    """
    import sqlalchemy as sa

    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.ledger.keeper_notes import gateway_states, sights

    try:
        runtime = current_runtime()
        notes, gateways, at = sights(runtime.ledger), gateway_states(runtime.ledger), runtime.clock()
    except (sa.exc.SQLAlchemyError, SluiceError) as error:
        return (), (), str(error)
    listeners = [(f"listener {name.value}", sight.blind) for name, sight in notes.at(at).items()]
    blind = [f"{what}: {blind}" for what, blind in (*listeners, *notes.unjudged.items()) if blind is not None]
    return blind, gateways.at(at), None


def _unwatched() -> Sequence[Unwatched]:
    """Gateways that serve only stable builds, because no keeper watches them."""
    from sluicegate.flows.wiring.runtime import current_runtime

    return current_runtime().unwatched()


def _keepers() -> Sequence[Keeping]:
    """The keeper that leads and those that stand by."""
    from sluicegate.flows.wiring.runtime import current_runtime

    runtime = current_runtime()
    return runtime.ledger.keepers(runtime.clock())


def _plain_keepers(keepers: Sequence[Keeping]) -> list[dict[str, object]]:
    from sluicegate.flows.wiring.keeper_names import readable

    return [
        {"keeper": readable(each.keeper), "leads": each.until is not None, "term": each.term} for each in keepers
    ]  # fmt: skip


def _replicas() -> Mapping[str, tuple[int, int]]:
    """For each build with several replicas: how many answer, and how many are planned."""
    from sluicegate.flows.wiring.runtime import current_runtime

    return {str(build): counts for build, counts in current_runtime().fleet.replicas().items()}


def _status(
    status: Status, blind: Sequence[str], gateways: Sequence[GatewayState], unwatched: Sequence[Unwatched],
    ledger: str | None, replicas: Mapping[str, tuple[int, int]], keepers: Sequence[Keeping],
    telemetry: Finding | None, gaps: Sequence[str], now: datetime,
) -> object:  # fmt: skip
    programs = [
        {"name": each.name, "state": each.condition, "pid": each.pid, "since": each.since, "log": each.log}
        for each in status.programs
    ]
    return plain(
        {"state": status.state, "up": status.is_up, "supervisor": status.supervisor, "survivors": status.survivors,
         "silent": dict(status.silent),
         "urls": status.urls, "programs": programs,
         "replicas": {build: {"answering": have, "of": planned} for build, (have, planned) in replicas.items()},
         "gateways": [_gateway(each, now) for each in gateways], "unwatched": unwatched, "blind": list(blind),
         "keepers": _plain_keepers(keepers), "ledger": ledger,
         "telemetry": None if telemetry is None else telemetry.found, "gaps": list(gaps)}
    )  # fmt: skip


def _gateway(state: GatewayState, now: datetime) -> dict[str, object]:
    lag = 0.0 if state.confirmation is Confirmation.CONFIRMED else max((now - state.since).total_seconds(), 0.0)
    return {
        "name": state.name, "confirmation": state.confirmation.value, "version": state.version, "lag": round(lag, 1),
        "since": state.since, "why": state.why,
    }  # fmt: skip


def _status_table(status: Status, now: datetime) -> str:
    if status.survivors:
        return f"the supervisor has died; still running: {', '.join(status.survivors)}. To restart it: sluice up"
    if status.supervisor is None:
        return f"nothing runs in {status.state}. To start it: sluice up"
    rows = [(each.name, _condition(each, status), each.pid, _ago(now, each.since)) for each in status.programs]
    return f"{_urls(status.urls)}\n\n{columns(('PROGRAM', 'STATE', 'PID', 'SINCE'), rows)}"


def _condition(program: ProgramState, status: Status) -> str:
    quiet = status.silent.get(program.name)
    return program.condition.value if quiet is None else f"silent for {quiet:.0f} s"


def _urls(urls: Mapping[str, str]) -> str:
    width = max(9, *(len(name) + 1 for name in urls))
    return "\n".join(f"{name:<{width}}{url}" for name, url in urls.items())


def _ago(now: datetime, then: datetime | None) -> str:
    if then is None:
        return "-"
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"


def _findings_table(findings: tuple[Finding, ...]) -> str:
    lines = []
    for finding in findings:
        lines.append(f"{finding.status.value:<5} {finding.check:<22} {finding.found}")
        if finding.fix:
            lines.append(f"      {'':<22} fix: {finding.fix}")
    return "\n".join(lines)


def _progress(*, quiet: bool) -> AbstractContextManager[Callable[[Progress], None]]:
    if quiet:
        return nullcontext(lambda _: None)
    if sys.stderr.isatty():
        from sluicegate.flows.cli.live import Live

        return Live(time.monotonic)
    return nullcontext(_plain(time.monotonic))


def _plain(clock: Callable[[], float]) -> Callable[[Progress], None]:
    from sluicegate.services.host.raising import Mark

    began = clock()

    def show(progress: Progress) -> None:
        text = f"{progress.mark.value} {progress.name}" if progress.name else progress.text
        took = f" after {progress.seconds:.1f} s" if progress.mark is Mark.READY else ""
        remark(f"[{clock() - began:5.1f} s] {text}{took}")

    return show
