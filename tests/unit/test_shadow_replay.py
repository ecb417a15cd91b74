"""The offline twin: captured requests are read, answered again and compared as a shadow's are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sluicegate.flows.rehearsal.captured import Captured, read_captured
from sluicegate.flows.rehearsal.shadow_replay import Answering, ReplayRequest, compare_captured
from sluicegate.registry.report.shadow_view import ShadowView
from sluicegate.registry.words.errors import UsageError

ROW = {"inputs": [{"x": 1.0}]}


def asked(**changes: object) -> ReplayRequest:
    return ReplayRequest(model="m", requests_file=Path("captured.jsonl"), **changes)


def model(answer: Callable[[float], object]) -> Answering:
    """A model of one column whose answers are one value a row."""

    def answering(body: bytes) -> tuple[int, str | None]:
        try:
            rows = [[answer(row["x"])] for row in json.loads(body)["inputs"]]
        except KeyError:
            return 400, None
        except ZeroDivisionError:
            return 500, None
        return 200, json.dumps({"c": ["prediction"], "r": rows})

    return answering


def run(requests: list[Captured], candidate: Answering, stable: Answering | None, **changes: object) -> ShadowView:
    ticks = itertools.count()
    return compare_captured(
        requests, candidate=candidate, stable=stable, kinds={}, request=asked(**changes), versions=("1", "2"),
        timer=lambda: next(ticks) / 1000,
    )  # fmt: skip


def requests(n: int, **changes: object) -> list[Captured]:
    return [Captured(rid=str(i), body=json.dumps({"inputs": [{"x": float(i)}]}).encode(), **changes) for i in range(n)]


def test_lines_of_every_form_are_read() -> None:
    lines = [
        json.dumps(ROW), "",
        json.dumps({"v": 1, "rid": "a", "at": 7, "build": "m/1", "features": ROW, "predictions": {"predictions": [2]}}),
        json.dumps({"request": ROW, "answer": [3], "headers": {"X-State": "NY"}}),
    ]  # fmt: skip
    plain, captured, own = read_captured(lines, "f")
    assert (json.loads(plain.body), plain.answer, plain.rid) == (ROW, None, "1")
    assert (json.loads(captured.body), captured.answer, captured.rid, captured.at) == (ROW, [2], "a", 7)
    assert (own.answer, own.headers) == ([3], {"x-state": "NY"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "f:1: not JSON"), ("[1]", "f:1: not a JSON object"), ('{"x": 1}', "f:1: no request"),
        (json.dumps({"features": {"bytes": 99_999}}), "no request can be run again"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_run_names_itself(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        list(read_captured([line], "f"))


def test_two_builds_answer_the_same_requests() -> None:
    view = run(requests(50), model(lambda x: "b" if x % 10 == 0 else "a"), model(lambda _: "a"))
    assert view.coverage.pairs == {"agree": 45, "differ": 5}
    assert view.disagreement is not None
    assert view.disagreement.value == 0.1
    assert view.latency is not None
    assert len(view.worst) == 5
    assert "served" not in view.worst[0].cells[0]


def test_captured_answers_are_compared_with() -> None:
    view = run(requests(10, answer=["a"]), model(lambda x: "a" if x else "b"), None, show_values=True)
    assert (view.coverage.pairs, view.stable) == ({"agree": 9, "differ": 1}, "1")
    assert view.worst[0].cells[0]["served"] == "a"
    with pytest.raises(UsageError, match="no captured answer"):
        run(requests(1), model(lambda _: "a"), None)


def test_refusals_and_failures_are_told_apart() -> None:
    wrong = Captured(rid="w", body=b'{"inputs": [{"y": 1}]}', answer=["a"])
    view = run([*requests(4, answer=["a"]), wrong], model(lambda x: "a" if 1 / x else ""), None)
    assert view.coverage.ended == {"answered": 3, "error": 1, "refused": 1}
    assert view.coverage.pairs == {"agree": 3, "copy failed": 1, "differ": 1}


def test_slices_come_from_captured_headers() -> None:
    some = [*requests(3, answer=["a"], headers={"x-state": "NY"}), *requests(2, answer=["a"])]
    view = run(some, model(lambda _: "a"), None, slices=("x-state",))
    assert {each.slice: each.disagreement.n for each in view.slices} == {"x-state=NY": 3, "x-state=(none)": 2}


def apart(served: object, copied: object) -> float:
    """Texts agree when they do without regard to case."""
    return float(str(served).lower() != str(copied).lower())


def test_a_function_of_ones_own_says_what_differs() -> None:
    named = f"{__name__}:apart"
    view = run(requests(6, answer=["a"]), model(lambda x: "A" if x else "B"), None, compare=named)
    assert view.coverage.pairs == {"agree": 5, "differ": 1}
    with pytest.raises(UsageError, match="--compare"):
        run(requests(1, answer=["a"]), model(lambda _: "a"), None, compare="no.such:thing")
