"""Shows how a rollout gets on as its driver does: once, the same again, after a step more, and at its end."""

from __future__ import annotations

import sys

from sluicegate.flows.driver.progress import show_ending, show_verdicts
from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.report import Report, rollout_report
from tests import giving as orders
from tests.acceptance.given import PLAN, Given


def main(model: str) -> None:
    """Prints the rollout's id."""
    given = Given(PLAN | {"model": model})

    def told() -> Report:
        return rollout_report(read_for_report(given.ledger, given.rollout), given.now)

    given.runs(200)
    first = given.ticks()
    for _ in range(2):
        show_verdicts(first, 0.1, told)
    given.runs(20_000, until=2_500)
    show_verdicts(given.ticks(), None, told)
    orders.abort(given.ledger, given.name, actor="ada", reason="enough <b>seen</b>", now=given.now)
    show_ending(told(), ("alias candidate removed",), {"console": "http://console.example/x"})
    print(given.name)


if __name__ == "__main__":
    main(sys.argv[1])
