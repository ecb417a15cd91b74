"""ClusterServices: the services of builds as Deployments. Kubernetes places, starts and restarts their pods.

Any process may hold one: its only state is since when images could not be pulled. What it last read is reused for half
a second, because one pass of the keeper needs it many times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import NotFound, ServiceFailed
from sluicegate.services.bento.readiness import hangs, is_alive, probe
from sluicegate.services.bento.stage_times import StageTimes
from sluicegate.services.cluster import objects
from sluicegate.services.cluster.api import Api
from sluicegate.services.cluster.impossible import impossible
from sluicegate.services.cluster.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    POD,
    SERVICE,
    Object,
)
from sluicegate.services.cluster.names import Component, build_name, build_of, labels
from sluicegate.services.cluster.obstacles import given_up, is_given_up, unpulled_image, waiting
from sluicegate.services.cluster.slices import all_of, endpoints_of, ready_of
from sluicegate.services.cluster.workload import Workload, is_ending, packed_of

_FRESH = 0.5
_LOOK = 0.2
_SELECTION = 5.0
"""Seconds that Kubernetes gets to remove exactly the leaving pods by itself, before they are deleted by name."""
_STAYING = 30.0
"""Seconds beyond their grace period after which pods are no longer awaited: their node may be lost."""
_REPLICAS = "sluicegate-replicas"
"""The field manager of the number of replicas. It is not the one of the rest, so that an autoscaler can take over."""
_AT_ONCE = 1
PULL_SECONDS = 60.0
"""Time after which an image is given up that the kubelet could not pull, however often it tried."""


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """The objects at the time they were read."""

    workloads: Mapping[BuildRef, Workload]
    services: frozenset[str]
    """Their names."""
    slices: tuple[Object, ...]


class ClusterServices:
    """The services of one namespace."""

    def __init__(
        self,
        api: Api,
        kit: objects.Kit,
        *,
        example: Callable[[Packed], bytes | None],
        sleep: Callable[[float], None] = time.sleep,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`example` reads the model's own input example from the store of bentos; None if it has none."""
        self._api, self._kit, self._example = api, kit, example
        self._sleep, self._elapsed = sleep, elapsed
        self._last: tuple[float, _Snapshot] | None = None
        self._unpulled: Mapping[str, float] = {}
        """Since when each pod, by name, has waited for an image that could not be pulled."""

    def lacks(self, packed: Packed) -> bool:  # noqa: ARG002
        """Never: each pod fetches its bento, and says so if it cannot."""
        return False

    def fetch(self, packed: Packed) -> None:
        """Does nothing: each pod fetches its bento."""

    def start(self, build: BuildRef, packed: Packed, serve: Serve) -> None:
        """Run as many replicas as the plan, or an autoscaler, asks for.

        Raises ServiceFailed, Unreachable, Forbidden.
        """
        if (cannot := impossible(serve)) is not None:
            raise ServiceFailed(cannot.what, fix=cannot.fix)
        present = self._now().workloads.get(build)
        if present is not None and packed_of(present.deployment) != packed:
            raise ServiceFailed(f"{build} runs from another bento.", fix="Stop it first.")
        pattern = self._pattern(serve)
        self._api.apply(SERVICE, objects.service(build))
        self._api.apply(DISRUPTION_BUDGET, objects.disruption_budget(build))
        self._api.apply(DEPLOYMENT, objects.deployment(build, packed, serve, self._kit))
        for pod in present.leaving if present is not None else ():
            self._mark(pod, objects.staying())
        if pattern is None:
            self._scale(build, serve.replicas)
        else:
            self._api.apply(AUTOSCALER, objects.autoscaler(build, pattern))
        self._forget()

    def retire(self, build: BuildRef, keep: int) -> None:
        """Send no requests to the pods beyond `keep`, in the order of `Workload`. They keep answering until
        `dismiss`."""
        workload = self._workload(build)
        if workload is None:
            return
        for pod in workload.serving[keep:]:
            self._mark(pod, objects.leaving())
        if workload.replicas > len(workload.pods):
            self._scale(build, len(workload.pods))
        self._forget()

    def leaving(self) -> frozenset[BuildRef]:
        """Builds with pods that get no requests any more."""
        return frozenset(build for build, workload in self._lately().workloads.items() if workload.leaving)

    def dismiss(self, build: BuildRef) -> None:
        """Stop the pods that get no requests any more; blocks until they are gone.

        Kubernetes chooses which pods go when their number is reduced; if it chose others, the leaving pods are deleted
        as well.
        """
        workload = self._workload(build)
        if workload is None or not workload.leaving:
            return
        self._scale(build, workload.replicas - len(workload.leaving))
        mine = {_name(pod) for pod in workload.leaving}
        self._wait(build, mine, _SELECTION)
        for pod in now.leaving if (now := self._workload(build)) is not None else ():
            if _name(pod) in mine:
                self._api.delete(POD, _name(pod))
        self._wait(build, mine, workload.grace + _STAYING)
        self._forget()

    def mend(self, build: BuildRef, hanging: Collection[Endpoint] = ()) -> None:
        """Delete the pods that cannot run, and those that hang; Kubernetes replaces them."""
        where = {endpoint.host for endpoint in hanging}
        workload = self._workload(build)
        unpulled = self._long_unpulled()
        for pod in workload.pods if workload is not None else ():
            if is_given_up(pod, unpulled) or pod.get("status", {}).get("podIP") in where:
                self._api.delete(POD, _name(pod), grace=_AT_ONCE)
        self._forget()

    def stop(self, build: BuildRef) -> None:
        """Drain and stop every replica; blocks until they are gone, or until Kubernetes takes too long."""
        workload, name = self._workload(build), build_name(build)
        for kind in (AUTOSCALER, DISRUPTION_BUDGET, SERVICE, DEPLOYMENT):  # the last one shows that it is here
            self._api.delete(kind, name)
        self._forget()
        if workload is not None:
            self._wait(build, None, workload.grace + _STAYING)

    def endpoints(self) -> Endpoints:
        """The addresses of the ready pods of every started service, without leaving ones; if none is ready, of those
        that will be."""
        snapshot = self._lately()
        return {build: endpoints_of(build, snapshot.slices) for build in snapshot.workloads}

    def running(self) -> Mapping[BuildRef, int]:
        """The desired number of replicas of every service, without leaving ones, healthy or not.

        0 if no requests can be sent to them, because an interrupted stop, or somebody, has deleted the Service.
        """
        snapshot = self._lately()
        return {
            build: workload.staying if build_name(build) in snapshot.services else 0
            for build, workload in snapshot.workloads.items()
        }

    def replicas(self) -> Mapping[BuildRef, tuple[int, int]]:
        """For every service with several replicas: how many answer now, and how many are desired."""
        snapshot = self._lately()
        return {
            build: (sum(map(is_alive, ready_of(build, snapshot.slices))), workload.staying)
            for build, workload in snapshot.workloads.items()
            if workload.staying > 1
        }

    def probe(self, build: BuildRef) -> str | None:
        """None when every replica is ready and answers the model's own example, else what is wrong.

        Raises ServiceFailed if the example is an error to the model.
        """
        snapshot = self._now()
        workload = snapshot.workloads.get(build)
        if workload is None:
            return f"{build} was not started"
        ready = ready_of(build, snapshot.slices)
        if len(ready) < workload.staying or not ready:
            why = waiting(workload.pods, workload.deployment)
            return why or f"{len(ready)} of {max(1, workload.staying)} pods are ready"
        example = self._example(packed_of(workload.deployment))
        problems = (probe(endpoint, example) for endpoint in ready)
        return next((why for why in problems if why is not None), None)

    def hanging(self, build: BuildRef) -> frozenset[Endpoint]:
        """The addresses of pods that accept requests but do not answer that they are alive; blocks for seconds."""
        return frozenset(each for each in all_of(build, self._lately().slices) if hangs(each))

    def ready(self, build: BuildRef) -> frozenset[Endpoint]:
        """The addresses of pods that Kubernetes reports as ready. No pod is asked."""
        return frozenset(ready_of(build, self._lately().slices))

    def stage_times(self, build: BuildRef) -> tuple[StageTimes, ...]:  # noqa: ARG002
        """Nothing: pods do not report the times of their stages."""
        return ()

    def clean(self, now: datetime) -> tuple[str, ...]:  # noqa: ARG002
        """Nothing: Kubernetes keeps the logs of pods, and deletes them."""
        return ()

    def gave_up(self, build: BuildRef) -> str | None:
        """Why a pod cannot run, when that does not pass by itself."""
        workload = self._lately().workloads.get(build)
        return None if workload is None else given_up(workload.pods, workload.deployment, self._long_unpulled())

    def _long_unpulled(self) -> frozenset[str]:
        until = self._elapsed() - PULL_SECONDS
        return frozenset(name for name, since in self._unpulled.items() if since <= until)

    def _pattern(self, serve: Serve) -> Object | None:
        name = serve.placement.autoscaler
        if name is None:
            return None
        try:
            return self._api.get(AUTOSCALER, name)
        except NotFound:
            raise ServiceFailed(
                f"the plan names the HorizontalPodAutoscaler {name}, and there is none in {self._api.where}.",
                fix="apply one, or remove serve: {placement: {autoscaler: …}} from the plan.",
            ) from None

    def _mark(self, pod: Object, change: Object) -> None:
        with suppress(NotFound):  # it has ended meanwhile
            self._api.merge(POD, _name(pod), change)

    def _scale(self, build: BuildRef, replicas: int) -> None:
        change = {"spec": {"replicas": max(0, replicas)}}
        self._api.merge(DEPLOYMENT, build_name(build), change, manager=_REPLICAS)

    def _wait(self, build: BuildRef, names: set[str] | None, seconds: float) -> None:
        """Wait until these pods, or all of the build's, are gone, but no longer than this many seconds."""
        until = self._elapsed() + seconds
        while self._elapsed() < until:
            pods = self._api.select(POD, labels(Component.SERVICE, build)).items
            if not any(names is None or _name(pod) in names for pod in pods):
                return
            self._sleep(_LOOK)

    def _workload(self, build: BuildRef) -> Workload | None:
        return self._now().workloads.get(build)

    def _forget(self) -> None:
        self._last = None

    def _lately(self) -> _Snapshot:
        last = self._last
        if last is not None and self._elapsed() - last[0] < _FRESH:
            return last[1]
        return self._now()

    def _now(self) -> _Snapshot:
        began, ours = self._elapsed(), labels(Component.SERVICE)
        deployments = self._api.select(DEPLOYMENT, ours).items
        pods = self._api.select(POD, ours).items
        services = frozenset(map(_name, self._api.select(SERVICE, ours).items))
        slices = self._api.select(ENDPOINT_SLICE, ours).items
        workloads = {
            build: Workload.of(deployment, (pod for pod in pods if build_of(pod) == build))
            for deployment in deployments
            if not is_ending(deployment) and (build := build_of(deployment)) is not None
        }
        unpulled = [_name(pod) for pod in pods if unpulled_image(pod) is not None]
        self._unpulled = {name: self._unpulled.get(name, began) for name in unpulled}
        self._last = (began, _Snapshot(workloads=workloads, services=services, slices=slices))
        return self._last[1]


def _name(thing: Object) -> str:
    return str(thing["metadata"]["name"])
