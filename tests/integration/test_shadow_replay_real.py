"""The offline twin on a real MLflow model, loaded as its service would load it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sluicegate.flows.cli.shadow import replay as typed
from sluicegate.flows.rehearsal.captured import read_captured
from sluicegate.flows.rehearsal.shadow_replay import ReplayRequest, answering, compare_captured
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound, UsageError
from sluicegate.registry.words.outputs import output_kinds
from tests.doubles.catalog import MemoryCatalog

SIGNATURE = {"inputs": [], "outputs": [{"type": "string", "name": "prediction", "required": True}]}

pytestmark = pytest.mark.slow


def saved(folder: Path, cut: float) -> Path:
    import mlflow.sklearn
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    inputs = pd.DataFrame({"x": [cut - 1.0, cut - 0.5, cut + 0.5, cut + 1.0]})
    model = LogisticRegression(C=1e6).fit(inputs - cut, ["no", "no", "yes", "yes"])
    model.intercept_ -= model.coef_[0] * cut
    mlflow.sklearn.save_model(
        model, folder, signature=infer_signature(inputs, model.predict(inputs)), pip_requirements=[]
    )  # its own search takes half a minute
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two builds, of which the second says yes three requests sooner."""
    folder = tmp_path_factory.mktemp("models")
    return saved(folder / "1", 49.5), saved(folder / "2", 46.5)


def test_a_real_build_is_compared_with_another(models: tuple[Path, Path], tmp_path: Path) -> None:
    lines = [json.dumps({"inputs": [{"x": float(x)}]}) for x in range(100)] + ['{"inputs": [{"y": 1.0}]}']
    stable, candidate = (answering(each) for each in models)
    ticks = itertools.count()
    view = compare_captured(
        read_captured(lines, "f"), candidate=candidate, stable=stable,
        kinds=output_kinds(Build(ref=BuildRef(model="m", version="2"), source="")),
        request=ReplayRequest(model="m", requests_file=tmp_path / "captured.jsonl"), versions=("1", "2"),
        timer=lambda: next(ticks),
    )  # fmt: skip
    assert view.coverage.ended == {"answered": 100, "refused": 1}
    assert view.coverage.pairs == {"agree": 97, "differ": 3, "served failed": 1}
    worst = view.columns[0].confusion[0]
    assert (worst.stable, worst.candidate, worst.n) == ("no", "yes", 3)


@pytest.fixture
def command(tmp_path: Path, models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of the two builds behind the command; the folder for its files."""
    catalog = MemoryCatalog()
    for files in models:
        catalog.register("m", files=files, signature=SIGNATURE)
    found = SimpleNamespace(
        catalog=catalog, resolve=catalog.resolve, build=catalog.build, builds_folder=tmp_path / "builds"
    )
    monkeypatch.setattr("sluicegate.flows.wiring.runtime.current_runtime", lambda: found)
    return tmp_path


def test_the_command_replays_by_name_and_tells_what_it_compared_with(
    command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = command / "plain.jsonl"
    plain.write_text("\n".join(json.dumps({"inputs": [{"x": float(x)}]}) for x in range(100)))
    typed("m", source=plain, against="1", html=command / "report.html")
    told = capsys.readouterr().out
    assert told.startswith("m v2 compared with v1, replayed from plain.jsonl\n")
    assert "no -> yes 3" in told
    assert "m v1 → v2" in (command / "report.html").read_text()
    full = command / "full.jsonl"
    answered = ({"request": {"inputs": [{"x": float(x)}]}, "answer": ["yes" if x > 49 else "no"]} for x in range(100))
    full.write_text("\n".join(json.dumps(line) for line in answered))
    typed("m", source=full)
    told = capsys.readouterr().out
    assert told.startswith("m v2 compared with the captured answers, replayed from full.jsonl\n")
    assert "no -> yes 3" in told


def test_what_cannot_be_replayed_is_told_plainly(command: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.jsonl cannot be read: No such file"):
        typed("m", source=command / "none.jsonl", against="1")
    (command / "odd.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"odd\.jsonl cannot be read: not UTF-8"):
        typed("m", source=command / "odd.jsonl", against="1")
    with pytest.raises(NotFound, match="no build '7'"):
        typed("m", source=command / "none.jsonl", build="7")
