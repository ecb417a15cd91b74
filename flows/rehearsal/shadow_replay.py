"""The offline twin of a shadow: a build answers captured requests, and its answers are compared as a shadow's are.

The model runs in this process, as its service would load it; nothing of what is served is touched.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.flows.rehearsal.captured import Captured, read_captured
from sluicegate.flows.shadow.reading import Around, shadow_view
from sluicegate.registry.report.shadow_view import ShadowView, WorstView
from sluicegate.registry.words.build import BuildRef, service_name
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.outputs import OutputKind, output_kinds
from sluicegate.services.telemetry.pairs.compare import Comparison, compare_pair
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.pairs.sums import PairSums
from sluicegate.services.telemetry.tally.exposure import Exposure

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime

_WORST = 20
_BUCKET = 300
CAPTURED = "captured"
"""Stands for stable's version where captured answers are compared with."""

Answering = Callable[[bytes], tuple[int, str | None]]
"""From a request's body to the status and the prediction summary of the answer."""
Distance = Callable[[Any, Any], float]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What to run."""

    model: str
    source: Path
    build: str = "latest"
    against: str | None = None
    segments: tuple[str, ...] = ()
    show_values: bool = False
    compare: str | None = None
    """A function MODULE:NAME of two values, giving how far apart they are; 0: they agree."""


def replay(runtime: Runtime, asked: Replay) -> ShadowView:
    """Run a build over captured requests. Raises UsageError for lines and functions that cannot be used."""
    candidate = runtime.catalog.resolve(asked.model, asked.build)
    against = runtime.catalog.resolve(asked.model, asked.against) if asked.against is not None else None
    return compare_captured(
        read_captured(_lines(asked.source), str(asked.source)),
        candidate=answering(_folder(runtime, candidate)),
        stable=answering(_folder(runtime, against)) if against is not None else None,
        kinds=output_kinds(runtime.catalog.build(candidate)),
        asked=asked,
        versions=(against.version if against is not None else CAPTURED, candidate.version),
        timer=time.perf_counter,
    )


def _lines(source: Path) -> Iterator[str]:
    try:
        with source.open(encoding="utf-8") as lines:
            yield from lines
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{source} cannot be read: {why}.", fix="name a file of JSON lines: --from FILE") from None


def compare_captured(
    requests: Iterable[Captured], *, candidate: Answering, stable: Answering | None, kinds: dict[str, OutputKind],
    asked: Replay, versions: tuple[str, str], timer: Callable[[], float],
) -> ShadowView:  # fmt: skip
    """Compare a build's answers with another's, or with the captured ones."""
    sums, worst, distance = PairSums(), list[WorstView](), _function(asked.compare)
    for request in requests:
        served = _captured_half(request) if stable is None else _half(request, stable, versions[0], timer)
        copied = _half(request, candidate, versions[1], timer)
        pair = Pair(served=served, copied=copied)
        found = compare_pair(served, copied, kinds)
        if isinstance(found, Comparison) and distance is not None:
            found = _measured(found, distance)
        sums.count("copies", _ended(copied))
        sums.take(pair, found, tuple(f"{name}={request.headers.get(name) or '(none)'}" for name in asked.segments))
        if isinstance(found, Comparison) and found.differs():
            worst = _worst([*worst, _shown(request, found, asked)])
    around = Around(
        rollout=str(asked.source.name), model=asked.model, stable=versions[0], candidate=versions[1], sample=100.0,
        worst=tuple(worst),
    )  # fmt: skip
    return shadow_view(sums.tallies(), around)


def answering(folder: Path) -> Answering:
    """What answers as the service of a model in this folder would. Importing its libraries takes seconds."""
    from sluicegate.services.bento.predictor.answer import summary
    from sluicegate.services.bento.predictor.model import load
    from sluicegate.services.bento.predictor.problem import Unacceptable

    model = load(folder)

    def answer(body: bytes) -> tuple[int, str | None]:
        try:
            prediction, broken = model.judged(body)
        except Unacceptable as refused:
            return refused.status, None
        except Exception:  # noqa: BLE001
            return 500, None
        return 200, summary(prediction, broken)

    return answer


def _folder(runtime: Runtime, ref: BuildRef) -> Path:
    return runtime.catalog.fetch(ref, runtime.builds_folder / service_name(ref))


def _half(request: Captured, answer: Answering, version: str, timer: Callable[[], float]) -> Exposure:
    began = timer()
    status, prediction = answer(request.body)
    return _exposure(request, version, status, round((timer() - began) * 1e6), prediction)


def _captured_half(request: Captured) -> Exposure:
    from sluicegate.services.bento.predictor.answer import summary

    if request.answer is None:
        raise UsageError(
            f"request {request.rid} has no captured answer to compare with.",
            fix="name a build that answers: --against 3",
        )
    return _exposure(request, CAPTURED, 200, None, summary(request.answer))


def _exposure(request: Captured, version: str, status: int, duration: int | None, prediction: str | None) -> Exposure:
    seconds = request.at // 1_000_000
    return Exposure(
        rid=request.rid, at=request.at, model="", variation="default", audience=None, rollout=None, epoch=0,
        bucket=seconds - seconds % _BUCKET, weight=0, arm=Arm.STABLE, assigned=version, served=version, unit=None,
        status=status, failed=int(status >= 500), duration=duration, attempts=1, prediction=prediction,
    )  # fmt: skip


def _ended(copied: Exposure) -> str:
    return "error" if copied.failed else "refused" if copied.status >= 400 else "answered"


def _function(name: str | None) -> Distance | None:
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    try:
        found: Distance = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--compare {name}: {error}.", fix="write MODULE:NAME of a function of two values") from None
    return found


def _measured(found: Comparison, distance: Distance) -> Comparison:
    """The comparison as a given function measures it; labels stay what they are to their confusion table."""
    cells = tuple(replace(cell, distance=float(distance(cell.served, cell.copied))) for cell in found.cells)
    return replace(found, cells=cells)


def _worst(found: list[WorstView]) -> list[WorstView]:
    return sorted(found, key=lambda each: (-each.distance, each.request))[:_WORST]


def _shown(request: Captured, found: Comparison, asked: Replay) -> WorstView:
    cells = tuple(
        {"column": cell.column, "row": cell.row, "distance": cell.distance}
        | ({"served": cell.served, "copied": cell.copied} if asked.show_values else {})
        for cell in found.cells
        if cell.distance
    )
    return WorstView(
        request=request.rid, at=datetime.fromtimestamp(request.at / 1e6, UTC), distance=found.distance,
        segments=tuple(f"{name}={request.headers.get(name) or '(none)'}" for name in asked.segments),
        schema=found.schema, cells=cells[:8],
    )  # fmt: skip
