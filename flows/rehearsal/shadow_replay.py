"""The offline twin of a shadow: a build answers captured requests, and its answers are compared as a shadow's are.

The model runs in this process, loaded as its service would load it; nothing that serves is touched.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluicegate.flows.rehearsal.captured import Captured
from sluicegate.flows.rehearsal.captures_file import read_captures
from sluicegate.flows.shadow.reading import ShadowContext, shadow_view
from sluicegate.registry.catalog.port import Catalog
from sluicegate.registry.report.shadow_view import ShadowView, WorstView
from sluicegate.registry.words.build import BuildRef, service_name
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.metric import Arm
from sluicegate.registry.words.outputs import OutputKind, output_kinds
from sluicegate.services.telemetry.pairs.comparison import Comparison, compare_pair
from sluicegate.services.telemetry.pairs.pair import Pair
from sluicegate.services.telemetry.pairs.sums import PairSums
from sluicegate.services.telemetry.tally.exposure import Exposure

_WORST = 20
_BUCKET = 300
CAPTURED = "captured"
"""Stands for stable's version if the candidate is compared with captured answers."""

Answering = Callable[[bytes], tuple[int, str | None]]
"""From a request's body to the status and the prediction summary of the answer."""
Distance = Callable[[Any, Any], float]


@dataclass(frozen=True, kw_only=True)
class ReplayRequest:
    """What to run."""

    model: str
    requests_file: Path
    build: str = "latest"
    against: str | None = None
    slices: tuple[str, ...] = ()
    show_values: bool = False
    compare: str | None = None
    """A function MODULE:NAME of two values, giving how far apart they are; 0: they agree."""


def replay(request: ReplayRequest, catalog: Catalog, builds_folder: Path) -> ShadowView:
    """Run a build over captured requests. Raises UsageError for lines and functions that cannot be used."""
    candidate = catalog.resolve(request.model, request.build)
    against = catalog.resolve(request.model, request.against) if request.against is not None else None

    def fetched(ref: BuildRef) -> Answering:
        return answering(catalog.fetch(ref, builds_folder / service_name(ref)))

    return compare_captured(
        read_captures(request.requests_file),
        candidate=fetched(candidate),
        stable=fetched(against) if against is not None else None,
        kinds=output_kinds(catalog.build(candidate)),
        request=request,
        versions=(against.version if against is not None else CAPTURED, candidate.version),
        timer=time.perf_counter,
    )


def compare_captured(
    captured: Iterable[Captured], *, candidate: Answering, stable: Answering | None, kinds: dict[str, OutputKind],
    request: ReplayRequest, versions: tuple[str, str], timer: Callable[[], float],
) -> ShadowView:  # fmt: skip
    """Compare a build's answers with another's, or with the captured ones."""
    sums, worst, distance = PairSums(), list[WorstView](), _function(request.compare)
    for each in captured:
        copied = answered(each, candidate, versions[1], timer)
        served = _captured_half(each) if stable is None else answered(each, stable, versions[0], timer)
        result = compare_pair(served, copied, kinds)
        if isinstance(result, Comparison) and distance is not None:
            result = _measured(result, distance)
        sums.count("copies", _ended(copied))
        sums.take(Pair(served=served, copied=copied), result, _slices(each, request))
        if isinstance(result, Comparison) and result.differs():
            worst = _worst([*worst, _shown(each, result, request)])
    context = ShadowContext(
        rollout=request.requests_file.name, model=request.model, stable=versions[0], candidate=versions[1],
        sample=100.0, worst=tuple(worst),
    )  # fmt: skip
    return shadow_view(sums.tallies(), context)


def _slices(captured: Captured, request: ReplayRequest) -> tuple[str, ...]:
    return tuple(f"{name}={captured.headers.get(name) or '(none)'}" for name in request.slices)


def answering(folder: Path) -> Answering:
    """A function that answers as the service of the model in this folder would. Importing its libraries takes
    seconds."""
    from sluicegate.services.bento.predictor.answer import summary
    from sluicegate.services.bento.predictor.model import load
    from sluicegate.services.bento.predictor.problem import Unacceptable

    model = load(folder)

    def answer(body: bytes) -> tuple[int, str | None]:
        try:
            prediction, requested, broken = model.judged(body)
        except Unacceptable as refused:
            return refused.status, None
        except (Exception, SystemExit):  # noqa: BLE001
            return 500, None
        return 200, summary(prediction, broken, requested, whole=True)

    return answer


def answered(request: Captured, answer: Answering, version: str, timer: Callable[[], float]) -> Exposure:
    """A build's answer to a request, as its log would record it."""
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
    return _exposure(request, CAPTURED, 200, None, summary(request.answer, whole=True))


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
        distance: Distance = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--compare {name}: {error}.", fix="write MODULE:NAME of a function of two values") from None
    return distance


def _measured(comparison: Comparison, distance: Distance) -> Comparison:
    """The comparison, with distances measured by a given function; labels keep their place in the confusion table."""
    cells = tuple(replace(cell, distance=float(distance(cell.served, cell.copied))) for cell in comparison.cells)
    return replace(comparison, cells=cells)


def _worst(views: list[WorstView]) -> list[WorstView]:
    return sorted(views, key=lambda view: (-view.distance, view.request))[:_WORST]


def _shown(captured: Captured, comparison: Comparison, request: ReplayRequest) -> WorstView:
    cells = tuple(
        {"column": cell.column, "row": cell.row, "distance": cell.distance}
        | ({"served": cell.served, "copied": cell.copied} if request.show_values else {})
        for cell in comparison.cells
        if cell.distance
    )
    return WorstView(
        request=captured.rid, at=datetime.fromtimestamp(captured.at / 1e6, UTC), distance=comparison.distance,
        slices=_slices(captured, request), schema=comparison.schema, cells=cells[:8],
    )  # fmt: skip
