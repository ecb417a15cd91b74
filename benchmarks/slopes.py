"""How costs grow: each at 1, 10 and 100 times of history, models, audiences and units, in processor time, and drawn.

    python -m benchmarks.slopes [--rounds N]

A slope is the exponent: 0 where a cost stays as it is, 1 where ten times as much costs ten times as much. Ledgers are
filled through the product's own functions. Writes benchmarks/results/slopes.json, .md and .svg.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.collector import spec as collected
from benchmarks.collector_lines import START as FIRST_LINE
from benchmarks.collector_lines import traffic, written
from benchmarks.history import ask, fill, order, spent
from benchmarks.results import FOLDER, Figure, report
from sluicegate.flows.gate.judge import next_look, rows_read
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.orders.connections_record import all_connections
from sluicegate.registry.rollout.standing import standings
from sluicegate.services.keeper.fleet_pass import needs, routed_builds
from sluicegate.services.telemetry.reading.queries import Queries
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.routes import route_configuration
from sluicegate.services.traffic.routes import routes
from tests.plans import plan_from_values
from tests.unit.console_office import BEARER, MemoryDesk, Office

TIMES = (1, 10, 100)
STAYS, GROWS = 0.15, 1.15
"""Slopes that are allowed: what is over costs nothing, and what there is no more than its share."""
ROWS = 40_000
"""Requests that the collector takes in, of however many units."""
GATED = plan_from_values(
    {
        "kind": "plan", "model": "delays", "unit": "x-user-id", "steps": [{"weight": 10}],
        "metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "margin": "30%"}],
        "expect": {"requests_per_day": 20_000},
    },
    where="the benchmark",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What there is more and more of."""

    name: str
    models: int = 10
    ended: int = 0
    audiences: int = 0
    grows: frozenset[str] = frozenset()
    """Costs that may grow with it: they are about all of them."""


AXES = (
    Axis(name="ended rollouts", ended=100),
    Axis(name="models", grows=frozenset({"keeper's look", "route table", "documents"})),
    Axis(name="audiences", audiences=5, grows=frozenset({"keeper's look", "route table", "documents", "an order"})),
)


def of(axis: Axis, times: int) -> Axis:
    """So many times as much of it."""
    many = {"models": axis.models, "ended": axis.ended, "audiences": axis.audiences}
    which = {"ended rollouts": "ended"}.get(axis.name, axis.name)
    return Axis(name=axis.name, grows=axis.grows, **{**many, which: many[which] * times})


class World:
    """A ledger with so many of everything, and a console over it."""

    def __init__(self, folder: Path, size: Axis) -> None:
        self.ledger = SqlLedger(f"sqlite:///{folder}/{size.name}-{size.models}-{size.ended}-{size.audiences}.db")
        fill(self.ledger, size.models, size.ended)
        self._office = Office(MemoryDesk(ledger=self.ledger))
        self._number = 0
        for number in range(size.audiences):
            self._apply(kind="audience", name=f"audience-{number}", when={"x-state": f"S{number}"})
        if size.audiences:
            sent = [{"audience": f"audience-{each}", "weights": {"default": 1}} for each in range(size.audiences)]
            self._apply(kind="connections", model="model-0", audiences=sent)

    def _apply(self, **values: object) -> None:
        answer = self._office.client.post("/api/v1/documents", json={"values": values}, headers=BEARER)
        answer.raise_for_status()

    def costs(self) -> dict[str, Callable[[], object]]:
        """What is done, by name."""
        return {
            "keeper's look": self._look,
            "route table": self._compile,
            "an order": self._order,
            "first page": lambda: ask(self._office, "/"),
            "documents": lambda: ask(self._office, "/api/v1/documents"),
        }

    def _order(self) -> None:
        self._number += 1
        order(self.ledger, "model-1", self._number)

    def _look(self) -> object:
        current = self.ledger.current()
        there = standings(current)
        needs(current, there)
        return routes(there, routed_builds(there), all_connections(self.ledger))

    def _compile(self) -> None:
        route_configuration(self._look(), Limits())  # type: ignore[arg-type]


def looks_of_units(folder: Path, units: int) -> dict[str, Callable[[], object]]:
    """What a gate's look costs, and what the collector spends on a row, where so many units return."""
    log = folder / f"units-{units}.log"
    with log.open("w") as file:
        file.writelines(written(row) for row in traffic(ROWS, units=units))
    store = Store(f"sqlite:///{folder}/units-{units}.db", durable=False)
    end = FIRST_LINE + timedelta(seconds=ROWS / 2_000 + 60)
    collector = Collector(store, log, lambda _: collected(by_unit=True, rich=False), lambda: end)

    def collect() -> None:
        while collector.collect():
            pass

    def look() -> None:
        watermark, rows = Queries(store, lambda: end).tallies("r1")
        gate = GATED.gates[0]
        next_look(
            rollout="r1", plan=GATED, gate=gate, guardrail=False, step=0, looks=(),
            rows=rows_read(GATED, gate, rows), watermark=watermark, at=end,
        )  # fmt: skip

    return {"taking rows in": collect, "a gate's look": look}


