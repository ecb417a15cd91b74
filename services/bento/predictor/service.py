"""The BentoML service of one MLflow model.

`POST /predict` answers as BentoML services do, with the bare prediction; `POST /invocations` as MLflow's scoring
server does, with `{"predictions": ...}`. Both take `{"inputs": [{"column": value}]}` and MLflow's `dataframe_split`,
`dataframe_records` and `instances`. A request that cannot be answered as it stands gets 4xx with every problem's
place, reason and fix; an exception inside the model is a 500.

`bento.json`, beside this file, says which model this is. Every answer carries `x-sluice-build` (model and version),
`x-sluice-prediction` (the prediction in one short line, for whoever logs answers) and the request's own
`x-request-id`.

`BENTO_WORKERS` and `BENTO_TIMEOUT_SECONDS` in the environment say how many processes answer, and for how long they try.
"""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import bentoml
from starlette.requests import Request
from starlette.responses import Response

from . import document, guard
from .answer import dump, plain, summary
from .model import Signature, load
from .problem import Unacceptable, refuse

log = logging.getLogger("bentoml.predictor")
guard.remember_parent()

BUILD: dict[str, Any] = json.loads((Path(__file__).parent / "bento.json").read_text(encoding="utf-8"))
SIGNATURE = Signature(**BUILD["signature"])
BUILD_HEADER = f"{quote(BUILD['model'], safe='')}/{quote(BUILD['version'], safe='')}"
_JSON = re.compile(r"application/(?:[\w.-]+\+)?json(?:;\s*charset=\"?utf-?8\"?)?\s*\Z", re.IGNORECASE)


class Body(bentoml.IODescriptor):  # type: ignore[misc]
    """A request as it came: it is read in one pass, by the model's own reader."""

    __root_input__: ClassVar[bool] = True
    content: bytes
    content_type: str
    request_id: str | None

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Body:  # noqa: ARG003
        headers = request.headers
        body: Body = cls.model_construct(
            content=await request.body(),
            content_type=headers.get("content-type", "application/json"),
            request_id=headers.get("x-request-id"),
        )
        return body

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        return document.request_schema(SIGNATURE.inputs, SIGNATURE.params)


class Answer(bentoml.IODescriptor):  # type: ignore[misc]
    """What comes back; written by the service itself."""

    @classmethod
    def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
        return document.answer_schema(SIGNATURE.outputs)


@bentoml.service(
    name="Predictor",
    workers=int(os.environ.get("BENTO_WORKERS", "1")),
    traffic={"timeout": float(os.environ.get("BENTO_TIMEOUT_SECONDS", "60"))},
    # The gateway in front logs and counts every request; doing it twice costs more than most models do.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ["/predict", "/invocations"]},
)
class Predictor:
    """Answers with the predictions of one registered model version."""

    stored = bentoml.models.BentoModel(BUILD["bento_model"])

    def __init__(self) -> None:
        guard.end_with_parent()
        folder = Path(self.stored.path_of("mlflow"))
        try:
            self.model = load(folder)
        except Exception as error:
            log.critical("the model cannot be loaded: %s: %s", type(error).__name__, str(error).partition("\n")[0])
            raise
        self._warm_up(folder)

    @bentoml.api(route="/predict", input_spec=Body, output_spec=Answer)  # type: ignore[untyped-decorator]
    def predict(self, body: Body) -> Any:
        """The prediction for each row of `inputs`."""
        return self._respond(body, wrapped=False)

    @bentoml.api(route="/invocations", input_spec=Body, output_spec=Answer)  # type: ignore[untyped-decorator]
    def invocations(self, body: Body) -> Any:
        """The same as MLflow's scoring server answers: `{"predictions": [...]}`."""
        return self._respond(body, wrapped=True)

    def _respond(self, body: Body, *, wrapped: bool) -> Response:
        headers = {"x-sluice-build": BUILD_HEADER}
        if body.request_id:
            headers["x-request-id"] = body.request_id
        try:
            if not _JSON.match(body.content_type):
                raise refuse(
                    "content-type", f"{body.content_type} is not read here", "Send application/json.", status=415
                )
            answer = plain(self.model.answer(body.content))
            headers["x-sluice-prediction"] = summary(answer)
            content = dump({"predictions": answer} if wrapped else answer)
            return Response(content, headers=headers, media_type="application/json")
        except Unacceptable as error:
            told = {"error": str(error), "problems": [problem.as_json() for problem in error.problems]}
            return Response(dump(told), status_code=error.status, headers=headers, media_type="application/json")
        except Exception as error:
            log.exception("the model failed")
            told = {"error": f"the model raised {type(error).__name__}: {str(error)[:200]}"}
            return Response(dump(told), status_code=500, headers=headers, media_type="application/json")

    def _warm_up(self, folder: Path) -> None:
        """Answer the model's own example once, so that the first caller does not pay for late imports."""
        example = folder / "serving_input_example.json"
        if example.exists():
            try:
                self.model.answer(example.read_bytes())
            except Exception:
                log.exception("the model does not answer its own input example")
