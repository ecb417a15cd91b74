"""logs: show what the programs on this machine logged, by rollout or by program."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit, plain

Name = Annotated[
    str | None, Parameter(help="A rollout's id, a model, or a program such as keeper; without it, lists the logs.")
]
Most = Annotated[int, Parameter(name=["--lines", "-n"], help="How many lines of each source to show at most.")]


def logs(name: Name = None, *, lines: Most = 50, output: Output = Format.TABLE) -> None:
    """Show logs of this machine. For a rollout: what keeper, drivers and the candidate's service wrote about it."""
    from sluicegate.flows.views import logs as reading
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.orders.naming import find
    from sluicegate.registry.words.errors import NotFound, SluiceError
    from sluicegate.services.host.addresses import has_ledger

    runtime = current_runtime()
    root = runtime.settings.state
    if name is None:
        files = {part: str(path) for part, path in reading.files(root).items()}
        table = "\n".join(f"{part:<24} {path}" for part, path in files.items())
        emit(files, output, table=table or f"there are no logs in {root} yet: sluice up")
        return
    try:
        rollout = find(runtime.ledger, name) if has_ledger(runtime.settings) else None
    except NotFound:
        rollout = None
    if rollout is None:
        log_lines = list(reading.file_lines(root, name, lines))
    else:
        try:
            prefect = runtime.prefect
        except SluiceError:
            prefect = None
        log_lines = list(reading.rollout_lines(rollout, root, prefect, lines))
    emit(plain(log_lines), output, table="\n".join(f"{line.source:<20} {line.text}" for line in log_lines))
