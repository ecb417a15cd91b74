"""When the demo may call itself a success, what it says at the end, and that its processes do not outlive it."""

from __future__ import annotations

import asyncio
import io
import sys
from asyncio.subprocess import PIPE

import psutil
import pytest
from rich.console import Console

from sluicegate.examples.flights import ending, people
from sluicegate.examples.flights.scene import Act, Candidate, Mark, Scene
from sluicegate.examples.flights.screen import Screen

FIGURES = {"auc": 0.7, "log_loss": 0.5, "accuracy": 0.75}


def rollout(end: str | None) -> dict[str, object]:
    gate = {
        "metric": "log_loss", "guardrail": False, "verdict": "FAIL", "reason": "worse than stable: +0.2",
        "stable": 0.43, "candidate": 0.71, "stable_n": 1475, "candidate_n": 195, "k": 15,
    }  # fmt: skip
    return {
        "ending": end, "phase": "ended" if end else "running", "reason": "log_loss failed", "stable": "2",
        "candidate": "3", "elapsed": 66.0, "ended_at": "2026-11-22T14:36:16+00:00", "weight": 0.0, "step": 2,
        "steps": 3, "observed_weight": None, "gates": [gate],
    }  # fmt: skip


def scene(good: str | None = "promoted", bad: str | None = "aborted", failed: int = 0, *, ended: bool = True) -> Scene:
    return Scene(
        acts=[Act(title="deploy", mark=Mark.DONE, began=0.0, ended=2.0)],
        candidates=[
            Candidate(version="2", name="trees", hoped="promoted", rollout=rollout(good)),
            Candidate(version="3", name="trees-metric", hoped="aborted", rollout=rollout(bad)),
        ],
        names={"1": "logistic", "2": "trees", "3": "trees-metric"},
        figures=dict.fromkeys(("logistic", "trees", "trees-metric"), FIGURES),
        replay={
            "clock": 1.0, "asked": 6282, "failed": failed, "failures": ["f1: 503"] * failed, "outcomes": 5988,
            "never": 217, "builds": {"1": {"requests": 3181, "labelled": 3068, "log_loss": 0.66, "accuracy": 0.63}},
            **({"ended": True} if ended else {}),
        },
        urls={"gateway": "http://127.0.0.1:1"},
    )  # fmt: skip


def test_the_demo_went_well_when_both_ended_as_hoped_and_nobody_was_left_without_an_answer() -> None:
    assert scene().went_well


@pytest.mark.parametrize(
    "other",
    [
        scene(good="aborted"),
        scene(good=None),
        scene(bad="promoted"),
        scene(bad="failed"),
        scene(failed=1),
        scene(ended=False),
        Scene(),
    ],
)
def test_anything_else_is_no_success(other: Scene) -> None:
    assert not other.went_well


def test_trouble_is_no_success() -> None:
    troubled = scene()
    troubled.trouble = "it was interrupted"
    assert not troubled.went_well


def test_the_ending_says_what_was_decided_on_what_evidence_and_what_failed() -> None:
    paper = io.StringIO()
    ending.show(Console(file=paper, width=130), scene(failed=1), 300.0, kept=None)
    said = paper.getvalue()
    for part in (
        "promoted",
        "aborted",
        "0.430 over 1,475",
        "0.710 over 195",
        "15 looks",
        "3,181",
        "1 failed",
        "f1: 503",
    ):
        assert part in said


def test_without_a_terminal_each_line_is_said_once() -> None:
    paper = io.StringIO()
    with Screen(Console(file=paper, width=130)) as screen:
        for _ in range(3):
            screen.show(scene())
    assert paper.getvalue().count("✓ deploy") == 1
    assert paper.getvalue().count("log_loss FAIL") == 2, "one line for each rollout"


def test_a_person_who_does_not_leave_is_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "PATIENCE", 0.2)

    async def run() -> int:
        stubborn = "import time; print('{}', flush=True); time.sleep(600)"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", stubborn, stdin=PIPE, stdout=PIPE)
        try:
            person = people.Person(process, "stubborn")
            assert await person.hear() == {}
            await person.leave()
            return process.pid
        finally:
            if process.returncode is None:
                process.kill()

    assert not psutil.pid_exists(asyncio.run(run()))
