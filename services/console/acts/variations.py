"""Acts on variations: list them, route audiences to them, scale and undeploy them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field

from sluicegate.registry.audience.connections import Connection, Connections, Copied, StandIn, Weighted
from sluicegate.registry.orders.audience_store import shares
from sluicegate.registry.orders.connections_record import all_connections, connections_of, document
from sluicegate.registry.orders.order import Arrange, Connect, Disconnect, Routed, Scale, SetTerms, Share, Undeploy
from sluicegate.registry.plan.fields import MOST_REPLICAS
from sluicegate.registry.rollout.standing import Standing, standings
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.acts.rollouts import RolloutActs
from sluicegate.services.console.if_match import connections_tag
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk


class ShareBody(Body):
    """An audience whose requests, or copies of them, go to the variation."""

    audience: str
    """Its name; `default` for the requests that no audience matches."""
    weight: int | None = Field(default=None, ge=0, le=1_000_000)
    """Relative to the audience's other variations; 0 removes this one."""
    sample: float | None = Field(default=None, ge=0, le=100)
    """Copies, in per cent of the audience's requests."""

    @property
    def share(self) -> Share:
        """The same, as orders take it."""
        sample = None if self.sample is None else round(self.sample * 100)
        return Share(audience=self.audience, weight=self.weight, sample=sample)


class RoutedBody(Body):
    """An audience with all variations that get its requests, or copies of them. Variations not named here get none."""

    audience: str
    """Its name."""
    weights: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]]
    """Relative weights by variation."""
    samples: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    """Copies by variation, in per cent of the audience's requests."""

    @property
    def routed(self) -> Routed:
        """The same, as orders take it."""
        weighted = (Weighted(variation=name, weight=weight) for name, weight in self.weights.items())
        copied = (Copied(variation=name, sample=round(sample * 100)) for name, sample in self.samples.items())
        return Routed(audience=self.audience, weighted=tuple(weighted), copied=tuple(copied))


class ConnectBody(Body):
    """The audiences that are sent to a variation from now on."""

    audiences: list[ShareBody] = Field(default_factory=list)
    """Each with a weight or a sample."""
    fallback: bool = False
    """Whether it takes the requests that no audience matches."""


class DisconnectBody(Body):
    """An audience that is no longer sent to a variation."""

    audience: str
    """Its name."""


class TermsBody(Body):
    """Settings of a variation that apply to all its audiences; null or left out: unchanged."""

    by_name: bool | None = None
    """Whether callers may address it by its name: `POST /{model}/variations/{variation}/predict` at the gateway."""
    stand_in: Literal["never", "unreachable", "errors"] | None = None
    """When the model's fallback variation answers in its place: with `unreachable`, if its stable build cannot be
    reached, breaks off or times out; with `errors`, also if it answers 5xx. Changing it needs the role approver."""
    protected: bool | None = None
    """Whether every change of what it serves needs two named people. Changing it needs the role approver; turning it
    off also needs the approval of another named person."""


class OrderBody(Body):
    """The order in which a model's audiences are matched."""

    audiences: list[str] = Field(min_length=1)
    """Their names in matching order; audiences that are not named follow in their present order."""


class UndeployBody(Body):
    """The end of a variation."""

    last: bool = False
    """Whether it may be the model's last one."""
    reason: str = Field(default="no reason given", max_length=2000)
    """For the record."""


class ScaleBody(Body):
    """The number of replicas of a variation's build."""

    replicas: int = Field(ge=1, le=MOST_REPLICAS)
    """Holds until the variation gets another build, which starts with the number in its plan."""
    reason: str = Field(default="no reason given", max_length=2000)
    """For the record."""


class VariationActs:
    """Handlers; all state is in the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rollouts = RolloutActs(desk)

    def list(self, request: Request, _: Body) -> Answer:
        standing = standings(self._desk.ledger.current(request.query.get("model")))
        connections = all_connections(self._desk.ledger)
        listed = [_json(each, connections.get(each.model) or Connections(model=each.model)) for each in standing]
        return 200, {"variations": listed}

    def connect(self, request: Request, body: ConnectBody) -> Answer:
        shares = tuple(each.share for each in body.audiences)
        return self._redirect(request, Connect(**request.path, shares=shares, is_fallback=body.fallback))

    def disconnect(self, request: Request, body: DisconnectBody) -> Answer:
        return self._redirect(request, Disconnect(**request.path, audience=body.audience))

    def set_terms(self, request: Request, body: TermsBody) -> Answer:
        stand_in = None if body.stand_in is None else StandIn(body.stand_in)
        act = SetTerms(**request.path, by_name=body.by_name, stand_in=stand_in, protected=body.protected)
        return self._redirect(request, act)

    def order(self, request: Request, body: OrderBody) -> Answer:
        return self._redirect(request, Arrange(model=request.path["model"], audiences=tuple(body.audiences)))

    def _redirect(self, request: Request, act: Connect | Disconnect | Arrange | SetTerms) -> Answer:
        """Carry out an order that changes routing; the answer is the connections that result."""
        self._rollouts.give(request.order(act))
        after = connections_of(self._desk.ledger, act.model) or Connections(model=act.model)
        return 200, connections_json(after)

    def connections(self, request: Request, _: Body) -> Answer:
        model = request.path["model"]
        recorded = connections_of(self._desk.ledger, model)
        return 200, document(recorded or Connections(model=model)) | {"etag": connections_tag(recorded)}

    def undeploy(self, request: Request, body: UndeployBody) -> Answer:
        order = request.order(Undeploy(**request.path, is_last=body.last), reason=body.reason)
        return 200, self._rollouts.after(self._rollouts.give(order))

    def scale(self, request: Request, body: ScaleBody) -> Answer:
        order = request.order(Scale(**request.path, replicas=body.replicas), reason=body.reason)
        served = self._desk.ledger.rollout(self._rollouts.give(order).rollout or "")
        where = {"build": served.requested.version, "rollout": served.id, "replicas": served.serve.replicas}
        return 200, {**request.path, **where}


def connections_json(connections: Connections) -> dict[str, object]:
    """A model's audiences in order, and which variations get each of them."""
    audiences = [{"audience": each.audience.name, "shares": shares(each)} for each in connections.ordered]
    return {
        "model": connections.model,
        "audiences": audiences,
        "fallback": _fallback(connections),
        "terms": [asdict(each) for each in connections.terms],
        "etag": connections_tag(connections),
    }


