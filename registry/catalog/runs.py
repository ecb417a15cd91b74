"""MLflow runs over plain HTTP, where users of the registry look up what became of a version, months later."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from sluicegate.registry.catalog.artifacts import PROXY, client_environment
from sluicegate.registry.catalog.rest import Rest
from sluicegate.registry.words.errors import CatalogUnavailable, NotFound
from sluicegate.registry.words.settings import MlflowServer

BATCH = 500
"""Metrics of one request; MLflow takes up to 1,000 values."""
UPLOAD_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run and where its artifacts are stored."""

    id: str
    experiment: str
    """The experiment's id."""
    artifacts: str
    """Their URI."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One value of a metric. Writing it twice has no effect: MLflow identifies it by all four fields."""

    key: str
    value: float
    at: datetime
    step: int


class MlflowRuns:
    """Runs of one MLflow server. Raises CatalogUnavailable if it does not answer. Every write may be repeated."""

    def __init__(self, server: MlflowServer) -> None:
        self._rest = Rest(server)

    def close(self) -> None:
        self._rest.close()

    def open(self, *, experiment: str, tag: tuple[str, str], name: str, began: datetime) -> Run:
        """The run of this experiment with this tag, created if there is none."""
        home = self._experiment(experiment)
        where = f"tags.`{tag[0]}` = '{tag[1]}'"
        runs = self._rest.post("/runs/search", {"experiment_ids": [home], "filter": where, "max_results": 1})
        for run in runs.get("runs", ()):
            return _run(run)
        body = {
            "experiment_id": home,
            "run_name": name,
            "start_time": _millis(began),
            "tags": [{"key": tag[0], "value": tag[1]}],
        }
        return _run(self._rest.post("/runs/create", body)["run"])

    def log(
        self, run: Run, *, metrics: Sequence[Measurement] = (), tags: Mapping[str, str], params: Mapping[str, str]
    ) -> None:
        """Write values, tags and parameters. Repeating a write adds nothing. Parameters never change."""
        labels = {"tags": _pairs(tags), "params": _pairs(params)}
        self._rest.post("/runs/log-batch", {"run_id": run.id, **labels})
        for start in range(0, len(metrics), BATCH):
            values = [
                {"key": each.key, "value": each.value, "timestamp": _millis(each.at), "step": each.step}
                for each in metrics[start : start + BATCH]
            ]
            self._rest.post("/runs/log-batch", {"run_id": run.id, "metrics": values})

    def end(self, run: Run, status: str, at: datetime) -> None:
        """Mark the run as ended. `status` is FINISHED, FAILED or KILLED."""
        self._rest.post("/runs/update", {"run_id": run.id, "status": status, "end_time": _millis(at)})

    def keep(self, run: Run, name: str, content: str) -> None:
        """Store a text as an artifact of the run, replacing one of the same name."""
        if urlsplit(run.artifacts).scheme == "mlflow-artifacts":
            root = urlsplit(run.artifacts).path.strip("/")
            self._rest.put(f"{PROXY}/{quote(f'{root}/{name}')}", content.encode())
            return
        self._keep_by_mlflow(run, name, content)

    def _keep_by_mlflow(self, run: Run, name: str, content: str) -> None:
        """Store with MLflow's client, which knows every store. It runs in a process of its own, as for downloads."""
        with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
            file = Path(folder) / name
            file.write_text(content, encoding="utf-8")
            process = subprocess.run(
                [sys.executable, "-c", _SCRIPT, run.id, str(file)],
                env=client_environment(self._rest),
                capture_output=True,
                text=True,
                timeout=UPLOAD_SECONDS,
                check=False,
            )
        if process.returncode != 0:
            reason = process.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise CatalogUnavailable(f"{name} could not be stored at {run.artifacts}: {reason[0]}.")

    def _experiment(self, name: str) -> str:
        """The id of an experiment, created if there is none. A deleted one is restored."""
        for _ in range(2):
            with suppress(NotFound):
                experiment = self._rest.part("experiment", "/experiments/get-by-name", experiment_name=name)
                if experiment.get("lifecycle_stage") == "deleted":
                    self._rest.post("/experiments/restore", {"experiment_id": experiment["experiment_id"]})
                return str(experiment["experiment_id"])
            with suppress(CatalogUnavailable):  # somebody else may create it at this moment
                return str(self._rest.post("/experiments/create", {"name": name})["experiment_id"])
        raise self._rest.unavailable(f"has no experiment {name!r} and cannot create it")


_SCRIPT = """
import sys
from mlflow import MlflowClient
MlflowClient().log_artifact(sys.argv[1], sys.argv[2])
"""


def _run(run: Mapping[str, Any]) -> Run:
    info = run["info"]
    return Run(id=info["run_id"], experiment=info["experiment_id"], artifacts=info["artifact_uri"])


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
