"""How many rows a second the collector takes in on one core, and how long a reader needs for the tallies after.

    python -m benchmarks.collector [--rows N] [--rounds N] [--rich] [--url URL --only plain|by-unit]

Writes an access log as the data plane does (one model, a canary at 10 %, status, p99 at two margins and a label), then
collects it in one process: plain, and with sums by unit of 100,000 units that return, in turns. Compared with the peak
of the gateway as `benchmarks.gateway` measured it last. Writes benchmarks/results/collector.json and .md.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from benchmarks.collector_lines import START, traffic, written
from benchmarks.results import FOLDER, Figure, report
from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Source, thresholds_of
from sluicegate.registry.words.access_log import parse
from sluicegate.registry.words.metric import LEVELS
from sluicegate.services.telemetry.outcomes.intake import record
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.schema import exposures, kinds, lookups, segment_kinds, segments
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec

VARIANTS = ("plain", "by-unit")
LEAST = {("plain", False): 80_000.0, ("by-unit", True): 40_000.0}
"""Rows a second of processor time; True: with drift and contract."""
SPEC = RolloutSpec(
    rollout="r1",
    metrics={
        "errors": MetricSpec(source=Source.STATUS),
        "p99": MetricSpec(source=Source.LATENCY, quantile=0.99),
        "brier": MetricSpec(source=Source.OUTCOME, outcome="late", range=(-9e15, 9e15)),
    },
    thresholds={"p99": 0.02},
    margins={"p99": (0.2, 1.0)},
)


def write_log(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.writelines(written(row) for row in traffic(rows))


RICH = {
    "drift": MetricSpec(source=Source.PREDICTION, prediction=PredictionField(column="probability")),
    "contract": MetricSpec(source=Source.CONTRACT),
}
"""What costs more: it looks at each answer."""


def spec(*, by_unit: bool, rich: bool) -> RolloutSpec:
    """The rollout to collect for."""
    if not rich:
        return replace(SPEC, by_unit=by_unit)
    levels = thresholds_of("drift", RICH["drift"])
    frozen = SPEC.thresholds | dict(zip(levels, LEVELS, strict=True))
    return replace(SPEC, by_unit=by_unit, metrics=SPEC.metrics | RICH, thresholds=frozen)


@dataclass
class Collected:
    """What the rounds of one variant measured, as rows or milliseconds."""

    of_wall: list[float] = field(default_factory=list)
    of_processor: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)
    scored: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)

    def figures(self, name: str, *, is_rich: bool) -> list[Figure]:
        """Medians."""
        rate, reading = statistics.median(self.of_processor), statistics.median(self.reading)
        found = [
            Figure(name=f"{name}: rows a second", value=statistics.median(self.of_wall)),
            Figure(name=f"{name}: rows a second of processor time", value=rate, at_least=LEAST.get((name, is_rich))),
            Figure(name=f"{name}: outcomes recorded a second", value=statistics.median(self.recorded)),
            Figure(name=f"{name}: outcomes scored a second", value=statistics.median(self.scored)),
            Figure(name=f"{name}: reading a rollout's tallies", value=reading, unit="ms", at_most=20),
        ]
        if self.kept:
            size = statistics.median(self.kept)
            found.append(Figure(name=f"{name}: requests on disk, for each", value=size, unit="B", at_most=100))
        peak = gateway_peak()
        ratio = f"{name}: rows a second of processor time / peak of the gateway"
        return found if peak is None else [*found, Figure(name=ratio, value=rate / peak, at_least=5)]


def gateway_peak(results: Path = FOLDER) -> float | None:
    """Requests a second of the gateway, or those that its processor time allows on one core, whichever are more.

    The second does not suffer from what else ran when it was measured. None where nobody measured it yet.
    """
    try:
        rows = json.loads((results / "gateway-cost.json").read_text())["figures"]
    except FileNotFoundError:
        return None
    found = {row["name"]: row["value"] for row in rows}
    return max(found["gateway: requests a second"], 1e6 / found["gateway: processor time a request"])


def measure(url: str, log: Path, rows: int, asked: RolloutSpec, into: Collected) -> None:
    """Collect the log, score labels and read the tallies, once."""
    store = Store(url, durable=False)
    end = START + timedelta(seconds=rows / 2_000 + 60)
    collector = Collector(store, log, lambda _: asked, lambda: end)
    began, cpu = time.perf_counter(), time.process_time()
    while collector.collect():
        pass
    into.of_wall.append(rows / (time.perf_counter() - began))
    into.of_processor.append(rows / (time.process_time() - cpu))
    if store.is_sqlite:
        into.kept.append(_kept(store) / rows)
    queries = Queries(store, lambda: end)
    seen = queries.requests_by_arm("r1")
    assert seen.stable.requests + seen.candidate.requests == rows, "a row was lost or counted twice"
    labels = [OutcomeIn(prediction_id=parse(line).request_id, name="late", value=1)
              for line in log.read_text().splitlines()[: min(rows, 20_000)]]  # fmt: skip
    joined = time.perf_counter()
    record(store, labels, end)
    recorded = time.perf_counter()
    while queries.coverage("r1", "brier").labelled < len(labels):
        collector.collect()
    scored = time.perf_counter()
    for _ in range(20):
        queries.tallies("r1")
    into.recorded.append(len(labels) / (recorded - joined))
    into.scored.append(len(labels) / (scored - recorded))
    into.reading.append((time.perf_counter() - scored) / 20 * 1e3)
    store.close()


def _kept(store: Store) -> int:
    """Bytes of the kept requests and of what finds them, whole pages counted."""
    names = ", ".join(f"'{table.name}'" for table in (exposures, kinds, segments, segment_kinds, lookups))
    with store.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT sum(pgsize) FROM dbstat WHERE name IN ({names})").scalar() or 0)


def run(folder: Path, chosen: argparse.Namespace) -> list[Figure]:
    """Every variant, in turns."""
    log = folder / "access.json"
    write_log(log, chosen.rows)
    variants = {name: Collected() for name in VARIANTS if chosen.only in (None, name)}
    for turn in range(chosen.rounds):
        for name, into in variants.items():
            url = chosen.url or f"sqlite:///{folder}/{name}-{turn}.db"
            measure(url, log, chosen.rows, spec(by_unit=name == "by-unit", rich=chosen.rich), into)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure(name="rows collected", value=chosen.rows),
        *(figure for name, into in variants.items() for figure in into.figures(name, is_rich=chosen.rich)),
        Figure(name="most memory", value=memory, unit="MB"),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--url", help="an empty database, for one round; by default new SQLite files")
    options.add_argument("--only", choices=VARIANTS)
    options.add_argument("--rich", action="store_true", help="drift and contract besides")
    chosen = options.parse_args()
    if chosen.url and (chosen.only is None or chosen.rounds != 1):
        options.error("--url is one database for one measurement: say --only and --rounds 1 too")
    name = "collector-rich" if chosen.rich else "collector"
    with tempfile.TemporaryDirectory() as folder:
        print(report(name, "What the collector takes in", lambda: run(Path(folder), chosen)))


if __name__ == "__main__":
    main()
