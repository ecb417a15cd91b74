"""FlowPods: which pods of Prefect's flow runs do not run in the cluster, why, and what to do about it.

Prefect shows such a run as pending or running for ever: its worker has no right to read pods.
"""

from __future__ import annotations

from collections.abc import Mapping

from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.obstacle import Hindrance, Obstacle
from sluicegate.services.cluster.api import Api
from sluicegate.services.cluster.kinds import EVENT, POD, Object
from sluicegate.services.cluster.names import COMPONENT_LABEL, Component
from sluicegate.services.cluster.obstacles import given_up, last_words, lost_to, said_of, waiting

RUN = "prefect.io/flow-run-id"
"""Prefect's worker sets it on the Job of a run and on its pod."""
_ANY = {COMPONENT_LABEL: str(Component.FLOW)}
_VALUES = "in the values of sluice cluster render, and apply its manifests"
_NO_NODE = f"add a node, or ask for less: resources: {{flow: {{cpu: …, memory: …}}}} {_VALUES}"
_NO_ROOM = f"give it more: resources: {{flow: {{memory: …}}}} {_VALUES}; the keeper creates another run"
_MEMORY = ("OOMKilled", "Evicted")


class FlowPods:
    """The pods of the flow runs of one namespace."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def hindrances(self) -> Mapping[str, Hindrance | None]:
        """By run that has a pod: what hinders the pod; None: nothing does. Empty while the API does not answer."""
        try:
            pods = sorted(self._api.select(POD, _ANY).items, key=_made)
        except SluiceError:
            return {}
        return {run: self._hindrance(pod) for pod in pods if (run := _run(pod)) is not None}

    def unmade(self, job: str) -> Hindrance | None:
        """Why Kubernetes creates no pod for a Job, by its last event; None without an event."""
        try:
            events = self._api.select(EVENT, {}, {"involvedObject.name": job, "reason": "FailedCreate"}).items
        except SluiceError:
            return None
        event = max(events, key=_when, default=None)
        if event is None:
            return None
        detail = f"Kubernetes creates no pod for its Job {job}: {said_of(event)}"
        fix = f"change what refuses it, such as a quota: {self._look('describe job', job)}"
        return Hindrance(obstacle=Obstacle.HELD_UP, detail=detail, fix=fix)

    def remove(self, run: str) -> None:
        """Delete the pod of a run that is given up, so that it does not start after all."""
        try:
            for pod in self._api.select(POD, _ANY | {RUN: run}).items:
                self._api.delete(POD, pod["metadata"]["name"])
        except SluiceError:
            return  # harmless: the pod gets no lease that another run holds

    def _hindrance(self, pod: Object) -> Hindrance | None:
        name = pod["metadata"]["name"]
        if (lost := lost_to(pod)) is not None:
            reason, why = lost
            node = pod["spec"].get("nodeName", "NODE")
            at_rest = f"none is needed once, as the keeper creates another run; if it stays: {_node(node)}"
            fix = _NO_ROOM if reason in _MEMORY else at_rest
            return Hindrance(obstacle=Obstacle.LOST, detail=f"Kubernetes ended its pod {name}: {why}", fix=fix)
        if pod.get("status", {}).get("phase") == "Failed":
            fix = f"read its log: {self._look('logs', name)}; the keeper creates another run"
            return Hindrance(obstacle=Obstacle.CRASHED, detail=f"its pod {name} ended: {last_words(pod)}", fix=fix)
        why_held = given_up((pod,), {}) or waiting((pod,), {})
        if why_held is None:
            return None
        fix = _NO_NODE if "no node has room" in why_held else f"look: {self._look('describe pod', name)}"
        return Hindrance(obstacle=Obstacle.HELD_UP, detail=why_held, fix=fix)

    def _look(self, verb: str, name: str) -> str:
        return f"kubectl --namespace {self._api.namespace} {verb} {name}"


def _node(name: str) -> str:
    return f"kubectl describe node {name}"


def _run(pod: Object) -> str | None:
    run: str | None = (pod["metadata"].get("labels") or {}).get(RUN)
    return run


def _made(pod: Object) -> str:
    """When a pod was created. Prefect starts an interrupted run again with another pod, and the newest one counts."""
    return str(pod["metadata"].get("creationTimestamp", ""))


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp", ""))
