"""Logs: what the keeper, the drivers and the candidate's service logged about a rollout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import replica_name
from sluicegate.registry.words.errors import NotFound

READ_BYTES = 4 << 20
"""How many bytes to read from the end of a log file."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A log line and the program that wrote it."""

    source: str
    text: str


def rollout_lines(rollout: Rollout, root: Path, prefect: httpx.Client | None, most: int) -> Iterator[Line]:
    """The newest lines of each source, at most `most`, in the order they were written."""
    mine = [text for text in tail(root / "logs" / "keeper.log") if rollout.id in text]
    yield from (Line(source="keeper", text=text) for text in mine[-most:])
    if prefect is not None:
        yield from driver_lines(rollout, prefect, most)
    for number in range(1, rollout.serve.replicas + 1):
        service = replica_name(rollout.candidate, number)
        texts = list(tail(root / "services" / "logs" / f"{service}.log"))
        yield from (Line(source=service, text=text) for text in texts[-most:])


def file_lines(root: Path, name: str, most: int) -> Iterator[Line]:
    """The newest lines of a program or a service. Raises NotFound, naming the logs that exist."""
    logs = files(root)
    if name not in logs:
        raise NotFound(
            f"there is no rollout, model or program called {name!r}.",
            fix=f"logs exist for {', '.join(logs) or 'nothing'}.",
        )
    yield from (Line(source=name, text=text) for text in list(tail(logs[name]))[-most:])


def files(root: Path) -> dict[str, Path]:
    """Every log file of this installation, by name."""
    paths = [*(root / "logs").glob("*.log"), *(root / "services" / "logs").glob("*.log")]
    return {path.stem: path for path in sorted(paths)}


def tail(path: Path) -> Iterator[str]:
    """The lines at the end of a file; none if there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - READ_BYTES, 0))
            yield from file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return


def driver_lines(rollout: Rollout, prefect: httpx.Client, most: int) -> Iterator[Line]:
    """What the rollout's flow runs logged. If Prefect does not answer, one line says so."""
    try:
        runs = _ask(
            prefect, "/flow_runs/filter", {"flow_runs": {"tags": {"all_": [rollout.id]}}, "sort": "START_TIME_ASC"}
        )
        names = {run["id"]: run["name"] for run in runs}
        wanted = {"logs": {"flow_run_id": {"any_": list(names)}}, "sort": "TIMESTAMP_DESC", "limit": most}
        entries = _ask(prefect, "/logs/filter", wanted) if names else []
    except httpx.HTTPError as error:
        yield Line(source="driver", text=f"(Prefect does not answer: {type(error).__name__})")
        return
    for each in reversed(entries):
        text = f"{each['timestamp'][:19]} {names.get(each['flow_run_id'], '')}: {each['message']}"
        yield Line(source="driver", text=text)


def _ask(prefect: httpx.Client, path: str, body: object) -> Sequence[dict[str, Any]]:
    answer: Sequence[dict[str, Any]] = prefect.post(path, json=body).raise_for_status().json()
    return answer
