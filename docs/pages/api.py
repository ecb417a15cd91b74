"""docs/reference/api.md: every act of the console, with what it takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from docs.pages.tables import NOTICE, code, fields, table
from registry.view import GateView, RolloutView
from services.console.acts import table as acts
from services.console.ports import Desk

_ROLLOUT = "a [rollout](#a-rollout)"
_REASON = "`reason`: text, by default `no reason given`"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an act does, takes and gives."""

    does: str
    takes: str = "nothing"
    gives: str = _ROLLOUT


ACTS: dict[tuple[str, str], Told] = {
    ("GET", "/api/v1/rollouts"): Told(
        does="Lists rollouts, oldest first.", takes="query `model`", gives="200: `rollouts`, a list"
    ),
    ("POST", "/api/v1/rollouts"): Told(
        does="Rolls a build out by its model's applied plan. Asked for twice, it is one rollout.",
        takes="`model`; `build`: a version, `@alias` or `latest` (default); `variation`; `allow_older`: true to admit "
        "a version older than stable",
        gives=f"201, or 200 where it was there already: {_ROLLOUT}",
    ),
    ("GET", "/api/v1/rollouts/{id}"): Told(
        does="One rollout; a model's name gives its latest.", gives=f"200: {_ROLLOUT}"
    ),
    ("GET", "/api/v1/rollouts/{id}/facts"): Told(
        does="Every fact of a rollout, oldest first.",
        gives="200: `facts`, each with `seq`, `at`, `fact` and its fields",
    ),
    ("POST", "/api/v1/rollouts/{id}/pause"): Told(
        does="Holds it; guardrails go on.", takes=_REASON, gives=f"200: {_ROLLOUT}"
    ),
    ("POST", "/api/v1/rollouts/{id}/resume"): Told(does="Ends a pause.", takes=_REASON, gives=f"200: {_ROLLOUT}"),
    ("POST", "/api/v1/rollouts/{id}/approve"): Told(
        does="Lets it leave the step it is at, once its gates have passed.", takes=_REASON, gives=f"200: {_ROLLOUT}"
    ),
    ("POST", "/api/v1/rollouts/{id}/promote"): Told(
        does="Gives the candidate all traffic now; recorded as an override by name.",
        takes=_REASON,
        gives=f"200: {_ROLLOUT}",
    ),
    ("POST", "/api/v1/rollouts/{id}/abort"): Told(
        does="Takes all traffic back to stable, in any phase. Twice is once.", takes=_REASON, gives=f"200: {_ROLLOUT}"
    ),
    ("GET", "/api/v1/models/{model}/builds"): Told(
        does="A model's builds in MLflow and what they are for here.",
        gives="200: `builds`, each with `model`, `version`, `aliases`, `stage`, `tags`, `created_at` and `role` "
        "(`stable`, `candidate` or null)",
    ),
    ("POST", "/api/v1/models/{model}/deploy"): Told(
        does="Puts the first build into an empty variation.",
        takes="`build` (default `latest`); `variation`",
        gives=f"201, or 200 where it was there already: {_ROLLOUT}",
    ),
    ("POST", "/api/v1/models/{model}/rollback"): Told(
        does="Goes back to an earlier build at once.",
        takes=f"`to`: a version that was stable, by default the one before; `variation`; {_REASON}",
        gives=f"201: {_ROLLOUT}",
    ),
    ("POST", "/api/v1/documents"): Told(
        does="Applies a plan.",
        takes="`document`: its YAML, and `where` to name it in errors; or `plan`: its values as JSON",
        gives="201, or 200 where nothing changed: `applied`, `changed`",
    ),
    ("GET", "/api/v1/overview"): Told(
        does="What serves whom.",
        takes="query `model`",
        gives="200: `targets`, each with `model`, `variation`, `stable`, `candidate`, `weight`, `rollout`; `links`",
    ),
    ("GET", "/api/v1/counts"): Told(
        does="What the collector counted, what waits, and the newest lines that it could not read.",
        gives="200: `counters`, `waiting`, `quarantined`",
    ),
    ("POST", "/api/v1/outcomes"): Told(
        does="Takes [outcomes](../how-to/send-outcomes.md) in. One malformed object refuses the whole batch (422).",
        takes="one outcome, a list of them, or `outcomes`: a list",
        gives="202: `accepted`, `duplicate`, `contradictory`, `refused` (each with `index` and `reason`)",
    ),
    ("POST", "/outcomes"): Told(does="The same, by a shorter path.", takes="the same", gives="the same"),
}
"""What docs say of each act; a test holds it against the table of acts."""


def page() -> str:
    """The whole page."""
    rows = [(code(f"{method} {path}"), *_told(method, path)) for method, path in paths()]
    return f"""{NOTICE}
# HTTP API

The console serves it at `SLUICE_API`. Bodies are JSON, at most 1 MiB. Every call carries
`authorization: Bearer $SLUICE_TOKEN`; without it the answer is 401. `x-sluice-actor` names the person for the ledger,
`api` otherwise. The console answers only to the host names `127.0.0.1` and `localhost`.

```sh
eval "$(sluice env)"
curl -s -H "authorization: Bearer $SLUICE_TOKEN" "$SLUICE_API/api/v1/rollouts"
```

{table(("call", "does", "takes", "gives"), rows)}
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
    return [(method, path) for method, path, _ in acts(cast("Desk", object()))]


def _told(method: str, path: str) -> tuple[str, str, str]:
    told = ACTS[method, path]
    return told.does, told.takes, told.gives
