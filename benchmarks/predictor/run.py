"""Our predictor against a hand-written BentoML service and `mlflow models serve`, same model, one worker each.

Interleaved rounds, so that a busy machine slows all alike. Run: `python -m benchmarks.predictor.run`; it writes
benchmarks/results/predictor.json and .md.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.results import Figure, report
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.program import Program
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.bento.packer import Packer
from sluicegate.services.bento.process_environment import bare_environment
from sluicegate.services.loopback import UnixConnection
from tests.direct_programs import DirectPrograms
from tests.integration.traffic_rig import free_port

ROUNDS, SECONDS, CLIENTS = 7, 2.0, 4
TARGETS = {"hand": 1.3, "mlflow": 2.0}
FLIGHT = {"carrier": "AA", "distance": 700.5, "hour": 6}
POINT = {"distance": 700.5, "hour": 6.0}


def models(folder: Path) -> dict[str, Path]:
    """A pipeline over strings and numbers, and the smallest model there is."""
    import mlflow
    import numpy as np
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    drawn = np.random.default_rng(7)
    rows = pd.DataFrame(
        {
            "carrier": drawn.choice(["AA", "UA"], 300),
            "distance": drawn.uniform(100, 3000, 300),
            "hour": drawn.integers(0, 24, 300),
        }
    )
    encode = make_column_transformer((OneHotEncoder(), ["carrier"]), (StandardScaler(), ["distance", "hour"]))
    points = rows[["distance", "hour"]].astype(float)
    fitted = {
        "Pipeline": (make_pipeline(encode, LogisticRegression()).fit(rows, rows.distance > 1500), rows),
        "Linear": (LogisticRegression().fit(points, rows.distance > 1500), points),
    }
    for name, (model, table) in fitted.items():
        signature = mlflow.models.infer_signature(table, model.predict_proba(table))
        mlflow.sklearn.save_model(
            model,
            folder / name,
            signature=signature,
            input_example=table.head(1),
            pip_requirements=["mlflow", "skops"],
            pyfunc_predict_fn="predict_proba",
        )
    return {name: folder / name for name in fitted}


class Rig:
    """The three servers of one model."""

    def __init__(self, home: Path, name: str, model: Path, row: dict[str, Any]) -> None:
        self.programs = DirectPrograms()
        self.body = json.dumps({"inputs": [row]}).encode()
        self.mlflow_body = json.dumps({"dataframe_records": [row]}).encode()
        ref, packer = BuildRef(model=name.lower(), version="1"), Packer(home / "bento", clock=lambda: datetime.now(UTC))
        packed = packer.pack(Build(ref=ref, source="x"), model, serve=Serve())
        fleet = Fleet(home / "services", bentos=home / "bento", programs=self.programs)
        fleet.start(ref, packed, Serve())
        self.targets = {"ours": (f"{ref.model}.v1", fleet.endpoints()[ref].socket, "/predict", self.body)}
        bentoml, mlflow = free_port(), free_port()
        hand = f"bentoml serve handwritten:{name} --host 127.0.0.1 --port {bentoml}"
        bentoml_home, skops = str(home / f"hand-{name}"), str(model / "model.skops")
        self._add(home, "hand", hand, Path(__file__).parent, MODEL=skops, BENTOML_HOME=bentoml_home)
        serve = f"uvicorn mlflow.pyfunc.scoring_server.app:app --port {mlflow} --log-level warning"
        self._add(home, "mlflow", serve, home, __pyfunc_model_path__=str(model))
        self.targets |= {
            "hand": ("hand", bentoml, "/predict", self.body),
            "mlflow": ("mlflow", mlflow, "/invocations", self.mlflow_body),
        }

    def _add(self, home: Path, name: str, module: str, cwd: Path, **env: str) -> None:
        command = (sys.executable, "-m", *module.split())
        environment = bare_environment(os.environ) | env
        log = home / f"{name}.log"
        self.programs.add(Program(name=name, command=command, cwd=cwd, log=log, env=environment, stop_seconds=10))

    def wait(self) -> None:
        for _, place, path, body in self.targets.values():
            while not _answers(place, path, body):
                time.sleep(0.5)

    def measure(self) -> dict[str, list[tuple[float, float]]]:
        """Requests/s and CPU microseconds per request, for each target and round."""
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in self.targets}
        for _ in range(ROUNDS):
            for name, (program, place, path, body) in self.targets.items():
                tree = [psutil.Process(self.programs.process(program).pid)]
                tree += tree[0].children(recursive=True)
                before = _cpu(tree)
                answered = _load(place, path, body)
                rounds[name].append((answered / SECONDS, (_cpu(tree) - before) / answered * 1e6))
        return rounds


def _cpu(tree: list[psutil.Process]) -> float:
    return sum(process.cpu_times().user + process.cpu_times().system for process in tree)


def connect(place: int | str, timeout: float) -> http.client.HTTPConnection:
    """To a port of this machine, or a Unix socket."""
    if isinstance(place, str):
        return UnixConnection(place, timeout)
    return http.client.HTTPConnection("127.0.0.1", place, timeout=timeout)


def _answers(place: int | str, path: str, body: bytes) -> bool:
    try:
        connection = connect(place, 5)
        connection.request("POST", path, body, {"content-type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False


def _load(place: int | str, path: str, body: bytes) -> int:
    counts = [0] * CLIENTS
    end = time.monotonic() + SECONDS

    def client(number: int) -> None:
        connection = connect(place, 30)
        while time.monotonic() < end:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            counts[number] += answer.status == 200

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def measure() -> list[Figure]:
    """Requests a second and processor time of each server, and how ours compares with it."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, path in models(home / "models").items():
            row = FLIGHT if name == "Pipeline" else POINT
            figures.append(Figure(name=f"{name}: the model's own work on a row", value=_own_us(path, row), unit="us"))
            rig = Rig(home, name, path, row)
            try:
                rig.wait()
                rounds = rig.measure()
            finally:
                rig.programs.close()
            figures += _figures(name, rounds)
    return figures


def _own_us(path: Path, row: dict[str, Any], calls: int = 200) -> float:
    """Processor time of a call of the bare model: what no server can be faster than."""
    import mlflow
    import pandas as pd

    model, frame = mlflow.pyfunc.load_model(str(path)).get_raw_model(), pd.DataFrame([row])
    model.predict_proba(frame)
    began = time.process_time()
    for _ in range(calls):
        model.predict_proba(frame)
    return (time.process_time() - began) / calls * 1e6


def _figures(model: str, measured: dict[str, list[tuple[float, float]]]) -> Iterator[Figure]:
    for target, rounds in measured.items():
        rate, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        yield Figure(name=f"{model}, {target}: requests a second", value=rate)
        yield Figure(name=f"{model}, {target}: processor time a request", value=cpu, unit="us")
    for target, least in TARGETS.items():
        pairs = zip(measured["ours"], measured[target], strict=True)
        ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
        yield Figure(name=f"{model}: requests a second / {target}", value=ratio, at_least=least)


def main() -> None:
    print(report("predictor", "The predictor next to others that serve the same model", measure))


if __name__ == "__main__":
    subprocess.run([sys.executable, "-c", "import mlflow, bentoml"], check=True)  # not compiled yet on a fresh clone
    main()
