"""The predictor answers as MLflow's own scoring server would, for models that were really logged with MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sluicegate.services.bento.predictor.answer import dump, plain
from sluicegate.services.bento.predictor.model import Model, load
from sluicegate.services.bento.predictor.problem import Unacceptable
from tests.integration.bento_models import ODD, logged_models

pytestmark = pytest.mark.slow

WINE = {ODD: 3.0, "class": "red"}
FLIGHT = {"carrier": "AA", "distance": 700, "hour": 6}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return logged_models(tmp_path_factory.getbasetemp())


class Pair:
    """A model loaded by the predictor and by MLflow."""

    def __init__(self, folder: Path) -> None:
        import mlflow.pyfunc

        self.ours: Model = load(folder)
        self.theirs = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)

    def answers(self, document: Any) -> tuple[Any, Any]:
        """Ours and MLflow's, as JSON values."""
        from mlflow.pyfunc.scoring_server import invocations

        body = json.dumps(document).encode()
        told = invocations(body, "application/json", self.theirs, self.theirs.metadata.get_input_schema())
        assert told.status == 200
        return json.loads(dump({"predictions": plain(self.ours.answer(body))})), json.loads(told.response)


@pytest.fixture(scope="module")
def pairs(models: dict[str, Path]) -> dict[str, Pair]:
    return {name: Pair(folder) for name, folder in models.items()}


def split(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


SAME: list[tuple[str, dict[str, Any]]] = [
    ("delays", split(FLIGHT, FLIGHT | {"hour": 3})),
    ("delays", {"dataframe_records": [FLIGHT, FLIGHT | {"distance": 3.5}]}),
    ("delays", {"inputs": [FLIGHT | {"distance": 0.5}]}),
    ("delays", {"inputs": {key: [value, value] for key, value in (FLIGHT | {"distance": 0.5}).items()}}),
    ("delays", {"instances": [FLIGHT | {"distance": 1.5}, FLIGHT | {"distance": 2.5}]}),
    ("delays", {"dataframe_records": [FLIGHT | {"carrier": "never seen"}]}),
    ("wines", {"dataframe_records": [WINE]}),
    ("wines", {"dataframe_records": [WINE | {"naïve vintage": 2.0}, WINE]}),
    ("wines", {"dataframe_records": [WINE], "params": {"scale": 3.0}}),
    ("wines", split(WINE | {"naïve vintage": None})),
    ("bare", split({"distance": 10.0, "hour": 3})),
    ("bare", {"dataframe_records": [{"distance": 10.0, "hour": 3}]}),
    ("matrix", {"inputs": [[1.0, 2.0], [3, 4]]}),
    ("matrix", {"instances": [[1.0, 2.0]]}),
    ("nested", {"dataframe_records": [{"values": [1.5, 2]}, {"values": []}]}),
    ("nested", {"inputs": [{"values": [1.5, 2]}]}),
    ("hinted", {"inputs": ["a", "abc"]}),
    (
        "texts",
        {"dataframe_records": [{"when": "2026-01-31T12:00:00", "flag": True, "small": 1.5, "short": 3, "text": "x"}]},
    ),
]


@pytest.mark.parametrize(("name", "document"), SAME, ids=[f"{name}-{number}" for number, (name, _) in enumerate(SAME)])
def test_the_answer_is_mlflows(pairs: dict[str, Pair], name: str, document: dict[str, Any]) -> None:
    ours, theirs = pairs[name].answers(document)
    assert ours == theirs


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("delays", {"dataframe_records": [FLIGHT | {"extra": 1}]}),
    ("wines", {"dataframe_records": [WINE], "params": {"scala": 3.0}}),
    ("matrix", {"inputs": [[1.0, 2.0, 3.0]]}),
    ("matrix", {"inputs": [["a", "b"]]}),
    ("nested", {"inputs": [{"values": "x"}]}),
    ("nested", {"inputs": [{"valued": [1]}]}),
    ("nested", {"dataframe_split": {"columns": ["values"], "data": "x"}}),
    ("hinted", {"inputs": [1, 2]}),
    ("hinted", {"inputs": "x"}),
    ("bare", {"inputs": []}),
]


@pytest.mark.parametrize(
    ("name", "document"), REFUSED, ids=[f"{name}-{number}" for number, (name, _) in enumerate(REFUSED)]
)
def test_what_the_signature_excludes_is_the_senders_mistake(
    pairs: dict[str, Pair], name: str, document: dict[str, Any]
) -> None:
    with pytest.raises(Unacceptable):
        pairs[name].ours.answer(json.dumps(document).encode())


def test_what_the_model_raises_is_its_own(pairs: dict[str, Pair]) -> None:
    with pytest.raises(ValueError, match="a wine below zero"):
        pairs["wines"].ours.answer(json.dumps({"inputs": [WINE | {ODD: -1}]}).encode())


def test_scikit_learn_is_loaded_without_mlflow(models: dict[str, Path]) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from sluicegate.services.bento.predictor.model import load; "
        f"load(Path({str(models['delays'])!r})).answer(b'''{json.dumps(split(FLIGHT))}'''); "
        "sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=110).returncode == 0
