"""MLflow runs over plain HTTP: where the catalog's people look for what became of a version, months later."""

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
    """A run and where its artifacts are kept."""

    id: str
    experiment: str
    """Its id."""
    artifacts: str
    """URI."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One value of a metric. The same one written twice is one: MLflow tells them apart by all four."""

    key: str
    value: float
    at: datetime
    step: int


class MlflowRuns:
    """Runs of one MLflow server. Raises CatalogUnavailable when it does not answer; everything may be written again."""

    def __init__(self, server: MlflowServer) -> None:
        self._rest = Rest(server)

    def close(self) -> None:
        self._rest.close()

    def open(self, *, experiment: str, tag: tuple[str, str], name: str, began: datetime) -> Run:
        """The run of this experiment that has the tag; made when there is none."""
        home = self._experiment(experiment)
        where = f"tags.`{tag[0]}` = '{tag[1]}'"
        found = self._rest.post("/runs/search", {"experiment_ids": [home], "filter": where, "max_results": 1})
        for run in found.get("runs", ()):
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
        """Write values, tags and parameters; what is there already stays once. Parameters never change."""
        said = {"tags": _pairs(tags), "params": _pairs(params)}
        self._rest.post("/runs/log-batch", {"run_id": run.id, **said})
        for start in range(0, len(metrics), BATCH):
            values = [
                {"key": each.key, "value": each.value, "timestamp": _millis(each.at), "step": each.step}
                for each in metrics[start : start + BATCH]
            ]
            self._rest.post("/runs/log-batch", {"run_id": run.id, "metrics": values})

    def end(self, run: Run, status: str, at: datetime) -> None:
        """Let the run have ended; status is FINISHED, FAILED or KILLED."""
        self._rest.post("/runs/update", {"run_id": run.id, "status": status, "end_time": _millis(at)})

    def keep(self, run: Run, name: str, content: str) -> None:
        """Keep a text as an artifact of the run, in place of one of this name."""
        if urlsplit(run.artifacts).scheme == "mlflow-artifacts":
            root = urlsplit(run.artifacts).path.strip("/")
            self._rest.put(f"{PROXY}/{quote(f'{root}/{name}')}", content.encode())
            return
        self._keep_by_mlflow(run, name, content)

    def _keep_by_mlflow(self, run: Run, name: str, content: str) -> None:
        """MLflow's client knows every store; it runs in a process of its own, as for downloads."""
        with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
            file = Path(folder) / name
            file.write_text(content, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-c", _SCRIPT, run.id, str(file)],
                env=client_environment(self._rest),
                capture_output=True,
                text=True,
                timeout=UPLOAD_SECONDS,
                check=False,
            )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise CatalogUnavailable(f"{name} could not be stored at {run.artifacts}: {said[0]}.")

    def _experiment(self, name: str) -> str:
        """The id of an experiment, made when there is none; one that was deleted is brought back."""
        for _ in range(2):
            with suppress(NotFound):
                found = self._rest.part("experiment", "/experiments/get-by-name", experiment_name=name)
                if found.get("lifecycle_stage") == "deleted":
                    self._rest.post("/experiments/restore", {"experiment_id": found["experiment_id"]})
                return str(found["experiment_id"])
            with suppress(CatalogUnavailable):  # somebody else may make it at this moment
                return str(self._rest.post("/experiments/create", {"name": name})["experiment_id"])
        raise self._rest.unavailable(f"has no experiment {name!r} and cannot create it")


_SCRIPT = """
import sys
from mlflow import MlflowClient
MlflowClient().log_artifact(sys.argv[1], sys.argv[2])
"""


def _run(found: Mapping[str, Any]) -> Run:
    info = found["info"]
    return Run(id=info["run_id"], experiment=info["experiment_id"], artifacts=info["artifact_uri"])


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
