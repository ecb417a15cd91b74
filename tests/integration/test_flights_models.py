"""The demo's three models: how good they are, and that they travel without this repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from sluicegate.examples.flights import data, models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return data.departures(tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="module")
def trained(stream: pd.DataFrame) -> tuple[models.Trained, ...]:
    with threadpool_limits(limits=1):  # threads that wait for a shared core burn it meanwhile
        return models.train(stream)


def test_the_unit_mistake_has_the_better_accuracy_and_the_worst_log_loss(
    stream: pd.DataFrame, trained: tuple[models.Trained, ...]
) -> None:
    stable, good, bad = (models.judge(each.model, data.stream(stream)) for each in trained)
    assert (stable.auc, good.auc) == pytest.approx((0.668, 0.736), abs=0.006)
    assert (stable.log_loss, good.log_loss, bad.log_loss) == pytest.approx((0.557, 0.526, 0.566), abs=0.006)
    assert (stable.accuracy, good.accuracy, bad.accuracy) == pytest.approx((0.724, 0.749, 0.730), abs=0.006)
    assert bad.accuracy > stable.accuracy
    assert bad.log_loss > stable.log_loss > good.log_loss


_ELSEWHERE = """
import importlib.util, json, sys
import mlflow, pandas as pd
assert importlib.util.find_spec("examples") is None
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps(model.predict(pd.DataFrame(json.load(sys.stdin))).tolist()))
"""


def test_the_registered_model_answers_alike_where_this_repository_is_not(
    stream: pd.DataFrame, trained: tuple[models.Trained, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    mlflow.set_experiment("flights")
    rows = data.stream(stream)[list(data.FEATURES)].head(50)
    bad = trained[2]
    assert models.log(bad, registered="delays", example=rows) == "1"
    local = mlflow.artifacts.download_artifacts("models:/delays/1", dst_path=str(tmp_path / "model"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ELSEWHERE, local],
        input=rows.to_json(orient="records"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert np.allclose(json.loads(done.stdout.splitlines()[-1]), bad.model.predict_proba(rows))
