"""The data scientist: a process that trains while the servers start, then registers versions and moves the alias.

It uses lines of JSON. First it prints {"figures": ...}; then it answers each line of its input with one line:

    {"register": model, "environment": {...}}   {"versions": {name: version}}
    {"candidate": version}                      {"candidate": version}
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from sluicegate.examples.flights import data, models


def main(cache: Path) -> None:
    """Train, then answer requests until the input ends."""
    warnings.filterwarnings("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr  # MLflow writes to the standard output
    say = partial(_write, answers)
    frame = data.departures(cache)
    trained = models.train(frame)
    stream = data.stream(frame)
    say({"figures": {each.name: {"says": each.says, **asdict(models.judge(each.model, stream))} for each in trained}})
    import mlflow  # takes seconds, while the servers are still starting

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    name = ""
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        if "register" in asked:
            name = asked["register"]
            os.environ.update(asked["environment"])
            mlflow.set_tracking_uri(asked["environment"]["MLFLOW_TRACKING_URI"])
            mlflow.set_experiment(name)
            say({"versions": {each.name: models.log(each, registered=name, example=stream) for each in trained}})
        else:
            mlflow.MlflowClient().set_registered_model_alias(name, "candidate", asked["candidate"])
            say(asked)


def _write(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
