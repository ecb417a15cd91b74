"""The acts behind the API: check, order, answer. No HTTP here: the CLI calls the same acts when no console runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from registry import orders
from registry.errors import NotFound, UsageError
from registry.facts import to_payload
from registry.ledger import Applied
from registry.plan import Plan
from registry.plan_file import plan_from_values, read_plan
from registry.rollout import Rollout
from registry.standing import standings
from registry.units import format_weight
from registry.view import rollout_view
from services.console.ports import Desk


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked: who, through which door, with which words."""

    actor: str
    door: str = "console"
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None

    @property
    def items(self) -> list[dict[str, object]]:
        """The body as a list of objects: a list, one object, or {"outcomes": [...]}."""
        body = self.body
        if isinstance(body, dict) and isinstance(body.get("outcomes"), list):
            body = body["outcomes"]
        found: list[dict[str, object]] = []
        for position, item in enumerate(body if isinstance(body, list) else [body]):
            if not isinstance(item, dict):
                raise UsageError(f"body[{position}]: not a JSON object.", fix='send {"prediction_id": ..., ...}')
            found.append(item)
        return found

    def text(self, name: str, default: str | None = None) -> str:
        """A text field of the body; required without a default."""
        body = self.body if isinstance(self.body, dict) else {}
        value = body.get(name, default)
        if not isinstance(value, str) or (default is None and not value):
            raise UsageError(f"{name}: a text is required, got {value!r}.")
        return value

    def flag(self, name: str) -> bool:
        """A true or false of the body; false when it is not there."""
        body = self.body if isinstance(self.body, dict) else {}
        return body.get(name) is True

    @property
    def request(self) -> orders.Request:
        return orders.Request(actor=self.actor, cause=self.door)


Answer = tuple[int, object]
Handler = Callable[[Asked], Answer]


