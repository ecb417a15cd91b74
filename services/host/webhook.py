"""The webhook by which our MLflow server makes the console look now. Polling finds the same up to five seconds
later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sluicegate.registry.words.errors import ServiceFailed, Unreachable
from sluicegate.services.host.authorization import mlflow_authorization
from sluicegate.services.host.installation import CONSOLE, MLFLOW, Site
from sluicegate.services.host.keys import Keys
from sluicegate.services.host.parts import HttpProbe
from sluicegate.services.host.wire import ask

PATH = "/webhooks/mlflow"
_EVENTS = (
    {"entity": "MODEL_VERSION", "action": "CREATED"},
    {"entity": "MODEL_VERSION_TAG", "action": "SET"},
    {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"},
    {"entity": "MODEL_VERSION_ALIAS", "action": "DELETED"},
)
_SECONDS = 15.0


class Webhook:
    """A step of raising. Registers the webhook once, and again only if the console's address or the secret has
    changed."""

    name = "webhook"
    after = (MLFLOW, CONSOLE)

    def __init__(self, site: Site, keys: Keys, clients: Mapping[str, str], *, console: str | None = None) -> None:
        """`console`: the URL by which MLflow reaches the console, if that differs from the console's own."""
        self.target = f"{(console or site.urls()[CONSOLE]).rstrip('/')}{PATH}"
        self._secret = keys.webhook_secret
        self.server = site.mlflow_url
        self._headers = mlflow_authorization(clients)
        self._prefix = f"sluice-{hashlib.sha256(site.state.encode()).hexdigest()[:8]}"
        self._title = f"{self._prefix}-{hashlib.sha256((self.target + self._secret).encode()).hexdigest()[:8]}"

    def begin(self) -> None:
        """Register the webhook, unless it is already registered. Raises Unreachable or ServiceFailed."""
        ours = {str(hook["name"]): str(hook["webhook_id"]) for hook in self._all() if self._is_ours(hook)}
        for title, identifier in ours.items():
            if title != self._title:
                self._call("DELETE", f"/{identifier}")
        if self._title not in ours:
            self._call(
                "POST",
                body={"name": self._title, "url": self.target, "events": list(_EVENTS), "secret": self._secret},
            )

    def is_done(self) -> bool:
        """Always True, since `begin` does all the work."""
        return True

    def cancel(self) -> None:
        """Does nothing, since `begin` leaves nothing running."""

    def remove(self) -> int:
        """Remove every webhook of this installation; returns how many there were."""
        ours = [str(hook["webhook_id"]) for hook in self._all() if self._is_ours(hook)]
        for identifier in ours:
            self._call("DELETE", f"/{identifier}")
        return len(ours)

    def deliver_test(self) -> str | None:
        """Make MLflow send a test delivery; None if the console accepted it, otherwise what went wrong."""
        hooks = [hook for hook in self._all() if hook["name"] == self._title]
        if not hooks:
            return "no webhook for this console is registered"
        try:
            result = self._call("POST", f"/{hooks[0]['webhook_id']}/test", body={}).get("result", {})
        except Unreachable:  # MLflow has just answered, so it is waiting for the console
            return (
                f"the console did not accept MLflow's test delivery within {_SECONDS:.0f} s: it or a server "
                "that it needs hangs"
            )
        if result.get("success"):
            return None
        return str(result.get("error_message") or f"the console answered {result.get('response_status')}")

    def _is_ours(self, hook: Mapping[str, Any]) -> bool:
        return str(hook["name"]).startswith(self._prefix)

    def _all(self) -> list[dict[str, Any]]:
        hooks: list[dict[str, Any]] = self._call("GET", "?max_results=100").get("webhooks", [])
        return hooks

    def _call(self, method: str, path: str = "", body: Mapping[str, object] | None = None) -> dict[str, Any]:
        probe = HttpProbe(
            url=f"{self.server}/api/2.0/mlflow/webhooks{path}",
            headers=self._headers,
            body=None if body is None else json.dumps(body),
        )
        answer = ask(probe, seconds=_SECONDS, method=method)
        if answer is None:
            raise Unreachable(f"MLflow at {self.server} does not answer.", fix="See `sluice status`.")
        if answer.status != 200:
            raise ServiceFailed(
                f"MLflow answered {answer.status} to {method} webhooks: {answer.text[:200]}",
                fix="read MLflow's log. MLflow accepts plain http and private addresses only when started with "
                "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https and MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true.",
            )
        document: dict[str, Any] = json.loads(answer.text or "{}")
        return document
