"""How many rows a second the collector takes in on one core, and how long a reader needs for the tallies after.

    python -m benchmarks.collector [--rows N] [--url URL] [--by-unit] [--rich] [--json]

Writes an access log as the data plane does (one model, a canary at 10 %, status, p99 at two margins and a label), then
collects it in one process. Writes benchmarks/results/collector.json and .md; compare rows with the gateway's peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from benchmarks.collector_lines import START, traffic
from benchmarks.results import Figure, report
from registry.metric import LEVELS
from registry.plan import MetricSpec, PredictionField, Source, thresholds_of
from services.telemetry.collector import Collector
from services.telemetry.outcomes import OutcomeIn, record
from services.telemetry.queries import Queries
from services.telemetry.spec import RolloutSpec
from services.telemetry.store import Store

SPEC = RolloutSpec(
    rollout="r1",
    metrics={
        "errors": MetricSpec(source=Source.STATUS),
        "p99": MetricSpec(source=Source.LATENCY, quantile=0.99),
        "brier": MetricSpec(source=Source.OUTCOME, outcome="late"),
    },
    thresholds={"p99": 0.02},
    margins={"p99": (0.2, 1.0)},
)


def write_log(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in traffic(rows))


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


def measure(url: str, log: Path, rows: int, asked: RolloutSpec = SPEC) -> list[Figure]:
    """Collect the log and read the tallies."""
    store = Store(url, durable=False)
    end = START + timedelta(seconds=rows / 2_000 + 60)
    collector = Collector(store, log, lambda _: asked, lambda: end)
    began, cpu = time.perf_counter(), time.process_time()
    while collector.collect():
        pass
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    queries = Queries(store, lambda: end)
    seen = queries.seen("r1")
    assert seen.stable.requests + seen.candidate.requests == rows, "a row was lost or counted twice"
    labels = [OutcomeIn(prediction_id=json.loads(line)["rid"], name="late", value=1)
              for line in log.read_text().splitlines()[: min(rows, 20_000)]]  # fmt: skip
    joined = time.perf_counter()
    record(store, labels, end)
    recorded = time.perf_counter()
    while queries.coverage("r1", "brier").labelled < len(labels):
        collector.collect()
    scored = time.perf_counter()
    for _ in range(20):
        queries.tallies("r1")
    read = time.perf_counter()
    store.close()
    return [
        Figure(name="rows collected", value=rows),
        Figure(name="rows a second", value=rows / wall),
        Figure(name="rows a second of processor time", value=rows / cpu),
        Figure(name="outcomes recorded a second", value=len(labels) / (recorded - joined)),
        Figure(name="outcomes scored a second", value=len(labels) / (scored - recorded)),
        Figure(name="reading a rollout's tallies", value=(read - scored) / 20 * 1e3, unit="ms", at_most=20),
        Figure(name="most memory", value=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, unit="MB"),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--url", help="database; by default a new SQLite file")
    options.add_argument("--by-unit", action="store_true", help="100,000 units that return")
    options.add_argument("--rich", action="store_true", help="drift and contract besides")
    chosen = options.parse_args()
    asked = spec(by_unit=chosen.by_unit, rich=chosen.rich)
    name = "-".join(("collector", *(("by-unit",) if chosen.by_unit else ()), *(("rich",) if chosen.rich else ())))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "access.json"
        write_log(log, chosen.rows)
        url = chosen.url or f"sqlite:///{folder}/telemetry.db"
        print(report(name, "What the collector takes in", lambda: measure(url, log, chosen.rows, asked)))


if __name__ == "__main__":
    main()
