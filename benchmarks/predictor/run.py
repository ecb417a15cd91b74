"""Our predictor against a hand-written BentoML service and `mlflow models serve`, same model, one worker each.

One row at a time from a few callers; one row at a time from many, with `serve.batch` and without; and a body of 1 MiB.
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

ROUNDS, SECONDS, CALLERS, MANY_CALLERS, LARGE_BYTES = 7, 2.0, 4, 64, 1 << 20
LEAST, LEAST_BATCHED, LEAST_LARGE = 2.0, 3.0, 2.0
"""Times the requests a second of others; the first where the model's own work is under half of ours."""
Targets = dict[str, tuple[str, int | str, str, bytes]]
"""Program, place, path and body of each server."""
Rounds = dict[str, list[tuple[float, float]]]
"""Requests a second and processor microseconds a request, of each server and round."""
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
    matrix = points.to_numpy()
    fitted_matrix = LogisticRegression().fit(matrix, rows.distance > 1500)
    mlflow.sklearn.save_model(
        fitted_matrix,
        folder / "Matrix",
        signature=mlflow.models.infer_signature(matrix, fitted_matrix.predict_proba(matrix)),
        pip_requirements=["mlflow", "skops"],
        pyfunc_predict_fn="predict_proba",
    )
    return {name: folder / name for name in (*fitted, "Matrix")}


class Rig:
    """The servers of one model: ours, ours with batches, one written by hand, and MLflow's."""

    def __init__(self, home: Path, name: str, model: Path, row: Any) -> None:
        self.programs = DirectPrograms()
        packer = Packer(home / "bento", clock=lambda: datetime.now(UTC))
        fleet = Fleet(home / "services", bentos=home / "bento", programs=self.programs)
        body, large = _body("inputs", [row]), _large("inputs", row)
        self.one: Targets = {}
        for version, target, serve in (("1", "ours", Serve()), ("2", "ours in batches", Serve(batch=MANY_CALLERS))):
            ref = BuildRef(model=name.lower(), version=version)
            fleet.start(ref, packer.pack(Build(ref=ref, source="x"), model, serve=serve), serve)
            self.one[target] = (f"{ref.model}.v{version}", fleet.endpoints()[ref][0].socket, "/predict", body)
        self.large: Targets = {"ours": (*self.one["ours"][:3], large)}
        ports = {"hand": free_port(), "mlflow": free_port()}
        serve_mlflow = f"uvicorn mlflow.pyfunc.scoring_server.app:app --port {ports['mlflow']} --log-level warning"
        self._add(home, "mlflow", serve_mlflow, home, __pyfunc_model_path__=str(model))
        key = "dataframe_records" if isinstance(row, dict) else "inputs"
        self.one["mlflow"] = ("mlflow", ports["mlflow"], "/invocations", _body(key, [row]))
        self.large["mlflow"] = (*self.one["mlflow"][:3], _large(key, row))
        if isinstance(row, dict):
            serve_hand = f"bentoml serve handwritten:{name} --host 127.0.0.1 --port {ports['hand']}"
            bentoml_home, skops = str(home / f"hand-{name}"), str(model / "model.skops")
            self._add(home, "hand", serve_hand, Path(__file__).parent, MODEL=skops, BENTOML_HOME=bentoml_home)
            self.one["hand"] = ("hand", ports["hand"], "/predict", body)

    def _add(self, home: Path, name: str, module: str, cwd: Path, **env: str) -> None:
        command = (sys.executable, "-m", *module.split())
        environment = bare_environment(os.environ) | env
        log = home / f"{name}.log"
        self.programs.add(Program(name=name, command=command, cwd=cwd, log=log, env=environment, stop_seconds=10))

    def wait(self) -> None:
        for _, place, path, body in self.one.values():
            while not _answers(place, path, body):
                time.sleep(0.5)

    def measure(self, targets: Targets, callers: int) -> Rounds:
        rounds: Rounds = {name: [] for name in targets}
        for _ in range(ROUNDS):
            for name, (program, place, path, body) in targets.items():
                tree = [psutil.Process(self.programs.process(program).pid)]
                tree += tree[0].children(recursive=True)
                before, began = _cpu(tree), time.monotonic()
                answered = _load(place, path, body, callers)
                rounds[name].append((answered / (time.monotonic() - began), (_cpu(tree) - before) / answered * 1e6))
        return rounds


def _body(key: str, rows: list[Any]) -> bytes:
    return json.dumps({key: rows}).encode()


def _large(key: str, row: Any) -> bytes:
    return _body(key, [row] * (LARGE_BYTES // len(json.dumps(row) + ", ")))


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


def _load(place: int | str, path: str, body: bytes, callers: int) -> int:
    counts = [0] * callers
    end = time.monotonic() + SECONDS

    def client(number: int) -> None:
        connection = connect(place, 30)
        while time.monotonic() < end:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            counts[number] += answer.status == 200

    threads = [threading.Thread(target=client, args=(number,)) for number in range(callers)]
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
            row = {"Pipeline": FLIGHT, "Linear": POINT, "Matrix": list(POINT.values())}[name]
            rig = Rig(home, name, path, row)
            try:
                rig.wait()
                figures += _of_model(rig, name, path, row)
            finally:
                rig.programs.close()
    return figures


def _of_model(rig: Rig, name: str, path: Path, row: Any) -> Iterator[Figure]:
    large = rig.measure(rig.large, 1)
    yield from _figures(f"{name}, 1 MiB", large)
    yield _ratio(f"{name}, 1 MiB: requests a second / mlflow", large, "ours", "mlflow", LEAST_LARGE)
    if name == "Matrix":
        return
    own = _own_us(path, row)
    yield Figure(name=f"{name}: the model's own work on a row", value=own, unit="us")
    rounds = rig.measure({each: target for each, target in rig.one.items() if each != "ours in batches"}, CALLERS)
    yield from _figures(name, rounds)
    is_mostly_model = own > statistics.median(cpu for _, cpu in rounds["ours"]) / 2
    for theirs in ("hand", "mlflow"):
        least = None if is_mostly_model else LEAST
        yield _ratio(f"{name}: requests a second / {theirs}", rounds, "ours", theirs, least)
    rounds = rig.measure({each: rig.one[each] for each in ("ours", "ours in batches")}, MANY_CALLERS)
    yield from _figures(f"{name}, {MANY_CALLERS} callers", rounds)
    least = LEAST_BATCHED if is_mostly_model else None
    yield _ratio(f"{name}, {MANY_CALLERS} callers: in batches / alone", rounds, "ours in batches", "ours", least)


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


def _figures(subject: str, measured: Rounds) -> Iterator[Figure]:
    for target, rounds in measured.items():
        rate, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        yield Figure(name=f"{subject}, {target}: requests a second", value=rate)
        yield Figure(name=f"{subject}, {target}: processor time a request", value=cpu, unit="us")


def _ratio(name: str, measured: Rounds, ours: str, theirs: str, least: float | None) -> Figure:
    pairs = zip(measured[ours], measured[theirs], strict=True)
    return Figure(name=name, value=statistics.median(mine[0] / other[0] for mine, other in pairs), at_least=least)


def main() -> None:
    print(report("predictor", "The predictor next to others that serve the same model", measure))


if __name__ == "__main__":
    subprocess.run([sys.executable, "-c", "import mlflow, bentoml"], check=True)  # not compiled yet on a fresh clone
    main()
