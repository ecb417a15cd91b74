"""New versions of a model by plain MLflow calls. To import MLflow takes seconds: one process does so, once, for all.

Each version is registered by a child of its own, which has the environment and the folder of whoever asks.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 400.0


class Registrar:
    """The process that has imported MLflow; it ends with this one."""

    def __init__(self, python: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        self._process = subprocess.Popen(
            [str(python), __file__], env=environment | quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd=tempfile.gettempdir(),
        )  # fmt: skip
        atexit.register(self.end)

    def register(
        self, model: str, failing: float, environment: Mapping[str, str], folder: Path, columns: Sequence[str] = "ab"
    ) -> str:
        """The new version's number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"model": model, "failing": failing, "environment": dict(environment), "folder": str(folder)}
        asked["columns"] = list(columns)
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self.end()
            raise AssertionError(f"MLflow did not register a version within {PATIENCE:g} s")
        answer = json.loads(self._process.stdout.readline())
        assert "version" in answer, answer["error"]
        return str(answer["version"])

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@functools.cache
def _registrars() -> dict[Path, Registrar]:
    return {}


def register(python: Path, model: str, failing: float, environment: Mapping[str, str], folder: Path) -> str:
    """A new version of a model of which this share of the rows fails; its number."""
    known = _registrars()
    if python not in known or not known[python].is_alive:
        known[python] = Registrar(python)
    return known[python].register(model, failing, environment, folder)


def main() -> None:
    """Answer each line of the standard input with one of the standard output."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what MLflow prints is no answer

    import mlflow
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    class Probability(mlflow.pyfunc.PythonModel):
        """A model whose harm is planted: it fails for a share of its rows."""

        def __init__(self, model: LogisticRegression, failing: float) -> None:
            self.model, self.failing = model, failing

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads such hints
            rows = model_input.to_numpy()
            if (rows[:, 0] % 1.0 < self.failing).any():
                raise RuntimeError("planted failure")
            return pd.DataFrame({"probability": self.model.predict_proba(rows)[:, 1]})

    def version(name: str, failing: float, columns: list[str]) -> str:
        rng = np.random.default_rng(1)
        x = rng.random((200, len(columns)))
        model = LogisticRegression().fit(x, x.sum(axis=1) > len(columns) / 2)
        frame = pd.DataFrame(x + 1.5, columns=columns)
        signature = infer_signature(frame, pd.DataFrame({"probability": [0.5]}))
        with mlflow.start_run():
            info = mlflow.pyfunc.log_model(
                name="model", python_model=Probability(model, failing), signature=signature,
                pip_requirements=["scikit-learn"], registered_model_name=name,
            )  # fmt: skip
        return str(info.registered_model_version)

    def answer(asked: dict[str, Any]) -> dict[str, str]:
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        try:
            return {"version": version(asked["model"], asked["failing"], asked["columns"])}
        except Exception:  # whoever asked is told
            return {"error": traceback.format_exc()}

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            answers.write(json.dumps(answer(json.loads(line))) + "\n")
            answers.flush()
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            with contextlib.suppress(BrokenPipeError):
                answers.write(json.dumps({"error": "the process that registers died"}) + "\n")


if __name__ == "__main__":
    main()
