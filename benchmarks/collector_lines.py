"""Access log lines as the data plane writes them, for benchmarks and tests of the collector."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from sluicegate.registry.words.access_log import COMMON, FORMAT_VERSION, OWN, Assigned, Place, UnitSource
from sluicegate.registry.words.metric import Arm

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
START_US = int(START.timestamp() * 1e6)
PLACE = Place(model="delays", audience="everyone", unit_source=UnitSource.HEADER).mark


def assigned(arm: str = "stable", *, rollout: str | None = "r1", epoch: int = 1, weight: int = 1_000) -> str:
    """The header of an assignment to build 1 (stable) or 2 (candidate)."""
    build = "2" if arm == "candidate" else "1"
    return Assigned(
        variation="default", arm=Arm(arm), build=build, rollout=rollout, epoch=epoch, weight=weight
    ).header  # fmt: skip


def row(rid: str, **changes: object) -> dict[str, object]:
    """The fields of a line: a request of 8 ms that stable answered; `changes` replace fields by name.

    `segments` stands for the values of all four.
    """
    fields: dict[str, object] = dict.fromkeys((*OWN, *COMMON)) | {
        "ts": str(START_US), "rid": rid, "unit": "user-1", "dur_us": 8_000, "bytes_in": 240, "bytes_out": 130,
        "prediction": '{"c":["probability"],"r":[[0.25]]}',
        "listener": "live", "method": "POST", "path": "/delays/predict", "route": PLACE, "assigned": assigned(),
        "upstream": "1", "host": "127.0.0.1:3001", "status": 200, "flags": "-", "details": "via_upstream",
        "attempts": 1,
    }  # fmt: skip
    segments = changes.pop("segments", None) or ()
    named = {f"segment{position}": value for position, value in enumerate(segments)}  # type: ignore[arg-type,var-annotated]
    return fields | named | changes


def written(fields: Mapping[str, object]) -> str:
    """The line of these fields, with its newline."""
    halves = [[fields[name] for name in names] for names in (OWN, COMMON)]
    return json.dumps({str(FORMAT_VERSION): halves}, separators=(",", ":")) + "\n"


def line(rid: str, **changes: object) -> str:
    """A line with its newline."""
    return written(row(rid, **changes))


def traffic(
    rows: int, *, seed: int = 1, weight: int = 1_000, rate: int = 2_000, units: int = 100_000
) -> Iterator[dict[str, object]]:
    """Requests of a canary, `rate` a second, half a per cent of them failing; each unit keeps its arm."""
    rng = random.Random(seed)
    headers = {arm.value: assigned(arm.value, weight=weight) for arm in Arm}
    for index in range(rows):
        unit = rng.randrange(units)
        arm = "candidate" if unit * 10_000 < weight * units else "stable"
        yield row(
            str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            ts=str(START_US + index * 1_000_000 // rate),
            assigned=headers[arm],
            upstream="2" if arm == "candidate" else "1",
            unit=f"user-{unit}",
            status=200 if rng.random() > 0.005 else 500,
            dur_us=int(rng.lognormvariate(8.5, 0.6)),
            prediction=f'{{"c":["probability"],"r":[[{rng.random():.6f}]]}}',
        )
