"""Acts on models: list builds, deploy, roll back, and show which builds answer which audience."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from sluicegate.registry.catalog.naming import no_builds
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.order import Deploy, RollBack
from sluicegate.registry.rollout.namesakes import namesakes, refuse_namesake
from sluicegate.registry.rollout.standing import Shadowing, Standing, standings
from sluicegate.registry.words.build import Build
from sluicegate.registry.words.roles import Role
from sluicegate.services.console import counted
from sluicegate.services.console.acts.rollouts import RolloutActs
from sluicegate.services.console.acts.variations import RoutedBody, ShareBody
from sluicegate.services.console.attention import Decision, decisions, silences
from sluicegate.services.console.fleet import stretch
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk

MODELS = 50
"""Models in an overview, unless the request sets a limit."""
MOST_MODELS = 1000


class DeployBody(Body):
    """A build for a variation, and the audiences that are sent to it."""

    build: str = "latest"
    """A version, an alias such as @candidate, or latest."""
    variation: str = "default"
    """The slot of the model."""
    audiences: list[ShareBody] = Field(default_factory=list)
    """The audiences that are sent there, each with a weight or a sample; none: unchanged."""
    fallback: bool = False
    """Whether the variation takes the requests that no audience matches."""
    routed: list[RoutedBody] = Field(default_factory=list)
    """Audiences with all their variations, matched in this order before all others; none: unchanged."""
    fallback_variation: str | None = None
    """The variation that takes the requests that no audience matches; null: unchanged."""
    protected: bool | None = None
    """Whether the variation is protected from now on; null: unchanged."""
    at_once: str | None = Field(default=None, min_length=1, max_length=2000)
    """The reason for replacing a build that has traffic at once; none: the new build starts as a canary."""
    override_freeze: str | None = Field(default=None, min_length=1, max_length=2000)
    """The reason for overriding the freeze that is in force, until that freeze ends; needs the role admin."""
    override_assessment: str | None = Field(default=None, min_length=1, max_length=2000)
    """The reason for skipping what the plan requires before the first request; needs the role approver."""


class RollbackBody(Body):
    """A return to a build that was stable before."""

    to: str | None = None
    """Its version; none: the build that was stable before the current one."""
    variation: str = "default"
    """The variation to roll back."""
    reason: str = "no reason given"
    """For the record."""


class ModelActs:
    """Handlers; all state is in the ledger and the catalog."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rollouts = RolloutActs(desk)

    def builds(self, request: Request, _: Body) -> Answer:
        model = request.path["model"]
        rollouts, builds = self._desk.ledger.current(model), self._desk.catalog.builds(model)
        roles, others = roles_of_builds(standings(rollouts)), namesakes(rollouts, builds)
        if not builds:
            raise no_builds(model, self._desk.catalog.models())
        listed = [_build_json(build, roles.get(build.ref.version), others.get(build.ref.version)) for build in builds]
        return 200, {"builds": listed}

    def deploy(self, request: Request, body: DeployBody) -> Answer:
        model = request.path["model"]
        version = deployable(self._desk, model, body.build)
        act = Deploy(
            model=model, variation=body.variation, version=version,
            at_once=body.at_once, shares=tuple(each.share for each in body.audiences), is_fallback=body.fallback,
            routed=tuple(each.routed for each in body.routed), fallback=body.fallback_variation,
            protected=body.protected,
        )  # fmt: skip
        order = request.order(act, override_freeze=body.override_freeze, override_assessment=body.override_assessment)
        receipt = self._rollouts.give(order)
        return (201 if receipt.created else 200), self._rollouts.after(receipt)

    def roll_back(self, request: Request, body: RollbackBody) -> Answer:
        act = RollBack(model=request.path["model"], variation=body.variation, version=body.to)
        return 201, self._rollouts.after(self._rollouts.give(request.order(act, reason=body.reason)))

    def overview(self, request: Request, _: Body) -> Answer:
        model, after = request.query.get("model"), request.query.get("after")
        fleet = stretch(self._desk.ledger, model=model, after=after, limit=request.count("limit", MODELS, MOST_MODELS))
        served, unread = counted.overview(self._desk, fleet.models)
        chosen = [each for each in decisions(self._desk) if model in (None, each.readout.model)]
        return 200, {
            "served": served,
            "unread": unread,
            "silences": self._silences(fleet.models) if unread is None else {},
            "decisions": [_decision_json(each) for each in chosen],
            "shadows": [
                _shadow_json(standing, shadow)
                for standing in standings(self._desk.ledger.current_of(fleet.models))
                for shadow in standing.shadows
            ],
            "links": self._desk.links,
            "next_after": fleet.next_after,
        }

    def _silences(self, models: Sequence[str]) -> dict[str, str]:
        """That requests have stopped, by rollout in progress of these models."""
        under_way = self._desk.ledger.rollouts(Selection(is_ended=False))
        views = self._rollouts.views([each for each in under_way if each.requested.model in models])
        return silences(views, counted.pulses(self._desk, {view.model for view in views}))


