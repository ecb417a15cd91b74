"""The BentoML service of one MLflow model.

`POST /predict` answers as BentoML services do, with the bare prediction; `POST /invocations` as MLflow's scoring
server does, with `{"predictions": ...}`. Both take `{"inputs": [{"column": value}]}` and MLflow's `dataframe_split`,
`dataframe_records` and `instances`. A request that cannot be answered as sent gets 4xx with the place, reason and fix
of every problem; an exception inside the model gives 500.

`bento.json`, beside this file, says which model this is. Every answer carries `x-sluice-build` (model and version),
`x-sluice-prediction` (the prediction in one short line, for logs) and the request's own `x-request-id`.

Environment variables: `BENTO_WORKERS` is the number of worker processes, `BENTO_TIMEOUT_SECONDS` the time limit of a
request. `BENTO_BATCH_ROWS` is how many rows of waiting requests one call of the model takes. `BENTO_CAPTURE` says what
to capture of requests and answers. `BENTO_LOAD_FAILURES` is the file that gets a line whenever the model cannot be
loaded, and `PROMETHEUS_MULTIPROC_DIR` the folder in which the workers count stage times.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bentoml

from . import parent_watch, schemas
from .answer import dump, plain
from .capture import Capture
from .lane import Lane, PredictionLane
from .model import Signature, load
from .times import Times

log = logging.getLogger("bentoml.predictor")
parent_watch.remember_parent()

BUILD: dict[str, Any] = json.loads((Path(__file__).parent / "bento.json").read_text(encoding="utf-8"))
SIGNATURE = Signature(**BUILD["signature"])
NAME = f"{quote(BUILD['model'], safe='')}/{quote(BUILD['version'], safe='')}"
LANE = Lane(
    NAME,
    Capture.from_environment(os.environ, NAME),
    batch=int(os.environ.get("BENTO_BATCH_ROWS", "1")),
    times=Times(),
)


class Request(bentoml.IODescriptor):  # type: ignore[misc]
    """The schema of a request, from the model's signature."""

    inputs: Any
    params: Any = None

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        return schemas.request_schema(SIGNATURE.inputs, SIGNATURE.params)


class Answer(bentoml.IODescriptor):  # type: ignore[misc]
    """The schema of an answer, from the model's signature."""

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        return schemas.answer_schema(SIGNATURE.outputs)


@bentoml.service(
    name="Predictor",
    workers=int(os.environ.get("BENTO_WORKERS", "1")),
    traffic={"timeout": float(os.environ.get("BENTO_TIMEOUT_SECONDS", "60"))},
    # The gateway in front logs and counts every request. Doing it twice would cost more than most models.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ["/predict", "/invocations"]},
)
class Predictor:
    """Answers with the predictions of one registered model version."""

    stored = bentoml.models.BentoModel(BUILD["bento_model"])

    def __init__(self) -> None:
        parent_watch.end_with_parent()
        folder = Path(self.stored.path_of("mlflow"))
        try:
            self.model = load(folder)
        except BaseException as error:
            reason = f"{type(error).__name__}: " + str(error).partition("\n")[0]
            log.critical("the model cannot be loaded: %s", reason)
            if failures := os.environ.get("BENTO_LOAD_FAILURES"):
                with Path(failures).open("a", encoding="utf-8") as file:
                    file.write(f"{reason}\n")
            raise
        self._warm_up(folder)
        LANE.model = self.model

    @bentoml.api(route="/predict", input_spec=Request, output_spec=Answer)  # type: ignore[untyped-decorator]
    def predict(self, inputs: Any, params: Any = None) -> Any:
        """The prediction for each row of `inputs`. For calls from Python; over HTTP the prediction lane answers."""
        return plain(self.model.answer(dump({"inputs": inputs, "params": params})))

    @bentoml.api(route="/invocations", input_spec=Request, output_spec=Answer)  # type: ignore[untyped-decorator]
    def invocations(self, inputs: Any, params: Any = None) -> Any:
        """The same in the form of MLflow's scoring server: `{"predictions": [...]}`."""
        return {"predictions": self.predict(inputs, params)}

    def _warm_up(self, folder: Path) -> None:
        """Answer the model's own example once, so that the first caller does not wait for late imports."""
        example = folder / "serving_input_example.json"
        if example.exists():
            try:
                self.model.answer(example.read_bytes())
            except BaseException:  # a model that calls sys.exit fails its requests, not its worker
                log.exception("the model cannot answer its own input example")


Predictor.add_asgi_middleware(PredictionLane, lane=LANE)  # type: ignore[attr-defined]