Costs = Mapping[str, Mapping[str, list[float]]]
"""By axis, by cost: milliseconds at 1, 10 and 100 times as much."""


def measure(folder: Path, rounds: int) -> Costs:
    """Medians, the sizes of one axis in turns."""
    found: dict[str, dict[str, list[float]]] = {}
    for axis in AXES:
        acts = [World(folder, of(axis, times)).costs() for times in TIMES]
        found[axis.name] = _in_turns(acts, rounds)
    units = [looks_of_units(folder, 1_000 * times) for times in TIMES]
    took = _in_turns([{"taking rows in": each["taking rows in"]} for each in units], 1)
    found["units"] = took | _in_turns([{"a gate's look": each["a gate's look"]} for each in units], rounds)
    return found


def _in_turns(acts: list[dict[str, Callable[[], object]]], rounds: int) -> dict[str, list[float]]:
    took: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in acts])
    for turn in range(rounds + (rounds > 1)):
        for size, costs in enumerate(acts):
            for name, act in costs.items():
                milliseconds = spent(act)
                if turn or rounds == 1:  # the first time everything is read that is kept later
                    took[name][size].append(milliseconds)
    return {name: [statistics.median(each) for each in sizes] for name, sizes in took.items()}


def figures(costs: Costs) -> Iterator[Figure]:
    """Each cost, and its slope."""
    may_grow = {axis.name: axis.grows for axis in AXES}
    for axis, by_cost in costs.items():
        for name, sizes in by_cost.items():
            for times, milliseconds in zip(TIMES, sizes, strict=True):
                yield Figure(name=f"{axis} x{times}: {name}", value=milliseconds, unit="ms")
            slope = math.log(sizes[-1] / sizes[0]) / math.log(TIMES[-1] / TIMES[0])
            yield Figure(
                name=f"{axis}: slope of {name}", value=slope, at_most=GROWS if name in may_grow.get(axis, ()) else STAYS
            )


WIDTH, HEIGHT, MARGIN = 300, 220, 46
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b")


def drawing(costs: Costs) -> str:
    """Every axis as a plot with a line for each cost; both scales are logarithmic."""
    names = list(dict.fromkeys(name for by_cost in costs.values() for name in by_cost))
    plots = [_plot(axis, by_cost, names, 20 + WIDTH * place) for place, (axis, by_cost) in enumerate(costs.items())]
    key = [
        f'<text x="{30 + 170 * place}" y="{HEIGHT + 34}" fill="{COLOURS[place % 5]}">{name}</text>'
        for place, name in enumerate(names)
    ]
    size = f'width="{40 + WIDTH * len(costs)}" height="{HEIGHT + 50}"'
    style = 'font-family="sans-serif" font-size="12"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', *plots, *key, "</svg>", ""])


def _plot(axis: str, by_cost: Mapping[str, list[float]], names: list[str], left: float) -> str:
    low = math.floor(min(math.log10(each) for sizes in by_cost.values() for each in sizes))
    high = math.ceil(max(math.log10(each) for sizes in by_cost.values() for each in sizes) + 1e-9)

    def at(place: int, milliseconds: float) -> str:
        across = left + MARGIN + place * (WIDTH - MARGIN - 30) / (len(TIMES) - 1)
        up = HEIGHT - 30 - (math.log10(milliseconds) - low) / (high - low or 1) * (HEIGHT - 60)
        return f"{across:.1f},{up:.1f}"

    parts = [f'<text x="{left + MARGIN}" y="16" font-weight="bold">{axis}, ms</text>']
    for power in range(low, high + 1):
        x, y = at(0, 10.0**power).split(",")
        parts.append(f'<text x="{float(x) - 8}" y="{y}" text-anchor="end">{10.0**power:g}</text>')
        parts.append(f'<path d="M{x} {y}H{left + WIDTH - 30}" stroke="#ddd"/>')
    for place, times in enumerate(TIMES):
        x, _ = at(place, 10.0**low).split(",")
        parts.append(f'<text x="{x}" y="{HEIGHT - 10}" text-anchor="middle">x{times}</text>')
    for name, sizes in by_cost.items():
        points = " ".join(at(place, each) for place, each in enumerate(sizes))
        colour = COLOURS[names.index(name) % 5]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "\n".join(parts)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()
    found: list[Costs] = []

    def run() -> list[Figure]:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(Path(folder), chosen.rounds))
        return list(figures(found[0]))

    print(report("slopes", "How costs grow", run))
    (FOLDER / "slopes.svg").write_text(drawing(found[0]))
    with (FOLDER / "slopes.md").open("a") as page:
        page.write("\n![Each cost at 1, 10 and 100 times as much](slopes.svg)\n")


if __name__ == "__main__":
    main()
