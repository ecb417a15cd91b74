"""Stage times: how long a service's requests spend in each stage, from the files in which its workers count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from sluicegate.registry.words.build import BuildRef
from sluicegate.services.bento.predictor.times import NAME, STAGES


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """The answered requests of one service by their time in one stage, since the service was started."""

    build: BuildRef
    stage: str
    buckets: tuple[tuple[str, float], ...]
    """Cumulative counts by upper bound in seconds, as Prometheus writes them."""
    seconds: float

    @property
    def requests(self) -> float:
        return self.buckets[-1][1]


def read_stage_times(build: BuildRef, folders: Iterable[Path]) -> tuple[StageTimes, ...]:
    """The counts of a service's workers. Empty if they have not counted yet, or are gone.

    Also empty if the model, which may use the folder too, left a file there that cannot be read.
    """
    files = [str(path) for folder in folders for path in folder.glob("histogram_*.db")]
    try:
        families = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError):
        return ()
    buckets: dict[str, list[tuple[str, float]]] = defaultdict(list)
    sums: dict[str, float] = {}
    for sample in (sample for family in families if family.name == NAME for sample in family.samples):
        if sample.name == f"{NAME}_bucket":
            buckets[sample.labels["stage"]].append((sample.labels["le"], sample.value))
        elif sample.name == f"{NAME}_sum":
            sums[sample.labels["stage"]] = sample.value
    return tuple(
        StageTimes(build=build, stage=stage, buckets=tuple(buckets[stage]), seconds=sums[stage])
        for stage in STAGES
        if stage in sums
    )


def stage_family(times: Iterable[StageTimes]) -> Metric:
    """The stage times as a Prometheus metric."""
    meaning = (
        "Where the time of answered requests goes inside a service: "
        + "; ".join(f"{stage}: {what}" for stage, what in STAGES.items())
        + "."
    )
    family = HistogramMetricFamily("sluice_service_seconds", meaning, labels=["model", "build", "stage"])
    for each in times:
        family.add_metric([each.build.model, each.build.version, each.stage], each.buckets, each.seconds)
    return family
