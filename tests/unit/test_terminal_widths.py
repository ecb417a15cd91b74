"""What a terminal shows at 60, 80, 120 and 200 columns: nothing is cut, and what belongs together stays together."""

from __future__ import annotations

from typing import Any

import pytest

from sluicegate.flows.cli.home import describe, folded
from sluicegate.flows.cli.tree import tree

RUNNING: dict[str, Any] = {
    "id": "delays-v2-32c688", "model": "delays", "strategy": "canary", "phase": "running", "ending": None, "step": 2,
    "steps": 3, "weight": 25.0, "observed_weight": 26.1, "observed": True, "elapsed": 47.0,
    "stable": "1", "candidate": "2",
    "stable_requests": 635, "candidate_requests": 224, "reason": "every gate passed at 10 %", "actor": "policy",
    "needs_person": False, "no_driver": None, "held_up": None, "blind": None, "offline": [], "external": [],
    "hooks": [], "errors": {}, "launch": None,
    "waits_for": "224 of 300 candidate requests served at this step",
    "gates": [
        {"guardrail": False, "metric": "log_loss", "verdict": "PASS",
         "reason": "log loss is 0.16 lower (better) than v1's, 91 % CI -0.27 to -0.05, after 2,015 flights; "
         "within the margin of 0.217 (30 %)"},
        {"guardrail": True, "metric": "errors", "verdict": "OK",
         "reason": "errors are about equal to v1's, 94 % CI -0.5 to 2.4 percentage points, after 2,253 flights; "
         "no harm found"},
    ],
}  # fmt: skip
LAUNCHING = RUNNING | {
    "phase": "launching", "step": 0, "weight": 0.0, "observed_weight": None, "launch": "packing", "gates": [],
    "stable_requests": 0, "candidate_requests": 0, "reason": "launching the candidate", "actor": "driver",
    "waits_for": "packing for 12s (before that: fetching its files from MLflow 1s, making its environment 3s)",
}  # fmt: skip
PAUSED = RUNNING | {
    "id": "delays-v2-aaaaaa", "phase": "paused", "needs_person": True, "waits_for": None, "actor": "bob",
    "reason": "the refunds of yesterday are not booked yet, look at them first",
}  # fmt: skip
SERVED = [
    {"model": "delays", "audience": "new-york", "build": "3", "arm": "stable", "desired": 100.0},
    {"model": "delays", "audience": "default", "build": "1", "arm": "stable", "desired": 75.0},
    {"model": "delays", "audience": "default", "build": "2", "arm": "candidate", "desired": 25.0},
    {"model": "fraud", "audience": "default", "build": "1", "arm": "stable", "desired": 100.0},
]
OVERVIEW = {"served": SERVED, "decisions": [], "silences": {}}
RUNNING_60 = """\
delays  CANARY RUNNING  step 2/3  weight 25 %, 26.1 %
  observed  47s elapsed  [delays-v2-32c688]
+- [#####...............] 25 % v2, 75 % v1
+- stable     v1     635 requests at this weight
+- candidate  v2     224 requests at this weight
|  +- gate log_loss     PASS
|  |    log loss is 0.16 lower (better) than v1's, 91 % CI
|  |    -0.27 to -0.05, after 2,015 flights; within the
|  |    margin of 0.217 (30 %)
|  `- guard errors       OK
|       errors are about equal to v1's, 94 % CI -0.5 to 2.4
|       percentage points, after 2,253 flights; no harm
|       found
+- every gate passed at 10 %  (by policy)
`- next: 224 of 300 candidate requests served at this step"""
RUNNING_120 = """\
delays  CANARY RUNNING  step 2/3  weight 25 %, 26.1 % observed  47s elapsed  [delays-v2-32c688]
+- [#####...............] 25 % v2, 75 % v1
+- stable     v1     635 requests at this weight
+- candidate  v2     224 requests at this weight
|  +- gate log_loss     PASS       log loss is 0.16 lower (better) than v1's, 91 % CI -0.27 to -0.05, after 2,015
|  |                               flights; within the margin of 0.217 (30 %)
|  `- guard errors       OK         errors are about equal to v1's, 94 % CI -0.5 to 2.4 percentage points, after 2,253
|                                   flights; no harm found
+- every gate passed at 10 %  (by policy)
`- next: 224 of 300 candidate requests served at this step"""
LAUNCHING_60 = """\
delays  CANARY LAUNCHING  weight 0 %  47s elapsed
  [delays-v2-32c688]
+- launch [###...] fetching > environment > [packing] >
|    starting > probing
+- stable     v1
+- candidate  v2
+- launching the candidate  (by driver)
`- now: packing for 12s (before that: fetching its files
     from MLflow 1s, making its environment 3s)"""
HOME_60 = """\
Needs you: 1
  delays v1 -> v2  canary paused, step 2 of 3
    [delays-v2-aaaaaa]
    [#####...............] 25 % of requests to v2
    paused by bob: the refunds of yesterday are not booked
      yet, look at them first
    sluice rollout resume delays-v2-aaaaaa
    sluice rollout abort delays-v2-aaaaaa

In progress: 1
  delays v1 -> v2  canary launching  [delays-v2-32c688]
    packing for 12s (before that: fetching its files from
      MLflow 1s, making its environment 3s)

Serving:
  delays  v3 (stable) answers 100 % of requests of new-york
  delays  v1 (stable) answers 75 % of all other requests
  delays  v2 (candidate) answers 25 % of all other requests
  fraud  v1 (stable) answers 100 % of all requests

sluice --help lists all commands, sluice COMMAND --help explains one."""


@pytest.mark.parametrize(
    ("view", "width", "picture"),
    [(RUNNING, 60, RUNNING_60), (RUNNING, 120, RUNNING_120), (LAUNCHING, 60, LAUNCHING_60)],
)
def test_a_rollout_at_a_width(view: dict[str, Any], width: int, picture: str) -> None:
    assert tree(view, width) == picture


@pytest.mark.parametrize(
    ("now", "names"),
    [
        ({"phase": "running", "ending": None}, ["stable v1", "candidate v2"]),
        ({"phase": "baking", "ending": None}, ["former v1", "stable v2"]),
        ({"phase": "ended", "ending": "promoted"}, ["former v1", "stable v2"]),
        ({"phase": "ended", "ending": "aborted"}, ["stable v1", "candidate v2"]),
        ({"phase": "ended", "ending": "established", "stable": None}, ["stable v2"]),
    ],
)
def test_the_build_that_was_promoted_is_the_stable_one(now: dict[str, Any], names: list[str]) -> None:
    view = RUNNING | now | {"stable_requests": 0, "candidate_requests": 0, "weight": 100.0}
    lines = [line.removeprefix("+- ") for line in tree(view).splitlines()]
    assert [" ".join(line.split()) for line in lines if line.startswith(("former", "stable", "candidate"))] == names


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("view", [RUNNING, LAUNCHING, PAUSED], ids=["running", "launching", "paused"])
def test_nothing_is_cut_and_nothing_is_lost(view: dict[str, Any], width: int) -> None:
    shown = tree(view, width)
    assert max(map(len, shown.splitlines())) <= width
    assert set(tree(view).split()) <= set(shown.split())


def test_a_wide_terminal_shows_what_a_pipe_gets() -> None:
    assert tree(RUNNING, 200) == tree(RUNNING)


def test_what_runs_at_a_width_and_its_commands_stay_whole() -> None:
    assert home(60) == HOME_60
    assert max(map(len, home(80).splitlines())) <= 80


def home(width: int) -> str:
    return "\n".join(folded(line, width) for line in describe([PAUSED, LAUNCHING], OVERVIEW))
