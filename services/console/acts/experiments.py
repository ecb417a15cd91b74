"""Acts on experiments: start one from the applied plan, read it, end it. A variation is promoted like any rollout."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from sluicegate.registry.ledger.experiments import find_experiment, last_experiments
from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import EndExperiment, StartExperiment
from sluicegate.registry.report.readout import Readout, experiment_readout
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.acts.rollouts import ReasonBody
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk

PAGE = 100
"""The most experiments in one answer."""


class ExperimentBody(Body):
    """An experiment to start."""

    model: str = Field(min_length=1)
    """The registered model."""
    variation: str = "default"
    """The control: the variation whose plan describes the experiment."""


class ExperimentActs:
    """Handlers; all state is in the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self, request: Request, _: Body) -> Answer:
        most = request.count("limit", PAGE, PAGE)
        groups = last_experiments(self._desk.ledger, model=request.query.get("model"), most=most)
        return 200, {"experiments": [self._readout(group) for group in groups]}

    def start(self, request: Request, body: ExperimentBody) -> Answer:
        order = request.order(StartExperiment(model=body.model, variation=body.variation))
        receipt = give(self._desk.ledger, order, self._desk.clock())
        experiment = self._desk.ledger.rollout(receipt.rollout or "").requested.experiment or ""
        return (201 if receipt.created else 200), self._readout(self._find(experiment))

    def show(self, request: Request, _: Body) -> Answer:
        return 200, self._readout(self._find(request.path["id"]))

    def end(self, request: Request, body: ReasonBody) -> Answer:
        name = request.path["id"]
        give(self._desk.ledger, request.order(EndExperiment(experiment=name), reason=body.reason), self._desk.clock())
        return 200, self._readout(self._find(name))

    def _find(self, name: str) -> Sequence[Rollout]:
        return find_experiment(self._desk.ledger, name)

    def _readout(self, comparisons: Sequence[Rollout]) -> Readout:
        return experiment_readout(read_for_readout(self._desk.ledger, comparisons))


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on experiments."""
    acts = ExperimentActs(desk)
    root, one = "/api/v1/experiments", "/api/v1/experiments/{id}"
    readout_of = {200: "Its readout."}
    return (
        Operation(
            method="GET", path=root, role=Role.VIEWER, act=acts.list, summary="Every experiment, newest first.",
            query={"model": "Only this model's.", "limit": f"At most this many, up to {PAGE}."},
            gives={200: "`experiments`, each as its readout."},
        ),
        Operation(
            method="POST", path=root, role=Role.OPERATOR, takes=ExperimentBody, act=acts.start,
            summary="Compare the variations that the applied plan names. If the experiment is already running, returns "
                    "that one.",
            gives={201: "The readout, still empty.", 200: "The readout of the experiment that is already running."},
        ),
        Operation(
            method="GET", path=one, role=Role.VIEWER, act=acts.show, gives=readout_of,
            summary="Each variation compared with the control; a model's name gives its latest experiment.",
        ),
        Operation(
            method="POST", path=f"{one}/end", role=Role.OPERATOR, takes=ReasonBody, act=acts.end, gives=readout_of,
            summary="End an experiment now; its requests go where they went before it.",
        ),
    )  # fmt: skip
