"""What we ask of a cluster's API, on the server in memory and on a real one: so the one in memory is no fairy tale."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Forbidden, NotFound, ObjectConflict, Refused
from sluicegate.services.cluster.access import TextOrFile
from sluicegate.services.cluster.answers import Expired
from sluicegate.services.cluster.api import Api, Event, Limits
from sluicegate.services.cluster.following import follow
from sluicegate.services.cluster.kinds import CONFIG_MAP, DEPLOYMENT, LEASE
from sluicegate.services.cluster.names import Component, labels
from tests.contract.clusters import Cluster

pytestmark = pytest.mark.timeout(120)
OURS = {"app.kubernetes.io/name": "sluicegate"}


@pytest.fixture
def api(cluster: Cluster) -> Api:
    return cluster.api()


def config(name: str = "table", labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": OURS if labels is None else labels}, "data": data}


def deployment(name: str = "sluice-delays-v1", app: str = "delays", **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "service", "image": "registry.invalid/none:1"}]},
    }
    spec = {"selector": {"matchLabels": {"app": app}}, "template": template} | spec
    return {"metadata": {"name": name, "labels": OURS}, "spec": spec}


def test_what_is_applied_is_there_and_the_same_again_changes_nothing(api: Api) -> None:
    first = api.apply(DEPLOYMENT, deployment())
    again = api.apply(DEPLOYMENT, deployment())
    assert first["metadata"]["generation"] == 1
    assert again["metadata"]["uid"] == first["metadata"]["uid"]
    assert again["metadata"]["generation"] == 1
    assert api.get(DEPLOYMENT, "sluice-delays-v1")["spec"]["replicas"] == 1


def test_a_field_that_is_not_applied_any_more_is_gone(api: Api) -> None:
    api.apply(CONFIG_MAP, config(a="1", b="2"))
    assert api.apply(CONFIG_MAP, config(a="1"))["data"] == {"a": "1"}


def test_a_field_of_another_manager_stays_and_one_that_both_say_is_ours(api: Api) -> None:
    api.apply(CONFIG_MAP, config(a="1", theirs="x"), manager="another")
    assert api.apply(CONFIG_MAP, config(a="2"))["data"] == {"a": "2", "theirs": "x"}
    assert api.apply(CONFIG_MAP, config())["data"] == {"theirs": "x"}


def test_replicas_that_are_merged_by_another_name_stay_when_the_rest_is_applied_again(api: Api) -> None:
    """So a HorizontalPodAutoscaler may take them over, and no apply sets them back."""
    api.apply(DEPLOYMENT, deployment())
    api.merge(DEPLOYMENT, "sluice-delays-v1", {"spec": {"replicas": 3}}, manager="sluicegate-replicas")
    assert api.apply(DEPLOYMENT, deployment(minReadySeconds=1))["spec"]["replicas"] == 3


def test_a_merge_sets_and_removes_single_fields(api: Api) -> None:
    api.apply(CONFIG_MAP, config(a="1", b="2"))
    assert api.merge(CONFIG_MAP, "table", {"data": {"a": None, "c": "3"}})["data"] == {"b": "2", "c": "3"}


def test_what_is_not_there(api: Api) -> None:
    with pytest.raises(NotFound):
        api.get(CONFIG_MAP, "table")
    with pytest.raises(NotFound):
        api.merge(CONFIG_MAP, "table", {"data": {"a": "1"}})
    assert not api.delete(CONFIG_MAP, "table")


def test_what_is_deleted_is_gone(api: Api) -> None:
    api.apply(CONFIG_MAP, config(a="1"))
    assert api.delete(CONFIG_MAP, "table")
    with pytest.raises(NotFound):
        api.get(CONFIG_MAP, "table")


def test_what_has_a_finalizer_stays_until_that_is_taken_away(api: Api) -> None:
    held = config(a="1")
    held["metadata"]["finalizers"] = ["sluicegate.dev/held"]
    api.apply(CONFIG_MAP, held)
    assert api.delete(CONFIG_MAP, "table")
    assert "deletionTimestamp" in api.get(CONFIG_MAP, "table")["metadata"]
    api.merge(CONFIG_MAP, "table", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        api.get(CONFIG_MAP, "table")


def test_of_two_who_take_a_lease_one_wins(api: Api) -> None:
    lease = {"metadata": {"name": "gateway-a"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}
    mine = api.create(LEASE, lease)
    with pytest.raises(ObjectConflict):
        api.create(LEASE, lease)
    taken = api.replace(LEASE, mine | {"spec": {"holderIdentity": "b"}})
    assert taken["spec"]["holderIdentity"] == "b"
    with pytest.raises(ObjectConflict):
        api.replace(LEASE, mine | {"spec": {"holderIdentity": "c"}})
    with pytest.raises(Refused):
        api.replace(LEASE, {"metadata": {"name": "gateway-a"}, "spec": {"holderIdentity": "d"}})


def test_a_merge_that_names_an_older_version_changes_nothing(api: Api) -> None:
    old = api.apply(CONFIG_MAP, config(a="1"))["metadata"]["resourceVersion"]
    api.apply(CONFIG_MAP, config(a="2"))
    with pytest.raises(ObjectConflict):
        api.merge(CONFIG_MAP, "table", {"metadata": {"resourceVersion": old}, "data": {"a": "3"}})
    assert api.get(CONFIG_MAP, "table")["data"] == {"a": "2"}


def test_objects_are_selected_by_labels_page_by_page(cluster: Cluster) -> None:
    api = cluster.api(Limits(page=2))
    for number in range(5):
        api.apply(CONFIG_MAP, config(f"ours-{number}"))
    api.apply(CONFIG_MAP, config("theirs", labels={"app.kubernetes.io/name": "other"}))
    found = api.select(CONFIG_MAP, OURS)
    assert sorted(each["metadata"]["name"] for each in found.items) == [f"ours-{number}" for number in range(5)]


def test_a_watch_tells_what_changes_after_a_version_in_order_and_ends_by_itself(api: Api) -> None:
    api.apply(CONFIG_MAP, config("before"))
    since = api.select(CONFIG_MAP, OURS).version
    api.apply(CONFIG_MAP, config("table", a="1"))
    api.apply(CONFIG_MAP, config("theirs", labels={"app.kubernetes.io/name": "other"}))
    api.apply(CONFIG_MAP, config("table", a="2"))
    api.delete(CONFIG_MAP, "table")
    told = [event for event in api.watch(CONFIG_MAP, OURS, since) if event.what != "BOOKMARK"]
    assert [(event.what, event.object["data"]["a"]) for event in told] == [
        ("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2"),
    ]  # fmt: skip
    assert all(event.object["metadata"]["name"] == "table" for event in told)
    assert [event for event in api.watch(CONFIG_MAP, OURS, told[-1].version) if event.what != "BOOKMARK"] == []


def test_an_object_that_loses_the_label_is_told_as_deleted(api: Api) -> None:
    api.apply(CONFIG_MAP, config(a="1"))
    since = api.select(CONFIG_MAP, OURS).version
    api.apply(CONFIG_MAP, config(labels={}, a="1"))
    told = [event.what for event in api.watch(CONFIG_MAP, OURS, since) if event.what != "BOOKMARK"]
    assert told == ["DELETED"]


def test_a_watch_from_a_forgotten_version_says_so(api: Api) -> None:
    with pytest.raises(Expired):
        tuple(api.watch(CONFIG_MAP, OURS, "1"))


def test_who_follows_sees_every_state(api: Api) -> None:
    api.apply(CONFIG_MAP, config("table", a="1"))
    over = threading.Event()
    seen = []
    for state in follow(api, CONFIG_MAP, OURS, over.wait):
        seen.append({name: thing["data"] for name, thing in state.objects.items()})
        match len(seen):
            case 1:
                api.apply(CONFIG_MAP, config("table", a="2"))
            case 2:
                api.delete(CONFIG_MAP, "table")
            case _:
                over.set()
    assert seen[:3] == [{"table": {"a": "1"}}, {"table": {"a": "2"}}, {}]


def test_labels_of_any_build_are_accepted(api: Api) -> None:
    strange = BuildRef(model="späte Flüge/%", version="1")
    api.apply(CONFIG_MAP, {"metadata": {"name": "table", "labels": labels(Component.SERVICE, strange)}})
    assert len(api.select(CONFIG_MAP, labels(Component.SERVICE, strange)).items) == 1


def test_what_is_no_valid_object_is_refused_with_the_reason(api: Api) -> None:
    with pytest.raises(Refused, match="label"):
        api.apply(CONFIG_MAP, config(labels={"x": "not a label"}))
    api.apply(DEPLOYMENT, deployment())
    with pytest.raises(Refused, match="immutable"):
        api.apply(DEPLOYMENT, deployment(app="other"))


def test_who_is_unknown_is_told_so(cluster: Cluster) -> None:
    unknown = replace(cluster.access, token=TextOrFile(text="nobody"), certificate=None)
    with pytest.raises(Forbidden, match="does not accept the credentials"):
        Api(unknown, cluster.namespace).get(CONFIG_MAP, "table")


def test_bookmarks_tell_a_version_to_go_on_from(api: Api) -> None:
    since = api.select(CONFIG_MAP, OURS).version
    marks = [event for event in api.watch(CONFIG_MAP, OURS, since) if event.what == "BOOKMARK"]
    assert all(isinstance(mark, Event) and int(mark.version) >= int(since) for mark in marks)
