"""captures export: write captured requests and answers to a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.output import Format, Output, emit
from sluicegate.flows.cli.reach import call, segment


def export(
    model: Annotated[str, Parameter(help="The MLflow registered model.", completer=completing.models)],
    *,
    to: Annotated[
        Path,
        Parameter(
            help="The file to write: Parquet if the name ends in .parquet, otherwise JSON lines.",
        ),
    ],
    build: Annotated[str | None, Parameter(help="Only requests that this version answered.")] = None,
    since: Annotated[datetime | None, Parameter(help="From this time on, such as 2026-11-29T12:00; UTC.")] = None,
    until: Annotated[datetime | None, Parameter(help="Before this time; UTC.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Write captured requests with their answers, outcomes and headers to a file. Needs the role analyst."""
    from sluicegate.flows.rehearsal.captures_file import write_captures

    query = {"build": build.removeprefix("v") if build else None, "since": _micros(since), "until": _micros(until)}
    count = write_captures(_pages(model, query), to)
    emit({"model": model, "captures": count, "file": str(to)}, output, table=f"{count:,} captures of {model} in {to}")


def _pages(model: str, query: dict[str, str | None]) -> Iterator[list[dict[str, Any]]]:
    after: str | None = None
    while True:
        page = call("GET", f"/api/v1/models/{segment(model)}/captures", query=query | {"after": after})
        yield page["captures"]
        after = page["next_after"]
        if after is None:
            return


def _micros(at: datetime | None) -> str | None:
    return None if at is None else str(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6))