def _fallback(connections: Connections) -> str:
    weighted = [f"{part.variation} {part.weight}" for part in connections.fallback]
    copied = [f"copies of {part.sample / 100:g} % to {part.variation}" for part in connections.fallback_copied]
    return ", ".join((*weighted, *copied))


def _json(standing: Standing, connections: Connections) -> dict[str, object]:
    name = standing.variation
    return {
        "model": standing.model,
        "variation": name,
        "stable": standing.stable.version,
        "candidate": standing.candidate.version if standing.candidate else None,
        "weight": standing.weight / 100,
        "rollout": standing.rollout,
        "audiences": [{"audience": each.audience.name, **_share(each, name)} for each in _with(connections, name)],
        "by_name": connections.terms_of(name).by_name,
        "stand_in": connections.terms_of(name).stand_in,
        "protected": connections.terms_of(name).protected,
        "fallback": any(part.variation == name for part in connections.fallback),
    }


def _with(connections: Connections, variation: str) -> tuple[Connection, ...]:
    return tuple(each for each in connections.ordered if _share(each, variation) != {"weight": None, "sample": None})


def _share(connection: Connection, variation: str) -> dict[str, float | None]:
    weight = next((part.weight for part in connection.weighted if part.variation == variation), None)
    sample = next((part.sample / 100 for part in connection.copied if part.variation == variation), None)
    return {"weight": weight, "sample": sample}


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on variations."""
    acts = VariationActs(desk)
    one = "/api/v1/models/{model}/variations/{variation}"
    connected = (
        "`model`, its `audiences` in order, each with its `shares`, the `fallback`, the `terms`, and the `etag`."
    )
    return (
        Operation(
            method="GET", path="/api/v1/variations", role=Role.VIEWER, act=acts.list,
            summary="Every variation with a build, and its audiences.", query={"model": "Only this model."},
            gives={200: "`variations`, each with `model`, `variation`, `stable`, `candidate`, `weight`, `rollout`, "
                        "`audiences`, `by_name`, `stand_in`, `protected`, `fallback`."},
        ),
        Operation(
            method="GET", path="/api/v1/models/{model}/connections", role=Role.VIEWER, act=acts.connections,
            summary="Which variation each audience of a model gets, as recorded.",
            gives={200: "`model`, `ordered`, `fallback`, their layouts, the `terms` of variations, and the `etag`."},
        ),
        Operation(
            method="POST", path="/api/v1/models/{model}/connections/order", role=Role.OPERATOR, takes=OrderBody,
            act=acts.order, summary="Change the order in which audiences are matched.", gives={200: connected},
        ),
        Operation(
            method="POST", path=f"{one}/connect", role=Role.OPERATOR, takes=ConnectBody, act=acts.connect,
            summary="Send audiences to a variation.", gives={200: connected},
        ),
        Operation(
            method="POST", path=f"{one}/disconnect", role=Role.OPERATOR, takes=DisconnectBody, act=acts.disconnect,
            summary="Stop sending an audience to a variation.", gives={200: connected},
        ),
        Operation(
            method="POST", path=f"{one}/terms", role=Role.OPERATOR, takes=TermsBody, act=acts.set_terms,
            summary="Change a variation's settings, such as whether callers may address it by its name.",
            gives={200: connected},
        ),
        Operation(
            method="POST", path=f"{one}/undeploy", role=Role.OPERATOR, takes=UndeployBody, act=acts.undeploy,
            summary="Empty a variation: its routes are removed, then its service drains and stops.",
            gives={200: "The rollout by which its build was served."},
        ),
        Operation(
            method="POST", path=f"{one}/scale", role=Role.OPERATOR, takes=ScaleBody, act=acts.scale,
            summary="Run the stable build of a variation with another number of replicas, at once.",
            gives={200: "`model`, `variation`, `build`, the `rollout` that it belongs to, and its `replicas`."},
        ),
    )  # fmt: skip
