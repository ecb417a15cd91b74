"""The offline twin on a real MLflow model, loaded as its service would load it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from flows.shadow_captured import read_captured
from flows.shadow_replay import Replay, answering, compare_captured
from registry.build import Build, BuildRef
from registry.outputs import output_kinds

pytestmark = pytest.mark.slow


def saved(folder: Path, cut: float) -> Path:
    import mlflow.sklearn
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    inputs = pd.DataFrame({"x": [cut - 1.0, cut - 0.5, cut + 0.5, cut + 1.0]})
    model = LogisticRegression(C=1e6).fit(inputs - cut, ["no", "no", "yes", "yes"])
    model.intercept_ -= model.coef_[0] * cut
    mlflow.sklearn.save_model(model, folder, signature=infer_signature(inputs, model.predict(inputs)))
    return folder


def test_a_real_build_is_compared_with_another(tmp_path: Path) -> None:
    lines = [json.dumps({"inputs": [{"x": float(x)}]}) for x in range(100)] + ['{"inputs": [{"y": 1.0}]}']
    stable, candidate = answering(saved(tmp_path / "1", 49.5)), answering(saved(tmp_path / "2", 46.5))
    ticks = itertools.count()
    view = compare_captured(
        read_captured(lines, "f"), candidate=candidate, stable=stable,
        kinds=output_kinds(Build(ref=BuildRef(model="m", version="2"), source="")),
        asked=Replay(model="m", source=tmp_path / "captured.jsonl"), versions=("1", "2"), timer=lambda: next(ticks),
    )  # fmt: skip
    assert view.coverage.ended == {"answered": 100, "refused": 1}
    assert view.coverage.pairs == {"agree": 97, "differ": 3, "served failed": 1}
    worst = view.columns[0].confusion[0]
    assert (worst.stable, worst.candidate, worst.n) == ("no", "yes", 3)
