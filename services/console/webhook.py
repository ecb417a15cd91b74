"""The receiver of MLflow's webhooks. A webhook only means "look now": its content is never acted on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from standardwebhooks.webhooks import Webhook
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.services.console.json_body import read_json
from sluicegate.services.console.ports import Desk

LARGEST_DELIVERY = 64 * 1024
_HEADERS = {
    "webhook-id": "x-mlflow-delivery-id",
    "webhook-timestamp": "x-mlflow-timestamp",
    "webhook-signature": "x-mlflow-signature",
}


def receiver(desk: Desk) -> Callable[[Request], Awaitable[JSONResponse]]:
    """The endpoint: checks signature and age, ignores repeated deliveries, then looks at the catalog."""

    async def receive(request: Request) -> JSONResponse:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_DELIVERY:
                return _refused("the delivery is too large", 413)
        headers = {name: request.headers.get(theirs, "") for name, theirs in _HEADERS.items()}
        if not is_genuine(desk.webhook_secret, headers, body):
            return _refused("the delivery has a wrong signature, is too old or is malformed", 401)
        try:
            entity = _entity(body)
        except UsageError as error:
            return _refused(error.message, 422)
        key = f"webhook:{headers['webhook-id']}"
        try:
            if await run_in_threadpool(desk.ledger.recall, key) is not None:
                return JSONResponse({"seen": "before"})
            started = await run_in_threadpool(desk.look_at_catalog)
            delivery: dict[str, object] = {"at": desk.clock().isoformat(), "entity": entity}
            await run_in_threadpool(desk.ledger.remember, key, delivery)
        except SluiceError as error:  # from MLflow or the ledger, such as a full disk; MLflow delivers again
            return _refused(error.message, 503)
        return JSONResponse({"started": list(started)})

    return receive


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether MLflow signed this recently. The library raises various errors on garbage; all of them mean no."""
    try:
        Webhook(secret.encode()).verify(body, headers)
    except Exception:  # noqa: BLE001
        return False
    return True


def _entity(body: bytes) -> str:
    """The entity of the delivery. Raises UsageError if the body is not a JSON object."""
    delivery = read_json(body)
    if not isinstance(delivery, dict):
        raise UsageError("a delivery is a JSON object.")
    return str(delivery.get("entity"))[:80]


def _refused(why: str, status: int) -> JSONResponse:
    return JSONResponse({"title": "refused", "detail": why, "status": status}, status_code=status)
