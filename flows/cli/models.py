"""rollback, builds, predict, outcome, overview."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli import completing
from sluicegate.flows.cli.output import Format, Output, emit, emit_rows, remark
from sluicegate.flows.cli.reach import call, opener, segment
from sluicegate.flows.cli.tree import tree
from sluicegate.flows.cli.waiting import Timeout, Wait, until_it_serves
from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.words.errors import SluiceError, Unreachable, UsageError
from sluicegate.registry.words.figures import Unit, measured, moment, number, per_cent
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.addresses import gateway_url

Model = Annotated[str, Parameter(help="The MLflow registered model.", completer=completing.models)]
Build = Annotated[str, Parameter(help="A version, an alias such as @champion, or latest.")]
Variation = Annotated[str, Parameter(help="The slot of the model.", completer=completing.variations)]


def rollback(
    model: Model,
    *,
    to: Annotated[str | None, Parameter(help="The version to go back to; by default the previous stable one.")] = None,
    variation: Variation = "default",
    reason: Annotated[
        str, Parameter(name=["--reason", "-m"], help="The reason, which the ledger records.")
    ] = "no reason given",
    wait: Wait = True,
    timeout: Timeout = 300.0,
    output: Output = Format.TABLE,
) -> None:
    """Return to an earlier build at once: a new rollout, promoted by your override when its service answers."""
    body = {"to": to, "variation": variation, "reason": reason}
    view = call("POST", f"/api/v1/models/{segment(model)}/rollback", body)
    view = until_it_serves(view, timeout) if wait else view
    emit(view, output, table=tree(view))


def builds(model: Model, *, output: Output = Format.TABLE) -> None:
    """List a model's builds in MLflow, and which of them are stable or candidate here."""
    listed = call("GET", f"/api/v1/models/{segment(model)}/builds")["builds"]
    for note in (build["note"] for build in listed if build["note"]):
        remark(f"warning: {note}")
    emit_rows(
        listed, output,
        ("BUILD", "ROLE", "ALIASES", "STAGE", "CREATED"),
        lambda b: (
            f"v{b['version']}", b["role"], ", ".join(b["aliases"]) or None, b["stage"], (b["created_at"] or "")[:19],
        ),
        none=f"MLflow has no versions of {model}: register one, or check the spelling",
    )  # fmt: skip


def overview(
    model: Annotated[str | None, Parameter(help="Only this model.")] = None, *, output: Output = Format.TABLE
) -> None:
    """Show which builds answer which audience: desired and observed share, requests, errors, latency."""
    served = list(_served(model))
    targeted = {row["model"] for row in served if row["audience"] != FALLBACK}
    emit_rows(
        served, output,
        ("MODEL", "AUDIENCE", "VARIATION", "BUILD", "ARM", "DESIRED", "OBSERVED", "VERDICT", "REQ/S", "ERRORS", "P95",
         "SINCE (UTC)", "ROLLOUT"),
        lambda s: (
            s["model"], _whose(s, targeted), s["variation"], f"v{s['build']}", s["arm"], per_cent(s["desired"]),
            per_cent(s["observed"]), s["verdict"], number(s["requests_per_second"]), per_cent(s["error_rate"]),
            None if s["p95"] is None else measured(s["p95"] / 1000, Unit.SECONDS),
            None if s["since"] is None else moment(datetime.fromisoformat(s["since"])), s["rollout"],
        ),
        none="nothing is served yet; to deploy a first build: sluice deploy MODEL --build 1",
    )  # fmt: skip


def _whose(row: Mapping[str, Any], targeted: Container[str]) -> str:
    """The audience for people. `targeted`: models of which some audience has its own variation."""
    if row["audience"] != FALLBACK:
        return str(row["audience"])
    return "everybody else" if row["model"] in targeted else "everybody"


def _served(model: str | None) -> Iterator[dict[str, Any]]:
    """Every row, page by page."""
    after: str | None = ""
    while after is not None:
        page = call("GET", "/api/v1/overview", query={"model": model, "after": after or None})
        if page["unread"] and not after:
            remark(f"no observations at present: {page['unread']}")
        yield from page["served"]
        after = page["next_after"]


