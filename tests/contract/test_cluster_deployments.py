"""Builds as Deployments: what is true of a cluster alone. With KUBECONFIG a real API server judges the objects, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Forbidden, NotFound, ServiceFailed, Unreachable
from sluicegate.services.cluster.api import Api
from sluicegate.services.cluster.deployments import PULL_SECONDS, ClusterServices
from sluicegate.services.cluster.kinds import AUTOSCALER, DEPLOYMENT, DISRUPTION_BUDGET, ENDPOINT_SLICE, POD, SERVICE
from sluicegate.services.cluster.names import Component, build_name, labels
from sluicegate.services.cluster.rights import RIGHTS, Role
from tests.contract.clusters import Cluster
from tests.contract.fleets import KIT, NAMESPACE, InCluster, in_cluster
from tests.contract.test_services import eventually, started
from tests.doubles.answering import Mode

pytestmark = pytest.mark.timeout(120)
REF = BuildRef(model="delays", version="1")
FULL = Serve.model_validate(
    {
        "replicas": 2,
        "timeout": "2s",
        "image": "registry.invalid/delays:4",
        "resources": {"cpu": 0.5, "memory": "512MiB"},
        "placement": {
            "node_selector": {"pool": "models"},
            "tolerations": [{"key": "models", "effect": "NoSchedule"}],
            "pull_secrets": ["registry"],
        },
    }
)
PATTERN = {
    "metadata": {"name": "delays"},
    "spec": {
        "minReplicas": 2,
        "maxReplicas": 9,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "any"},
    },
}
SCALED = Serve.model_validate({"placement": {"autoscaler": "delays"}})


@pytest.fixture
def world() -> Iterator[InCluster]:
    with in_cluster() as found:
        yield found


def admin(world: InCluster) -> Api:
    return Api(world.server.access(), NAMESPACE)


def test_the_objects_of_a_build_are_accepted_applied_once_and_removed_without_a_rest(
    cluster: Cluster, world: InCluster
) -> None:
    api, packed = cluster.api(), world.pack()
    services = ClusterServices(cluster.allow(Role.CONTROL).api(), KIT, example=lambda _: None)
    services.start(REF, packed, FULL)
    first = api.get(DEPLOYMENT, build_name(REF))
    services.start(REF, packed, FULL)
    again = api.get(DEPLOYMENT, build_name(REF))
    assert again["metadata"]["generation"] == first["metadata"]["generation"]
    assert dict(services.running()) == {REF: 2}
    assert services.endpoints().keys() == {REF}
    assert services.probe(REF)
    services.stop(REF)
    for kind in (AUTOSCALER, SERVICE, DISRUPTION_BUDGET, DEPLOYMENT, POD):
        assert api.select(kind, labels(Component.SERVICE, REF)).items == ()


def test_an_autoscaler_like_the_named_one_decides_how_many_replicas_there_are(
    cluster: Cluster, world: InCluster
) -> None:
    api, packed = cluster.api(), world.pack()
    services = ClusterServices(cluster.allow(Role.CONTROL).api(), KIT, example=lambda _: None)
    api.create(AUTOSCALER, PATTERN)
    services.start(REF, packed, SCALED)
    own = api.get(AUTOSCALER, build_name(REF))["spec"]
    assert (own["minReplicas"], own["maxReplicas"], own["scaleTargetRef"]["name"]) == (2, 9, build_name(REF))
    api.merge(DEPLOYMENT, build_name(REF), {"spec": {"replicas": 5}}, manager="autoscaler")
    services.start(REF, packed, SCALED)
    assert dict(services.running()) == {REF: 5}
    services.stop(REF)
    assert [each["metadata"]["name"] for each in api.select(AUTOSCALER, {}).items] == ["delays"]


def test_a_role_may_not_do_what_it_does_not_need(cluster: Cluster, world: InCluster) -> None:
    services = ClusterServices(cluster.allow(Role.GATEWAY).api(), KIT, example=lambda _: None)
    with pytest.raises(Forbidden, match="cannot list resource"):
        services.start(REF, world.pack(), Serve())
    with pytest.raises(Forbidden, match="cannot get resource"):
        cluster.allow(Role.CONTROL).api().get(POD, "any")


def test_an_autoscaler_that_is_not_there_is_said_before_anything_is_applied(world: InCluster) -> None:
    with pytest.raises(ServiceFailed, match="HorizontalPodAutoscaler delays, and there is none in namespace models"):
        world.services().start(REF, world.pack(), SCALED)
    assert dict(world.services().running()) == {}
    with pytest.raises(NotFound):
        admin(world).get(SERVICE, build_name(REF))


def test_a_plan_that_captures_bodies_is_refused(world: InCluster) -> None:
    with pytest.raises(ServiceFailed, match="captures bodies of requests or answers"):
        world.services().start(REF, world.pack(), Serve.model_validate({"capture": {"features": "full"}}))


def test_those_that_leave_go_also_where_kubernetes_chose_another_one(world: InCluster) -> None:
    """It takes a pod first that is not ready, whatever the others cost."""
    started(world, replicas=2)
    world.behave(Mode.STARTING)
    services = world.services()
    services.start(REF, world.pack(), Serve(replicas=3))
    eventually(lambda: len(admin(world).select(POD, labels(Component.SERVICE, REF)).items) == 3)
    pods = admin(world).select(POD, labels(Component.SERVICE, REF)).items
    leaving = max(pods, key=lambda pod: pod["status"]["conditions"][0]["status"])["metadata"]["name"]
    admin(world).merge(POD, leaving, {"metadata": {"labels": {"sluicegate.dev/serving": "false"}}})
    world.behave(Mode.READY)
    world.services().dismiss(REF)
    eventually(lambda: len(world.services().ready(REF)) == 2)
    assert leaving not in {
        pod["metadata"]["name"] for pod in admin(world).select(POD, labels(Component.SERVICE, REF)).items
    }
    assert dict(world.services().running()) == {REF: 2}


def test_a_pod_that_moves_changes_the_addresses_and_not_which_builds_run(world: InCluster) -> None:
    before = started(world, replicas=2)
    [pod, *_] = admin(world).select(POD, labels(Component.SERVICE, REF)).items
    admin(world).delete(POD, pod["metadata"]["name"])
    eventually(lambda: len(world.services().ready(REF)) == 2 and world.services().endpoints()[REF] != before)
    assert world.services().endpoints().keys() == {REF}


def test_a_stop_waits_for_the_last_pod_but_not_for_ever(world: InCluster) -> None:
    started(world)
    world.controllers.are_slow_to_end = True
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.controllers.are_slow_to_end = len(slept) < 3
        admin(world).apply(SERVICE, {"metadata": {"name": "another"}, "spec": {"selector": {"a": str(len(slept))}}})

    ClusterServices(admin(world), KIT, example=lambda _: None, sleep=sleep).stop(REF)
    assert len(slept) >= 3
    assert admin(world).select(POD, labels(Component.SERVICE, REF)).items == ()
    started(world)
    world.controllers.are_slow_to_end = True
    passed = iter(range(0, 10_000, 20))
    late = ClusterServices(admin(world), KIT, example=lambda _: None, sleep=slept.append, elapsed=lambda: next(passed))
    late.stop(REF)
    assert len(admin(world).select(POD, labels(Component.SERVICE, REF)).items) == 1


def test_a_service_object_that_somebody_took_away_is_made_again(world: InCluster) -> None:
    """Also by a stop that was broken off half-way, before the build was wanted again."""
    before = started(world)
    admin(world).delete(SERVICE, build_name(REF))
    eventually(lambda: not world.services().ready(REF))
    assert dict(world.services().running()) == {REF: 0}
    assert started(world) == before


def test_an_image_that_is_not_pulled_is_told_at_once_and_given_up_when_that_lasts(world: InCluster) -> None:
    """The kubelet tries again: a registry may be away for a moment."""
    world.behave(Mode.STARTING)
    now = [0.0]
    services = ClusterServices(admin(world), KIT, example=lambda _: None, elapsed=lambda: now[0])
    services.start(REF, world.pack(), Serve())
    eventually(lambda: admin(world).select(POD, labels(Component.SERVICE, REF)).items)
    [pod] = admin(world).select(POD, labels(Component.SERVICE, REF)).items
    held = {"waiting": {"reason": "ImagePullBackOff", "message": "503 from the registry"}}
    status = {"containerStatuses": [{"name": "service", "image": "ours:1", "state": held}]}
    world.server.objects.set_status(world.server.place(POD, NAMESPACE), pod["metadata"]["name"], pod["status"] | status)
    why = "the image ours:1 cannot be pulled: 503 from the registry"
    assert services.probe(REF) == why
    assert services.gave_up(REF) is None
    now[0] += PULL_SECONDS - 1
    assert services.gave_up(REF) is None
    now[0] += 1
    assert services.gave_up(REF) == why


def test_an_api_that_was_away_is_asked_again(world: InCluster) -> None:
    services = world.services()
    world.away()
    with pytest.raises(Unreachable):
        services.start(REF, world.pack(), Serve())
    world.server.back()
    services.start(REF, world.pack(), Serve())
    eventually(lambda: world.services().probe(REF) is None)


def test_the_keeper_has_the_rights_for_what_it_does_with_builds_and_no_other(world: InCluster) -> None:
    admin(world).create(AUTOSCALER, PATTERN)
    started(world, replicas=3)
    services = world.services()
    services.retire(REF, 1)
    services.dismiss(REF)
    services.mend(REF, services.endpoints()[REF])
    services.start(REF, world.pack(), SCALED)
    services.stop(REF)
    kinds = (DEPLOYMENT, SERVICE, DISRUPTION_BUDGET, AUTOSCALER, ENDPOINT_SLICE, POD)
    granted = {(Role.CONTROL, f"{kind.plural}.{kind.group}".rstrip("."), verb)
               for kind in kinds for verb in RIGHTS[Role.CONTROL][kind]}  # fmt: skip
    assert world.server.used == granted
