"""What the gateway costs, how fast a change of weight is, and what callers notice of a shadow.

    python -m benchmarks.gateway [cost|latency|changes|gateways|joined|shadow …] [--rounds N] [--requests N]
                                [--changes N]

Writes benchmarks/results/gateway-*.json and .md. Compare ratios, which are of one run.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog

from benchmarks.gateway import changes, cost, latency, shadow
from benchmarks.gateway.joined import HOST, joined
from benchmarks.results import Figure, report
from sluicegate.registry.words.build import Endpoints
from tests.integration.namespaces import hosts
from tests.integration.traffic_load import constant_services
from tests.integration.traffic_rig import build, gateway

TITLES = {
    "cost": "What a request costs in the gateway",
    "latency": "What the gateway adds to a call of a BentoML service",
    "changes": "From a recorded change of weight to Envoy serving it",
    "gateways": "From a recorded change of weight to ten gateways serving it",
    "joined": "From a recorded change of weight to ten gateways of other hosts, and one more, serving it",
    "shadow": "What callers notice of a shadow",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", choices=[*TITLES, []])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--requests", type=int, default=3200)
    options.add_argument("--changes", type=int, default=1000)
    chosen = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with constant_services(folder, build("1"), build("2")) as endpoints:
            runs = _runs(folder, endpoints, chosen)
            for part in chosen.parts or TITLES:
                print(report(f"gateway-{part}", TITLES[part], runs[part]))


def _runs(folder: Path, endpoints: Endpoints, chosen: argparse.Namespace) -> dict[str, Callable[[], Sequence[Figure]]]:
    def changing(many: int, at_most: float) -> list[Figure]:
        with ExitStack() as stack:
            running = [stack.enter_context(gateway(folder / f"changes-{many}" / str(i))) for i in range(many)]
            plane, url = changes.together(running), running[0].plane.url
            return changes.measure(plane, url, endpoints, folder / f"of-{many}", chosen.changes, at_most, many=many)

    def changing_joined(many: int, at_most: float) -> list[Figure]:
        there = folder / "joined"
        there.mkdir()
        with (
            hosts({"first": HOST}) as made,
            made.on("first"),
            constant_services(there, *endpoints) as services,
            joined(there / "first", many) as (plane, url),
        ):
            return changes.measure(plane, url, services, there / "of", chosen.changes, at_most, many=many + 1)

    return {
        "cost": lambda: cost.measure(folder / "cost", endpoints, 4 * chosen.rounds, chosen.requests // 2),
        "latency": lambda: latency.measure(folder / "bento", 2 * chosen.rounds + 2),
        "changes": lambda: changing(1, 100),
        "gateways": lambda: changing(10, 250),
        "joined": lambda: changing_joined(10, 250),
        "shadow": lambda: shadow.measure(folder, 4 * chosen.rounds, chosen.requests // 32),
    }


if __name__ == "__main__":
    main()
