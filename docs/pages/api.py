"""docs/reference/api.md: every act of the console, with what it takes and gives."""

from __future__ import annotations

from typing import cast

from docs.pages.tables import NOTICE, code, fields, table
from sluicegate.registry.report.view import GateView, RolloutView
from sluicegate.services.console.acts.table import table as operations
from sluicegate.services.console.operations import Nothing, Operation
from sluicegate.services.console.ports import Desk


def page() -> str:
    """The whole page."""
    rows = [_row(operation) for operation in _operations()]
    return f"""{NOTICE}
# HTTP API

The console serves it at `SLUICE_API`. Bodies are JSON, at most 1 MiB. Every call carries
`authorization: Bearer $SLUICE_TOKEN`; without it the answer is 401. `x-sluice-actor` names the person for the ledger,
`api` otherwise. The console answers only to the host names `127.0.0.1` and `localhost`.

```sh
eval "$(sluice env)"
curl -s -H "authorization: Bearer $SLUICE_TOKEN" "$SLUICE_API/api/v1/rollouts"
```

{table(("call", "role", "does", "takes", "gives"), rows)}
Errors are [problems](errors.md): 401 no token, 404 not there, 409 the present state does not allow it, 422 not well
formed, 503 a server that is needed does not answer.

`GET /metrics`, with the token, is for Prometheus.

Without a token: `GET /healthz` (the process lives) and `POST /webhooks/mlflow` (signed by MLflow, only ever
means "look now").

## A rollout

Weights in per cent, times in UTC (ISO 8601), durations in seconds.

{fields(RolloutView)}
## Its gates

The last verdict on record of each gate and guardrail; [what they mean](../how-to/write-a-plan.md#what-a-verdict-means).

{fields(GateView)}"""


def paths() -> list[tuple[str, str]]:
    """Every (method, path) that the console answers with JSON."""
    return [(operation.method, operation.path) for operation in _operations()]


def _operations() -> tuple[Operation, ...]:
    return operations(cast("Desk", object()))


def _row(it: Operation) -> tuple[str, str, str, str, str]:
    gives = "; ".join(f"{status}: {words}" for status, words in it.gives.items())
    return code(f"{it.method} {it.path}"), it.role.name.lower(), it.summary, _takes(it), gives


def _takes(it: Operation) -> str:
    query = [f"query `{name}`: {words}" for name, words in it.query.items()]
    body = [f"`{name}`: {field.description}" for name, field in it.takes.model_fields.items() if name != "root"]
    whole = [] if body or it.takes is Nothing else [str(it.takes.__doc__)]
    return "<br>".join([*query, *body, *whole]) or "nothing"
