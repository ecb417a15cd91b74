"""The report in short, for MLflow and Prefect: what became of it and why; what people write stays text."""

from __future__ import annotations

from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.report import Report, rollout_report
from sluicegate.services.report.markdown import markdown
from tests import giving as orders
from tests.acceptance.given import Given


def told(given: Given) -> Report:
    return rollout_report(read_for_report(given.ledger, given.rollout), given.now)


def test_it_says_what_became_of_it_and_on_what_evidence() -> None:
    text = markdown(told(Given().runs(30_000)), [("console", "http://127.0.0.1:1/rollouts/x")])
    assert text.startswith("# delays v1 → v2: baking\n")
    assert "[console](http://127.0.0.1:1/rollouts/x)" in text
    assert "| 3 | 50 % | log_loss at most 5 % worse | **done**: every gate passed at the last step, 50 % |" in text
    assert "| log_loss | **PASS** |" in text
    assert "| errors (guardrail) | **OK** |" in text


def test_what_people_write_ends_no_cell_and_makes_no_markup() -> None:
    given = Given()
    given.ticks()
    orders.abort(given.ledger, given.name, actor="eve", reason="a|b <img src=x> [x](http://evil)", now=given.now)
    text = markdown(told(given))
    assert "<img" not in text
    assert "](http://evil" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("| 1 |"))
    assert row.replace("\\|", "").count("|") == 6