def deployable(desk: Desk, model: str, build: str) -> str:
    """Resolves a build's name to a version. Raises NotFound, and Refused if a serving build has the same name."""
    version = desk.catalog.resolve(model, build).version
    refuse_namesake(desk.ledger.current(model), desk.catalog.builds(model), model, version)
    return version


def roles_of_builds(standings: Sequence[Standing]) -> dict[str, str]:
    """The role of each version of a model that serves: stable or candidate."""
    roles = {standing.stable.version: "stable" for standing in standings}
    return roles | {standing.candidate.version: "candidate" for standing in standings if standing.candidate}


def _decision_json(decision: Decision) -> dict[str, object]:
    readout, best = decision.readout, decision.best
    return {
        "experiment": readout.experiment,
        "model": readout.model,
        "control": readout.control,
        "is_over": readout.is_over,
        "variation": best.variation,
        "build": best.build,
        "rollout": best.rollout,
        "reason": best.reason,
    }


def _shadow_json(standing: Standing, shadow: Shadowing) -> dict[str, object]:
    return {
        "model": standing.model,
        "variation": standing.variation,
        "build": shadow.build.version,
        "sample": shadow.share / 100,
        "rollout": shadow.rollout,
    }


def _build_json(build: Build, role: str | None, note: str | None) -> dict[str, object]:
    return {
        "model": build.ref.model,
        "version": build.ref.version,
        "aliases": sorted(build.aliases),
        "stage": build.stage,
        "tags": build.tags,
        "created_at": build.created_at,
        "role": role if note is None else None,
        "note": note,
    }


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on models."""
    acts = ModelActs(desk)
    one = "/api/v1/models/{model}"
    return (
        Operation(
            method="GET", path=f"{one}/builds", role=Role.VIEWER, act=acts.builds,
            summary="Every build of a model in MLflow, and its role here.",
            gives={200: "`builds`, each with `model`, `version`, `aliases`, `stage`, `tags`, `created_at`, `role`, and "
                        "a `note` if a different build with this number serves."},
        ),
        Operation(
            method="POST", path=f"{one}/deploy", role=Role.OPERATOR, takes=DeployBody, act=acts.deploy,
            summary="Deploy a build to a variation: the first build after a probe, later ones as a canary.",
            gives={201: "The rollout.", 200: "The rollout that already existed."},
        ),
        Operation(
            method="POST", path=f"{one}/rollback", role=Role.OPERATOR, takes=RollbackBody, act=acts.roll_back,
            summary="Return to an earlier build at once, by a new rollout.", gives={201: "The rollout."},
        ),
        Operation(
            method="GET", path="/api/v1/overview", role=Role.VIEWER, act=acts.overview,
            summary="Which builds answer which audience.",
            query={"model": "Only this model.", "after": "The page after this model: next_after of the page before.",
                   "limit": f"At most this many models, up to {MOST_MODELS}; {MODELS} by default."},
            gives={200: "`served`, the builds that answer requests; `shadows`, which only get copies; `decisions`, the "
                        "experiments whose goal is reached and that somebody should decide about; `silences`, that "
                        "requests have stopped, by rollout in progress of these models; `links`; `next_after` if "
                        "there are more models; `unread`, the reason if the telemetry cannot be read and observed "
                        "figures are missing."},
        ),
    )  # fmt: skip
