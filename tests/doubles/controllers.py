"""What Kubernetes does about Deployments and Services: pods and EndpointSlices, whose addresses answer.

Played in a thread over the objects of an API server in memory.
"""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress
from typing import Any, Self

from sluicegate.services.cluster.kinds import DEPLOYMENT, ENDPOINT_SLICE, POD, SERVICE, Kind
from tests.doubles.answering import Answering, Mode, at_address
from tests.doubles.api_objects import Failure, Object, Place, now
from tests.doubles.api_server import ApiServer

_NUMBERS = itertools.count(1)
_COST = "controller.kubernetes.io/pod-deletion-cost"
_IMAGE_MISSING = 'Back-off pulling image "registry.invalid/none:1": not found'


class Controllers:
    """Plays the controllers, scheduler and kubelets of one namespace. `mode` is how new pods behave."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.mode = Mode.READY
        self.are_slow_to_end = False
        """Whether pods that are to end do not, for now."""
        self._objects, self._namespace = server.objects, namespace
        self._pods: dict[str, tuple[Answering, Mode]] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._objects.changed:
            self._is_over = True
            self._objects.changed.notify_all()
        self._thread.join()
        for replica, _ in self._pods.values():
            replica.close()

    def replica(self, address: str) -> Answering:
        """The one that answers there, as HOST:PORT."""
        for pod in self._select(POD):
            replica, _ = self._pods[pod["metadata"]["name"]]
            if replica.is_open and f"{pod['status']['podIP']}:{replica.port}" == address:
                return replica
        raise AssertionError(f"nobody answers at {address}")

    def _run(self) -> None:
        version = -1
        while not self._is_over:
            with self._objects.changed:
                while version == self._objects.version and not self._is_over:
                    self._objects.changed.wait()
                version = self._objects.version
                self._reconcile()

    def _reconcile(self) -> None:
        deployments = {each["metadata"]["uid"]: each for each in self._select(DEPLOYMENT)}
        for pod in self._select(POD):
            owner = pod["metadata"]["ownerReferences"][0]["uid"]
            if owner not in deployments or "deletionTimestamp" in pod["metadata"]:
                self._end(pod)
        for deployment in deployments.values():
            self._staff(deployment)
        for service in self._select(SERVICE):
            self._slice(service)
        services = {each["metadata"]["name"] for each in self._select(SERVICE)}
        for piece in self._select(ENDPOINT_SLICE):
            if piece["metadata"]["labels"]["kubernetes.io/service-name"] not in services:
                self._objects.delete(self._place(ENDPOINT_SLICE), piece["metadata"]["name"])

    def _staff(self, deployment: Object) -> None:
        uid = deployment["metadata"]["uid"]
        pods = [pod for pod in self._select(POD) if pod["metadata"]["ownerReferences"][0]["uid"] == uid]
        surplus = len(pods) - deployment["spec"]["replicas"]
        for pod in sorted(pods, key=_rank)[: max(0, surplus)]:
            self._end(pod)
        for _ in range(-surplus):
            self._make(deployment)

    def _make(self, deployment: Object) -> None:
        number = next(_NUMBERS)
        name, address = (
            f"{deployment['metadata']['name']}-{number}",
            f"127.{80 + number // 60_000}.{number // 250 % 250}.{number % 250 + 1}",
        )
        template = deployment["spec"]["template"]
        replica, mode = at_address(address), self.mode
        replica.is_refusing = mode is Mode.REFUSING
        if mode in (Mode.READY, Mode.REFUSING):
            replica.open()
        self._pods[name] = (replica, mode)
        metadata = {
            "name": name, "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
            "ownerReferences": [{"uid": deployment["metadata"]["uid"]}],
        }  # fmt: skip
        body = {"metadata": metadata, "spec": {**template["spec"], "nodeName": "node"}}
        self._objects.create(self._place(POD), body)
        self._objects.set_status(self._place(POD), name, _status(mode, address))

    def _end(self, pod: Object) -> None:
        if self.are_slow_to_end:
            return
        name = pod["metadata"]["name"]
        self._pods.pop(name)[0].close()
        self._objects.end(self._place(POD), name)

    def _slice(self, service: Object) -> None:
        """One slice for each pod, as each has a port of its own here."""
        wanted = service["spec"]["selector"].items()
        for pod in self._select(POD):
            name = pod["metadata"]["name"]
            replica, _ = self._pods[name]
            if not wanted <= pod["metadata"]["labels"].items():
                self._drop(name)
                continue
            labels = service["metadata"]["labels"] | {"kubernetes.io/service-name": service["metadata"]["name"]}
            ready = {"ready": replica.is_open, "serving": replica.is_open, "terminating": False}
            body = {
                "metadata": {"name": name, "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [pod["status"]["podIP"]], "conditions": ready}],
                "ports": [{"name": "http", "port": replica.port if replica.is_open else 3000, "protocol": "TCP"}],
            }
            self._objects.apply(self._place(ENDPOINT_SLICE), name, body, "controller", force=True)
        there = {pod["metadata"]["name"] for pod in self._select(POD)}
        for piece in self._select(ENDPOINT_SLICE):
            if piece["metadata"]["name"] not in there:
                self._drop(piece["metadata"]["name"])

    def _drop(self, name: str) -> None:
        with suppress(Failure):
            self._objects.delete(self._place(ENDPOINT_SLICE), name)

    def _select(self, kind: Kind) -> list[Object]:
        return self._objects.select(self._place(kind))

    def _place(self, kind: Kind) -> Place:
        return Place(kind.group, kind.version, kind.plural, self._namespace)


def _rank(pod: Object) -> tuple[bool, int]:
    """Which pods go first: those that are not ready, then by what it costs."""
    conditions = pod["status"]["conditions"]
    is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return is_ready, int((pod["metadata"].get("annotations") or {}).get(_COST, 0))


def _status(mode: Mode, address: str) -> Object:
    is_ready = mode in (Mode.READY, Mode.REFUSING)
    state: dict[str, Any] = {"running": {"startedAt": now()}}
    last: dict[str, Any] = {}
    if mode is Mode.GIVEN_UP:
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
        last = {"terminated": {"exitCode": 1, "reason": "Error", "message": "ValueError: no such file\n"}}
    return {
        "phase": "Running",
        "podIP": address,
        "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}],
        "containerStatuses": [{"name": "service", "image": "ours", "state": state, "lastState": last}],
    }