class Acts:
    """Every act; all state is in the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def rollouts(self, asked: Asked) -> Answer:
        found = self._desk.ledger.rollouts(model=asked.query.get("model"))
        return 200, {"rollouts": [self._view(rollout) for rollout in found]}

    def rollout(self, asked: Asked) -> Answer:
        return 200, self._view(orders.find(self._desk.ledger, asked.path["id"]))

    def facts(self, asked: Asked) -> Answer:
        rollout = orders.find(self._desk.ledger, asked.path["id"])
        entries = self._desk.ledger.entries(rollout.id)
        return 200, {
            "facts": [
                {
                    "seq": entry.seq,
                    "at": entry.at.isoformat(),
                    "fact": type(entry.fact).__name__,
                    **to_payload(entry.fact),
                }
                for entry in entries
            ]
        }

    def start(self, asked: Asked) -> Answer:
        model, variation = asked.text("model"), asked.text("variation", "default")
        version = self._desk.resolve(model, asked.text("build", "latest")).version
        started = orders.start(
            self._desk.ledger,
            plan=self._desk.plan(model, variation),
            version=version,
            request=asked.request,
            now=self._desk.clock(),
            allow_older=asked.flag("allow_older"),
        )
        return (201 if started.created else 200), self._view(started.rollout)

    def deploy(self, asked: Asked) -> Answer:
        model, variation = asked.path["model"], asked.text("variation", "default")
        version = self._desk.resolve(model, asked.text("build", "latest")).version
        started = orders.deploy(
            self._desk.ledger,
            plan=plan_or_bare(self._desk, model, variation),
            version=version,
            request=asked.request,
            now=self._desk.clock(),
        )
        return (201 if started.created else 200), self._view(started.rollout)

    def roll_back(self, asked: Asked) -> Answer:
        started = orders.roll_back(
            self._desk.ledger,
            model=asked.path["model"],
            variation=asked.text("variation", "default"),
            version=asked.text("to", "") or None,
            reason=asked.text("reason", "no reason given"),
            request=asked.request,
            now=self._desk.clock(),
        )
        return 201, self._view(started.rollout)

    def act(self, name: str) -> Callable[[Asked], Answer]:
        """The handler of an order on a rollout."""
        order = {
            "pause": orders.pause, "resume": orders.resume, "approve": orders.approve,
            "promote": orders.promote, "abort": orders.abort,
        }[name]  # fmt: skip

        def handle(asked: Asked) -> Answer:
            rollout = orders.find(self._desk.ledger, asked.path["id"])
            reason = asked.text("reason", "no reason given")
            after = order(self._desk.ledger, rollout.id, actor=asked.actor, reason=reason, now=self._desk.clock())
            return 200, self._view(after)

        return handle

    def apply(self, asked: Asked) -> Answer:
        plan = self._asked_plan(asked)
        changed = self._desk.ledger.apply(applied_plan(plan, asked.actor, self._desk))
        return (201 if changed else 200), {"applied": f"plan {plan.model}/{plan.variation}", "changed": changed}

    def _asked_plan(self, asked: Asked) -> Plan:
        body = asked.body if isinstance(asked.body, dict) else {}
        if "plan" in body:
            return plan_from_values(body["plan"], where="plan")
        return read_plan(asked.text("document"), where=asked.text("where", "document"))

    def builds(self, asked: Asked) -> Answer:
        model = asked.path["model"]
        found = self._desk.ledger.rollouts(model=model)
        roles = {standing.stable.version: "stable" for standing in standings(found)}
        roles |= {s.candidate.version: "candidate" for s in standings(found) if s.candidate}
        return 200, {
            "builds": [
                {
                    "model": model,
                    "version": build.ref.version,
                    "aliases": sorted(build.aliases),
                    "stage": build.stage,
                    "tags": dict(build.tags),
                    "created_at": build.created_at.isoformat() if build.created_at else None,
                    "role": roles.get(build.ref.version),
                }
                for build in self._desk.builds(model)
            ]
        }

    def overview(self, asked: Asked) -> Answer:
        rollouts = self._desk.ledger.rollouts(model=asked.query.get("model"))
        return 200, {
            "targets": [
                {
                    "model": standing.model,
                    "variation": standing.variation,
                    "stable": standing.stable.version,
                    "candidate": standing.candidate.version if standing.candidate else None,
                    "weight": format_weight(standing.weight),
                    "rollout": standing.rollout,
                }
                for standing in standings(rollouts)
            ],
            "links": self._desk.links,
        }

    def counts(self, _: Asked) -> Answer:
        return 200, self._desk.counts()

    def outcomes(self, asked: Asked) -> Answer:
        return 202, self._desk.record_outcomes(asked.items)

    def _view(self, rollout: Rollout) -> dict[str, object]:
        desk = self._desk
        return rollout_view(desk.ledger, rollout, desk.clock(), requests=desk.requests(rollout)).as_json()


def plan_or_bare(desk: Desk, model: str, variation: str) -> Plan:
    """The applied plan, or for a first build without one the least that a plan can say."""
    try:
        return desk.plan(model, variation)
    except NotFound:
        return Plan.model_validate({"model": model, "variation": variation, "steps": [{"weight": 10}]})


def applied_plan(plan: Plan, actor: str, desk: Desk) -> Applied:
    """The plan as a document for the ledger."""
    name = f"{plan.model}/{plan.variation}"
    return Applied(kind="plan", name=name, body=plan.document(), digest=plan.digest, actor=actor, at=desk.clock())


def table(desk: Desk) -> tuple[tuple[str, str, Handler], ...]:
    """(method, path, act) of everything that can be asked."""
    acts = Acts(desk)
    verbs = ("pause", "resume", "approve", "promote", "abort")
    return (
        ("GET", "/api/v1/rollouts", acts.rollouts),
        ("POST", "/api/v1/rollouts", acts.start),
        ("GET", "/api/v1/rollouts/{id}", acts.rollout),
        ("GET", "/api/v1/rollouts/{id}/facts", acts.facts),
        *(("POST", f"/api/v1/rollouts/{{id}}/{verb}", acts.act(verb)) for verb in verbs),
        ("GET", "/api/v1/models/{model}/builds", acts.builds),
        ("POST", "/api/v1/models/{model}/deploy", acts.deploy),
        ("POST", "/api/v1/models/{model}/rollback", acts.roll_back),
        ("POST", "/api/v1/documents", acts.apply),
        ("GET", "/api/v1/overview", acts.overview),
        ("GET", "/api/v1/counts", acts.counts),
        ("POST", "/api/v1/outcomes", acts.outcomes),
        ("POST", "/outcomes", acts.outcomes),
    )


def find(desk: Desk, method: str, path: str) -> tuple[Handler, dict[str, str]]:
    """The act for a path and the names in it. Raises NotFound."""
    for its_method, template, handler in table(desk):
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        match = re.fullmatch(pattern, path)
        if match is not None and its_method == method:
            return handler, {name: unquote(value) for name, value in match.groupdict().items()}
    raise NotFound(f"nothing answers {method} {path}.")
