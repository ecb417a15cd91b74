"""Requests written as the data plane writes them, log rotations included, and outcomes; with a record of its own."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import reduce
from operator import add
from pathlib import Path
from typing import IO, Any

from benchmarks.collector_lines import traffic, written
from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Source
from sluicegate.registry.words.metric import LEVELS, Arm, level_name
from sluicegate.registry.words.tally import UnitSums
from sluicegate.services.telemetry.outcomes.intake import record
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tally.histogram import bin_of
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests.contract.telemetry_rig import ANY

ROWS = 24_000
UNITS = 400
ROTATIONS = 6
LABELLED = 10
"""Every tenth request gets an outcome."""
SPEC = RolloutSpec(
    rollout="r1",
    metrics={
        "errors": MetricSpec(source=Source.STATUS),
        "p99": MetricSpec(source=Source.LATENCY, quantile=0.99),
        "drift": MetricSpec(source=Source.PREDICTION, prediction=PredictionField(column="probability")),
        "label": MetricSpec(source=Source.OUTCOME, outcome="label", range=ANY),
    },
    thresholds={"p99": 0.008} | {level_name("drift", level): level for level in LEVELS},
    margins={"p99": (0.5,)},
    by_unit=True,
)


class Written:
    """What was written, as values by metric, arm and unit."""

    def __init__(self) -> None:
        self.durations: dict[Arm, Counter[int]] = {arm: Counter() for arm in Arm}
        """By bin."""
        self.labels = 0
        self._values: dict[tuple[str, Arm], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def take(self, row: Mapping[str, Any], *, is_labelled: bool) -> None:
        """Note a request, and that an outcome of it is sent."""
        arm = Arm.CANDIDATE if row["upstream"] == "2" else Arm.STABLE
        self.durations[arm][bin_of(row["dur_us"])] += 1
        self.labels += is_labelled
        for metric, value in _values(row, is_labelled=is_labelled):
            self._values[metric, arm][row["unit"]].append(value)

    @property
    def sums(self) -> dict[tuple[str, Arm], tuple[int, float]]:
        """How many values there are of each metric in each arm, and their sum."""
        flat = {key: [value for values in units.values() for value in values] for key, units in self._values.items()}
        return {key: (len(values), sum(values)) for key, values in flat.items()}

    @property
    def unit_sums(self) -> dict[tuple[str, Arm], UnitSums]:
        """The same, each unit's values together."""
        return {
            key: reduce(add, (UnitSums.from_unit(sum(values), len(values)) for values in units.values()))
            for key, units in self._values.items()
        }


def _values(row: Mapping[str, Any], *, is_labelled: bool) -> Iterator[tuple[str, float]]:
    yield "errors", float(row["status"] == 500)
    yield "p99", float(row["dur_us"] > 8_000)
    yield "p99>0.5", float(row["dur_us"] > 12_000)
    if row["status"] == 200:
        ((probability,),) = json.loads(row["prediction"])["r"]
        yield "drift", probability
        yield from ((level_name("drift", level), float(probability > level)) for level in LEVELS)
    if is_labelled:
        yield "label", 2.0


class Load:
    """Writes requests, rotates the log and sends outcomes."""

    def __init__(self, log: Path, store: Store) -> None:
        self.log = log
        self.store = store
        self.written = Written()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._thread.join()

    def _run(self) -> None:
        file = self.log.open("a")
        sent: list[OutcomeIn] = []
        for number, row in enumerate(traffic(ROWS, seed=7, rate=20, units=UNITS)):
            is_labelled = number % LABELLED == 0
            self.written.take(row, is_labelled=is_labelled)
            text = written(row)
            cut = number % len(text)
            file.write(text[:cut])
            if number % 97 == 0:
                file.flush()  # a line that is not whole yet
            file.write(text[cut:])
            if is_labelled:
                sent.append(OutcomeIn(prediction_id=str(row["rid"]), name="label", value=2))
            if number % 200 == 0:
                self._send(sent + sent[:3])  # before their lines are flushed, some twice
                sent.clear()
                time.sleep(0.01)
            if number % (ROWS // ROTATIONS) == ROWS // ROTATIONS - 1:
                file = self._rotate(file, number)
        self._send(sent)
        file.close()

    def _send(self, outcomes: list[OutcomeIn]) -> None:
        assert not record(self.store, outcomes, datetime.now(UTC)).refused

    def _rotate(self, file: IO[str], number: int) -> IO[str]:
        """Rename and open again, as the data plane does; what is left of the buffer goes to the renamed file."""
        self.log.rename(self.log.with_name(f"{self.log.stem}.{number:06d}{self.log.suffix}"))
        fresh = self.log.open("a")
        file.close()
        return fresh
