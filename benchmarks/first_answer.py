"""From an alias set in MLflow to the candidate's first answer, through the real stack, with the time of each stage.

`sluice up` in a folder of its own, a small scikit-learn model, a plan whose trigger is the alias; callers ask all the
while. Run: `python -m benchmarks.first_answer`; it writes benchmarks/results/first-answer.json and .md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx

from benchmarks.results import Figure, report
from tests.integration.stack_rig import MODEL, Load, Stack, fresh_stack

PLAN = f"""\
kind: plan
model: {MODEL}
unit: x-user-id
trigger: {{alias: candidate}}
metrics:
  errors: {{source: status}}
gates:
  - {{metric: errors, below: 5%}}
steps:
  - {{weight: 50, approval: true}}
"""
REGISTER = """
import sys, mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
rows = pd.DataFrame(np.random.default_rng(1).random((200, 2)), columns=["a", "b"])
model = LogisticRegression().fit(rows, rows.sum(axis=1) > 1)
for _ in range(int(sys.argv[2])):
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model, name="model", registered_model_name=sys.argv[1], pyfunc_predict_fn="predict_proba",
            signature=infer_signature(rows, model.predict_proba(rows)), pip_requirements=["scikit-learn", "skops"],
        )
"""
STAGES = {
    "Requested": "alias to order",
    "driver": "order to a driver at work: Prefect's worker and a new process",
    "Packed": "driver to bento",
    "Ready": "bento to a service that answers its probe",
    "answer": "service to the first answer: weight, route, caller",
}
SECONDS = 120.0


def timed(stack: Stack, load: Load, version: str) -> list[float]:
    """The moments of one rollout: when the alias was set, the end of each stage."""
    clients = stack.clients()
    auth = clients["MLFLOW_TRACKING_USERNAME"], clients["MLFLOW_TRACKING_PASSWORD"]
    alias = {"name": MODEL, "alias": "candidate", "version": version}
    url = f"{clients['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/registered-models/alias"
    began, deadline = time.time(), time.monotonic() + SECONDS
    httpx.post(url, json=alias, auth=auth, trust_env=False).raise_for_status()
    while not load.builds[version]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer of v{version} within {SECONDS:g} s; see the logs in {stack.state}")
        time.sleep(0.01)
    answered = time.time()
    rollout = stack.ask("rollout", "show", MODEL)["id"]
    at = {fact["fact"]: _seconds(fact["at"]) for fact in stack.ask("rollout", "history", rollout)}
    tagged = {"flow_runs": {"tags": {"all_": [rollout]}}, "sort": "START_TIME_ASC"}
    driver = _seconds(stack.prefect("POST", "/flow_runs/filter", tagged)[0]["start_time"])
    stack.run("rollout", "abort", rollout, "--reason", "measured")
    stack.until(rollout, lambda view: bool(view["settled"]))
    return [began, at["Requested"], driver, at["Packed"], at["Ready"], answered]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def measure(rounds: int) -> list[Figure]:
    """Medians over several candidates."""
    spans: dict[str, list[float]] = defaultdict(list)
    with fresh_stack() as stack:
        _prepare(stack, rounds + 1)
        with Load(stack.urls()["gateway"]).running(threads=1) as load:
            for version in range(2, rounds + 2):
                moments = timed(stack, load, str(version))
                for stage, (before, after) in zip(STAGES, pairwise(moments), strict=True):
                    spans[stage].append(after - before)
                spans["all"].append(moments[-1] - moments[0])
    stages = [Figure(name=what, value=statistics.median(spans[stage]), unit="s") for stage, what in STAGES.items()]
    return [*stages, Figure(name="alias to first answer", value=statistics.median(spans["all"]), unit="s", at_most=10)]


def _prepare(stack: Stack, versions: int) -> None:
    plan = stack.state / "plan.yaml"
    plan.write_text(PLAN)
    env: dict[str, Any] = stack.env | stack.clients() | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    command = [sys.executable, "-c", REGISTER, MODEL, str(versions)]
    subprocess.run(command, env=env, check=True, cwd=stack.state, capture_output=True)
    stack.run("apply", "-f", str(plan))
    stack.run("deploy", MODEL, "--build", "1")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    print(report("first-answer", "From an alias in MLflow to the first answer", lambda: measure(chosen.rounds)))


if __name__ == "__main__":
    main()