def predict(
    model: Model,
    *,
    data: Annotated[
        str, Parameter(help='JSON: a record, a list of records, or an MLflow payload; "@file" reads it from a file.')
    ],
    unit: Annotated[str | None, Parameter(help="The id that is hashed; the plan names its header.")] = None,
    unit_header: Annotated[str, Parameter(help="The header that carries the unit.")] = "x-user-id",
    metadata: Annotated[tuple[str, ...], Parameter(help="name=value, sent as a header.", negative=())] = (),
    output: Output = Format.JSON,
) -> None:
    """Ask a model for a prediction. Prints which build answered, and the id for its outcome."""
    headers = {"content-type": "application/json", **dict(pair(text) for text in metadata)}
    if unit is not None:
        headers[unit_header] = unit
    payload = _payload(data)
    settings = Settings.read()
    gateway = gateway_url(settings)
    if settings.gateway_token is not None and gateway.startswith("https:"):
        headers["authorization"] = f"Bearer {settings.gateway_token}"
    target = f"{gateway}/{segment(model)}/predict"
    request = urllib.request.Request(target, data=json.dumps(payload).encode(), headers=headers, method="POST")
    try:
        with opener(settings.ca).open(request, timeout=30) as answer:
            prediction = {
                "prediction_id": f"{answer.headers['x-request-id']}.0",
                "build": answer.headers["x-sluice-build"],
                "answer": json.load(answer),
            }
    except urllib.error.HTTPError as error:
        raise _refusal(model, error.code, error.read().decode(errors="replace")) from None
    except (urllib.error.URLError, OSError) as error:
        raise Unreachable(f"the gateway at {gateway} does not answer: {error}.", fix="sluice up") from error
    emit(prediction, output)


def outcome(
    prediction_id: Annotated[str, Parameter(help="The id that sluice predict printed: REQUEST.ROW.")],
    name: Annotated[str, Parameter(help="The outcome's name in the plan's metric.")],
    value: Annotated[str, Parameter(help="A number, true or false, or a text.")],
    *,
    at: Annotated[str | None, Parameter(help="When it was measured, ISO 8601; by default now.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Send what was measured after a prediction. It may be late; sent twice, it counts once."""
    body: dict[str, object] = {"prediction_id": prediction_id, "name": name, "value": _value(value)}
    if at is not None:
        body["at"] = at
    receipt = call("POST", "/api/v1/outcomes", [body])
    for refusal in receipt["refused"]:
        raise UsageError(f"{refusal['reason']}.")
    emit(receipt, output, table=_outcome_result(receipt))


def _outcome_result(receipt: Mapping[str, Any]) -> str:
    """One line on what happened to an outcome."""
    result = next(what for what in ("accepted", "duplicate", "contradictory") if receipt[what])
    means = {
        "duplicate": ": it was reported before",
        "contradictory": ": another value was reported before, and that one counts",
    }
    waits = ", waiting for its prediction: the gateway has logged none with this id yet" if receipt["waiting"] else ""
    return f"{result}{means.get(result, '')}{waits}"


def _refusal(model: str, status: int, text: str) -> SluiceError:
    """The error for a request that the gateway or the service refused, with the fixes that they name."""
    kind = UsageError if 400 <= status < 500 else SluiceError
    try:
        problem_document = json.loads(text)
        what, problems = str(problem_document["error"]), problem_document.get("problems", [])
        fixes = [str(problem["fix"]) for problem in problems if problem.get("fix")]
    except (ValueError, TypeError, LookupError, AttributeError):
        what, fixes = text.strip()[:2000], []
    if status == HTTPStatus.NOT_FOUND and not fixes:
        fixes = [f"sluice deploy {model} --build 1, or see what is served: sluice overview"]
    return kind(f"{model} answered {status}: {what}", fix=" ".join(fixes) or None)


def _payload(data: str) -> object:
    try:
        text = Path(data[1:]).read_text(encoding="utf-8") if data.startswith("@") else data
    except OSError as error:
        raise UsageError(f"--data: {data[1:]} cannot be read: {error.strerror}.", fix="check the path.") from error
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--data is not JSON: {error}.", fix="""--data '{"hour": 7}'""") from error
    payloads = ("inputs", "instances", "dataframe_split", "dataframe_records")
    if isinstance(value, dict) and any(name in value for name in payloads):
        return value
    return {"inputs": value if isinstance(value, list) else [value]}


def pair(text: str) -> tuple[str, str]:
    """The name and the value of name=value. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--metadata {text!r} is not name=value.")
    return name, value


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
