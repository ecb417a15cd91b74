"""Variations: slots of a model that hold a build each, who is sent to them, and what their orders refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.documents.documents import ReadDocument, document_from_values
from sluicegate.registry.ledger.record import Applied, Changes, OrderKey, Receipt, Record
from sluicegate.registry.orders.audience_store import audiences, shares
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.orders.give import apply_document, give
from sluicegate.registry.orders.order import (
    Abort,
    Act,
    Arrange,
    Connect,
    Deploy,
    Disconnect,
    Order,
    Retry,
    RollBack,
    Share,
    Undeploy,
)
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Baked, Packed, Promoted, Ready
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.errors import Forbidden, NotFound, Refused, TargetBusy, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.keeper.fleet_pass import needs
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")


def plan(variation: str = "default") -> Plan:
    return Plan.model_validate({"model": "m", "variation": variation, "steps": [{"weight": 10}, {"weight": 50}]})


def launched(ledger: MemoryLedger, rollout_id: str) -> None:
    """The rollout, packed and ready."""
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="1")):
        ledger.append(rollout_id, ledger.rollout(rollout_id).seq + 1, fact, NOW)


def deployed(ledger: MemoryLedger, version: str, variation: str = "default") -> None:
    """A variation that holds a first build."""
    first = orders.deploy(ledger, plan=plan(variation), version=version, request=WHO, now=NOW).rollout
    launched(ledger, first.id)
    orders.complete(ledger, first.id, NOW)


# --- replicas --------------------------------------------------------------------------------------------------------


def scaled(ledger: MemoryLedger, replicas: int, variation: str = "default") -> Rollout:
    return orders.scale(
        ledger, model="m", variation=variation, replicas=replicas, actor="ada", reason="rush", now=NOW
    )  # fmt: skip


def replicas_needed(ledger: MemoryLedger) -> dict[str, int]:
    """By version, how many replicas the keeper has run."""
    rollouts = ledger.rollouts()
    return {need.build.version: need.serve.replicas for need in needs(rollouts, standings(rollouts))}


def test_a_stable_build_is_scaled_without_a_rollout_and_the_next_build_starts_as_its_plan_says() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    assert replicas_needed(ledger) == {"1": 1}
    assert scaled(ledger, 3).replicas == 3
    assert replicas_needed(ledger) == {"1": 3}
    (standing,) = standings(ledger.rollouts())
    assert standing.stable_serve is not None
    assert standing.stable_serve.replicas == 3
    tried = orders.start(ledger, plan=plan(), version="2", request=WHO, now=NOW).rollout
    launched(ledger, tried.id)
    assert replicas_needed(ledger) == {"1": 3, "2": 1}, "what is tried keeps to its plan"
    assert scaled(ledger, 2).requested.version == "1"
    assert replicas_needed(ledger) == {"1": 2, "2": 1}


def test_the_same_number_of_replicas_again_records_nothing() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    once = scaled(ledger, 3)
    assert scaled(ledger, 3).seq == once.seq
    assert scaled(ledger, 1).seq == once.seq + 1


def test_a_build_in_two_variations_is_served_once_and_scaled_once() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    deployed(ledger, "1", "b")
    for variation, replicas in (("default", 3), ("b", 4)):
        scaled(ledger, replicas, variation)
        assert replicas_needed(ledger) == {"1": replicas}


@pytest.mark.parametrize(
    ("variation", "replicas", "error"),
    [("nowhere", 2, NotFound), ("default", 0, UsageError), ("default", 33, UsageError)],
)
def test_what_cannot_be_scaled_is_refused(variation: str, replicas: int, error: type[Exception]) -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    with pytest.raises(error):
        scaled(ledger, replicas, variation)
    assert replicas_needed(ledger) == {"1": 1}


def test_what_an_autoscaler_decides_is_no_order_of_people() -> None:
    ledger = MemoryLedger()
    serve = Serve.model_validate({"placement": {"autoscaler": "delays"}})
    by_load = plan().model_copy(update={"serve": serve})
    first = orders.deploy(ledger, plan=by_load, version="1", request=WHO, now=NOW).rollout
    launched(ledger, first.id)
    orders.complete(ledger, first.id, NOW)
    with pytest.raises(Refused, match="HorizontalPodAutoscaler delays decides how many replicas"):
        scaled(ledger, 3)
    assert replicas_needed(ledger) == {"1": 1}


# --- at once, and away -----------------------------------------------------------------------------------------------


def test_a_build_that_is_put_in_at_once_is_the_override_of_who_asked() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    started = orders.deploy(ledger, plan=plan(), version="2", at_once="hotfix", request=WHO, now=NOW)
    launched(ledger, started.rollout.id)
    done = orders.complete(ledger, started.rollout.id, NOW)
    assert done.phase is Phase.BAKING
    (fact,) = [entry.fact for entry in ledger.entries(done.id) if isinstance(entry.fact, Promoted)]
    assert (fact.override, fact.actor) == (True, WHO.actor)
    assert "hotfix" in fact.reason
    assert orders.stable(ledger, "m", "default") == "2"


def test_at_once_does_not_push_a_rollout_aside() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    held = orders.start(ledger, plan=plan(), version="2", request=WHO, now=NOW).rollout
    with pytest.raises(TargetBusy, match=held.id):
        orders.deploy(ledger, plan=plan(), version="3", at_once="now", request=WHO, now=NOW)


def test_an_undeployed_variation_is_empty_until_a_first_build_is_deployed_anew() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    gone = orders.undeploy(ledger, model="m", variation="default", actor="ada", reason="done", now=NOW, is_last=True)
    assert (gone.undeployed, gone.settled, gone.actor) == (True, False, "ada")
    assert standings(ledger.rollouts()) == ()
    with pytest.raises(NotFound):
        orders.undeploy(ledger, model="m", variation="default", actor="ada", reason="done", now=NOW, is_last=True)
    deployed(ledger, "1")
    assert orders.stable(ledger, "m", "default") == "1"


def test_a_variation_with_a_rollout_under_way_is_not_undeployed() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1")
    held = orders.start(ledger, plan=plan(), version="2", request=WHO, now=NOW).rollout
    with pytest.raises(TargetBusy, match=held.id):
        orders.undeploy(ledger, model="m", variation="default", actor="ada", reason="done", now=NOW)


# --- a build into a slot ---------------------------------------------------------------------------------------------


def put(ledger: MemoryLedger, version: str, variation: str = "default", at_once: str | None = None) -> Rollout:
    """A build, put into a variation and launched if it was new."""
    started = orders.deploy(ledger, plan=plan(variation), version=version, now=NOW, request=WHO, at_once=at_once)
    if started.created and started.rollout.holds_target:
        launched(ledger, started.rollout.id)
        orders.complete(ledger, started.rollout.id, NOW)
    return ledger.rollout(started.rollout.id)


def audience(ledger: MemoryLedger, name: str, state: str) -> None:
    """An applied audience of a state."""
    (document,) = [document_from_values({"kind": "audience", "name": name, "when": {"state": state}}, "test")]
    apply_document(ledger, applied(document), Role.ADMIN)


def applied(document: ReadDocument) -> Applied:
    return Applied(
        kind=document.kind, name=document.name, body=document.body, digest=document.digest, actor="ada", at=NOW
    )  # fmt: skip


def send(ledger: MemoryLedger, variation: str, *to: Share, is_fallback: bool = False) -> Connections:
    return orders.send(
        ledger, model="m", variation=variation, to=to, is_fallback=is_fallback, actor="ada", now=NOW
    )  # fmt: skip


def take_away(ledger: MemoryLedger, variation: str, audience: str) -> Connections:
    return orders.take_away(ledger, model="m", variation=variation, audience=audience, actor="ada", now=NOW)


def undeploy(ledger: MemoryLedger, variation: str, *, is_last: bool = False) -> Rollout:
    return orders.undeploy(
        ledger, model="m", variation=variation, is_last=is_last, actor="ada", reason="done", now=NOW
    )  # fmt: skip


def shown(connections: Connections | None) -> dict[str, str]:
    """Who gets what, in words."""
    assert connections is not None
    fallback = ", ".join(f"{part.variation} {part.weight}" for part in connections.fallback)
    return {each.audience.name: shares(each) for each in connections.ordered} | {"default": fallback}


@pytest.fixture
def ledger() -> MemoryLedger:
    """A model with the variations default and b, and the audiences ny and ca."""
    ledger = MemoryLedger()
    put(ledger, "1")
    put(ledger, "2", "b")
    audience(ledger, "ny", "New York")
    audience(ledger, "ca", "California")
    return ledger


def test_a_build_into_a_slot_with_traffic_is_a_canary(ledger: MemoryLedger) -> None:
    assert put(ledger, "3").requested.strategy == "canary"
    assert orders.stable(ledger, "m", "default") == "1"
    send(ledger, "b", Share(audience="ny", weight=1))
    assert put(ledger, "4", "b").requested.strategy == "canary"


def test_a_build_into_a_slot_without_traffic_takes_it_at_once(ledger: MemoryLedger) -> None:
    replaced = put(ledger, "4", "b")
    assert replaced.requested.strategy == "replace"
    assert "no traffic" in replaced.requested.cause
    assert orders.stable(ledger, "m", "b") == "4"


def test_at_once_is_recorded_with_actor_and_reason(ledger: MemoryLedger) -> None:
    replaced = put(ledger, "3", at_once="hotfix")
    assert (replaced.requested.strategy, replaced.requested.actor) == ("replace", "ada")
    assert "hotfix" in replaced.reason
    assert orders.stable(ledger, "m", "default") == "3"


def test_the_first_variation_takes_every_request_whatever_it_is_called() -> None:
    ledger = MemoryLedger()
    put(ledger, "1", "blue")
    put(ledger, "2", "a-later-one")
    assert shown(connections_of(ledger, "m")) == {"default": "blue 1"}


def test_a_second_variation_that_is_ordered_while_the_first_launches_does_not_take_its_place() -> None:
    ledger = MemoryLedger()
    audience(ledger, "ny", "New York")
    for version, name in (("1", "default"), ("2", "b")):
        orders.deploy(ledger, plan=plan(name), version=version, now=NOW, request=WHO)
    launched(ledger, ledger.rollouts()[1].id)
    orders.complete(ledger, ledger.rollouts()[1].id, NOW)
    assert shown(send(ledger, "b", Share(audience="ny", weight=1)))["default"] == "default 1"


# --- who is sent where -----------------------------------------------------------------------------------------------


def test_weights_are_relative_and_the_others_keep_theirs(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ny", weight=30))
    send(ledger, "default", Share(audience="ny", weight=70))
    send(ledger, "b", Share(audience="ca", weight=1))
    after = send(ledger, "b", Share(audience="ny", weight=10), Share(audience="ca", sample=2000))
    assert shown(after) == {"ny": "b 10, default 70", "ca": "b 1, copies of 20 % to b", "default": "default 1"}
    assert shown(connections_of(ledger, "m")) == shown(after)
    assert shown(send(ledger, "b", Share(audience="ny", weight=0)))["ny"] == "default 70"


def test_the_first_audience_that_was_connected_is_asked_first(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ca", weight=1))
    send(ledger, "b", Share(audience="ny", weight=1))
    send(ledger, "default", Share(audience="ca", weight=1))
    assert list(shown(connections_of(ledger, "m"))) == ["ca", "ny", "default"]


def test_an_audience_needs_somebody_who_answers(ledger: MemoryLedger) -> None:
    with pytest.raises(Refused, match="no variation would answer"):
        send(ledger, "b", Share(audience="ny", sample=2000))
    with pytest.raises(UsageError, match="either a weight or a sample"):
        Share(audience="ny", weight=1, sample=1)


def test_an_unknown_audience_and_an_empty_variation_are_refused(ledger: MemoryLedger) -> None:
    with pytest.raises(NotFound, match="did you mean ny"):
        send(ledger, "b", Share(audience="nyy", weight=1))
    with pytest.raises(Refused, match="holds no build"):
        send(ledger, "c", Share(audience="ny", weight=1))


def test_a_fallback_is_required_where_several_variations_are_and_none_is_called_default() -> None:
    ledger = MemoryLedger()
    deployed(ledger, "1", "blue")
    deployed(ledger, "2", "green")
    audience(ledger, "ny", "New York")
    ledger.withdraw("traffic", "m", actor="ada", at=NOW)
    with pytest.raises(Refused, match="connect m blue --fallback"):
        send(ledger, "green", Share(audience="ny", weight=1))
    after = send(ledger, "green", Share(audience="ny", weight=1), is_fallback=True)
    assert shown(after) == {"ny": "green 1", "default": "green 1"}


def test_an_audience_that_is_taken_away_goes_on_to_the_next(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ny", weight=1), Share(audience="ca", weight=1))
    assert shown(take_away(ledger, "b", "ny")) == {"ca": "b 1", "default": "default 1"}
    with pytest.raises(Refused, match="not connected"):
        take_away(ledger, "b", "ny")


# --- away ------------------------------------------------------------------------------------------------------------


def test_what_would_leave_requests_without_an_answer_is_not_undeployed(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ny", weight=1))
    before = shown(connections_of(ledger, "m"))
    with pytest.raises(Refused, match=r"no audience matches.*--fallback"):
        undeploy(ledger, "default")
    with pytest.raises(Refused, match=r"only m/b answers the audience ny.*disconnect m b --audience ny"):
        undeploy(ledger, "b")
    assert shown(connections_of(ledger, "m")) == before


def test_an_undeployed_variation_leaves_its_requests_to_those_that_share_them(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ny", weight=30), Share(audience="ca", weight=1))
    send(ledger, "default", Share(audience="ny", weight=70), Share(audience="ca", weight=1))
    send(ledger, "b", Share(audience="ca", sample=100))
    assert undeploy(ledger, "b").undeployed
    assert shown(connections_of(ledger, "m")) == {"ny": "default 70", "ca": "default 1", "default": "default 1"}
    assert [each.variation for each in standings(ledger.rollouts())] == ["default"]


def test_the_last_variation_goes_only_by_its_own_word(ledger: MemoryLedger) -> None:
    undeploy(ledger, "b")
    with pytest.raises(Refused, match="--last"):
        undeploy(ledger, "default")
    undeploy(ledger, "default", is_last=True)
    assert standings(ledger.rollouts()) == ()
    put(ledger, "1", "green")
    assert shown(connections_of(ledger, "m")) == {"default": "green 1"}


def test_a_rollout_under_way_keeps_connections_as_they_are(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ny", weight=30))
    send(ledger, "default", Share(audience="ny", weight=70))
    before = shown(connections_of(ledger, "m"))
    put(ledger, "5", "b")
    with pytest.raises(TargetBusy):
        undeploy(ledger, "b")
    assert shown(connections_of(ledger, "m")) == before


def test_who_takes_part_in_an_experiment_stays_until_it_ends(ledger: MemoryLedger) -> None:
    for name in ("b", "default"):
        send(ledger, name, Share(audience="ny", weight=1))
    values = {
        "model": "m", "steps": [{"weight": 10}], "metrics": {"errors": {"source": "status"}},
        "ab": {"audience": "ny", "variations": {"default": 1, "b": 1}, "max_time": "1d",
               "goal": {"metric": "errors", "margin": "50%"}},
    }  # fmt: skip
    (started,) = orders.start_experiment(ledger, plan=Plan.model_validate(values), request=WHO, now=NOW)
    with pytest.raises(TargetBusy, match="experiment"):
        take_away(ledger, "default", "ny")
    for name in ("default", "b"):
        with pytest.raises(TargetBusy):
            undeploy(ledger, name)
    orders.abort(ledger, started.rollout.id, actor="ada", reason="over", now=NOW)
    assert undeploy(ledger, "b").undeployed


# --- applied audiences -----------------------------------------------------------------------------------------------


def test_an_audience_in_use_is_not_deleted_and_its_users_are_named(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ny", weight=30))
    with pytest.raises(Refused, match=r"ny is in use: m -> b 30\."):
        orders.delete_audience(ledger, "ny", actor="ada", now=NOW)
    orders.delete_audience(ledger, "ca", actor="ada", now=NOW)
    assert [each.name for each in audiences(ledger)] == ["ny"]
    with pytest.raises(NotFound):
        orders.delete_audience(ledger, "ca", actor="ada", now=NOW)


def test_a_changed_audience_reaches_every_model_that_uses_it(ledger: MemoryLedger) -> None:
    send(ledger, "b", Share(audience="ny", weight=30))
    audience(ledger, "ny", "NY")
    connections = connections_of(ledger, "m")
    assert connections is not None
    taken = connections.takes({"State": "NY"})
    assert taken is not None
    assert taken.audience.name == "ny"
    assert connections.takes({"state": "New York"}) is None


def test_an_unchanged_audience_changes_nothing(ledger: MemoryLedger) -> None:
    position = ledger.position()
    audience(ledger, "ny", "New York")
    assert ledger.position() == position


# --- the order of audiences, and two who change it at once -----------------------------------------------------------


class Hurried(MemoryLedger):
    """A ledger in which somebody else acts right before the next order is decided."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[Callable[[], object]] = []

    def commit(self, decide: Callable[[Record], Changes], key: OrderKey | None = None) -> Receipt:
        while self.first:
            self.first.pop()()
        return super().commit(decide, key)


def three_states(ledger: MemoryLedger) -> MemoryLedger:
    """A model with two variations, whose second gets the audiences ny, ca and tx."""
    deployed(ledger, "1")
    deployed(ledger, "2", "b")
    for name, state in (("ny", "New York"), ("ca", "California"), ("tx", "Texas")):
        audience(ledger, name, state)
        send(ledger, "b", Share(audience=name, weight=1))
    return ledger


def order_of(ledger: MemoryLedger) -> list[str]:
    found = connections_of(ledger, "m")
    assert found is not None
    return [each.audience.name for each in found.ordered]


def arranged(ledger: MemoryLedger, *names: str) -> Connections:
    return orders.arrange(ledger, model="m", audiences=names, actor="ada", now=NOW)


@pytest.mark.parametrize(
    ("names", "after"),
    [
        (("tx", "ca", "ny"), ["tx", "ca", "ny"]),
        (("tx",), ["tx", "ny", "ca"]),
        (("ca", "tx"), ["ca", "tx", "ny"]),
        (("ny", "ca", "tx"), ["ny", "ca", "tx"]),
    ],
)
def test_audiences_are_asked_in_the_order_that_is_named_the_rest_after_them(
    names: tuple[str, ...], after: list[str]
) -> None:
    ledger = three_states(MemoryLedger())
    before = connections_of(ledger, "m")
    told = arranged(ledger, *names)
    assert order_of(ledger) == after
    assert before is not None
    by_name = {each.audience.name: each for each in before.ordered}
    assert [by_name[name] for name in after] == list(told.ordered), "nobody changes variation inside an audience"


@pytest.mark.parametrize(
    ("names", "said"),
    [(("ny", "ny"), "named twice"), (("nj",), "connected are: ny, ca, tx"), (("default",), "always last")],
)
def test_an_order_that_makes_no_sense_is_refused(names: tuple[str, ...], said: str) -> None:
    ledger = three_states(MemoryLedger())
    with pytest.raises(UsageError, match=said):
        arranged(ledger, *names)
    assert order_of(ledger) == ["ny", "ca", "tx"]


def test_the_order_stays_while_an_experiment_goes_on() -> None:
    ledger = three_states(MemoryLedger())
    goal = {"metric": "errors", "margin": "50%"}
    document = {
        "model": "m", "steps": [{"weight": 10}], "metrics": {"errors": {"source": "status"}},
        "ab": {"variations": {"default": 1, "b": 1}, "goal": goal, "max_time": "1d"},
    }  # fmt: skip
    (started,) = orders.start_experiment(ledger, plan=Plan.model_validate(document), request=WHO, now=NOW)
    with pytest.raises(TargetBusy, match="experiment end"):
        arranged(ledger, "tx")
    orders.abort(ledger, started.rollout.id, actor="ada", reason="enough", now=NOW)
    arranged(ledger, "tx")
    assert order_of(ledger) == ["tx", "ny", "ca"]


def test_of_two_who_connect_at_once_neither_is_lost() -> None:
    ledger = Hurried()
    three_states(ledger)
    ledger.first.append(lambda: send(ledger, "default", Share(audience="ca", weight=3)))
    send(ledger, "default", Share(audience="ny", weight=2))
    found = connections_of(ledger, "m")
    assert found is not None
    assert [shares(each) for each in found.ordered] == ["b 1, default 2", "b 1, default 3", "b 1"]


def test_an_audience_that_changes_while_somebody_connects_changes_for_all() -> None:
    ledger = Hurried()
    three_states(ledger)
    ledger.first.append(lambda: audience(ledger, "ca", "Cascadia"))
    send(ledger, "default", Share(audience="ny", weight=2))
    found = connections_of(ledger, "m")
    assert found is not None
    assert [shares(each) for each in found.ordered] == ["b 1, default 2", "b 1", "b 1"]
    assert "Cascadia" in str(found.ordered[1].audience.condition)


# --- what moves callers unjudged -------------------------------------------------------------------------------------


def connected(ledger: MemoryLedger) -> None:
    """Variations default and b, a third of the audience eu sent to b, which a person approved."""
    audience(ledger, "eu", "CA")
    audience(ledger, "us", "NY")
    put(ledger, "1")
    put(ledger, "2", "b")
    for name in ("eu", "us"):
        for variation, weight in (("default", 2), ("b", 1)):
            act = Connect(model="m", variation=variation, shares=(Share(audience=name, weight=weight),))
            give(ledger, Order(act=act, actor="ada", role=Role.APPROVER, cause="cli"), NOW)


MOVES: dict[str, Act] = {
    "another fallback": Connect(model="m", variation="b", shares=(), is_fallback=True),
    "a share of the fallback": Connect(model="m", variation="b", shares=(Share(audience="default", weight=1),)),
    "another weight": Connect(model="m", variation="b", shares=(Share(audience="eu", weight=9),)),
    "a weight of none": Connect(model="m", variation="default", shares=(Share(audience="eu", weight=0),)),
    "an audience's end": Disconnect(model="m", variation="default", audience="eu"),
    "another order": Arrange(model="m", audiences=("us",)),
    "an emptied variation": Undeploy(model="m", variation="b"),
    "a build at once": Deploy(model="m", variation="b", version="3", plan=plan("b"), at_once="hurry"),
    "a build and the fallback": Deploy(model="m", variation="c", version="3", plan=plan("c"), is_fallback=True),
}


@pytest.mark.parametrize("act", MOVES.values(), ids=MOVES)
def test_what_moves_callers_unjudged_is_for_approvers(act: Act) -> None:
    ledger = MemoryLedger()
    connected(ledger)
    before = ledger.position()
    for role in (Role.REPORTER, Role.VIEWER, Role.OPERATOR):
        with pytest.raises(Forbidden, match="needs the role"):
            give(ledger, Order(act=act, actor="bob", role=role, cause="cli"), NOW)
    assert ledger.position() == before, "a refused order leaves no trace"
    give(ledger, Order(act=act, actor="ada", role=Role.APPROVER, cause="cli"), NOW)
    assert ledger.position() != before


def test_an_audience_in_use_is_redefined_by_approvers() -> None:
    ledger = MemoryLedger()
    connected(ledger)
    document = applied(document_from_values({"kind": "audience", "name": "eu", "when": {"state": "TX"}}, "test"))
    with pytest.raises(Forbidden):
        apply_document(ledger, document, Role.OPERATOR)
    assert apply_document(ledger, document, Role.APPROVER)


def test_the_fallback_is_not_moved_where_nobody_had_recorded_one() -> None:
    ledger = MemoryLedger()
    put(ledger, "1")
    put(ledger, "2", "b")
    with pytest.raises(Forbidden):
        give(ledger, Order(act=MOVES["another fallback"], actor="bob", cause="cli"), NOW)


def test_a_model_s_last_variation_is_emptied_by_approvers_and_first_filled_by_operators() -> None:
    """Else an operator could put an unjudged build in the place of the one that answers."""
    ledger = MemoryLedger()
    first = Deploy(model="m", variation="default", version="1", plan=plan())
    name = give(ledger, Order(act=first, actor="bob", cause="cli"), NOW).rollout or ""
    launched(ledger, name)
    orders.complete(ledger, name, NOW)
    with pytest.raises(Forbidden):
        give(ledger, Order(act=Undeploy(model="m", variation="default", is_last=True), actor="bob", cause="cli"), NOW)


def test_copies_and_builds_that_answer_nobody_are_for_operators() -> None:
    ledger = MemoryLedger()
    connected(ledger)
    copies = Connect(model="m", variation="b", shares=(Share(audience="default", sample=500),))
    aside = Deploy(model="m", variation="c", version="4", plan=plan("c"))
    for act in (copies, aside):
        give(ledger, Order(act=act, actor="bob", role=Role.OPERATOR, cause="cli"), NOW)


# --- going back ------------------------------------------------------------------------------------------------------


class Days:
    """A model whose builds come and go, a day each: what was stable while callers were there, and while none were."""

    def __init__(self) -> None:
        self.ledger, self.now = MemoryLedger(), NOW
        audience(self.ledger, "eu", "CA")
        self.put("1")

    def give(self, act: Act, role: Role = Role.ADMIN) -> Rollout | None:
        self.now += timedelta(days=1)
        name = give(self.ledger, Order(act=act, actor="bob", role=role, cause="cli"), self.now).rollout
        return None if name is None else self.ledger.rollout(name)

    def put(self, version: str, variation: str = "default", *, at_once: str | None = None) -> None:
        act = Deploy(model="m", variation=variation, version=version, plan=plan(variation), at_once=at_once)
        rollout = self.give(act)
        assert rollout is not None
        launched(self.ledger, rollout.id)
        orders.complete(self.ledger, rollout.id, self.now)
        if self.ledger.rollout(rollout.id).phase is Phase.BAKING:
            orders.append(self.ledger, rollout.id, lambda _: Baked(reason="baked"), self.now)

    def connect(self, variation: str, weight: int = 1) -> None:
        self.give(Connect(model="m", variation=variation, shares=(Share(audience="eu", weight=weight),)))


def test_going_back_to_a_build_that_answered_callers_stays_with_operators() -> None:
    days = Days()
    days.put("2", at_once="hurry")
    back = days.give(RollBack(model="m", variation="default"), Role.OPERATOR)
    assert back is not None
    assert back.requested.version == "1"


@pytest.mark.parametrize("act", [RollBack(model="m", variation="b"), RollBack(model="m", variation="b", version="2")])
def test_going_back_to_a_build_that_was_stable_without_callers_is_for_approvers(act: RollBack) -> None:
    days = Days()
    days.put("2", "b")
    days.put("3", "b")
    days.connect("b")
    before = days.ledger.position()
    with pytest.raises(Forbidden, match="v2, which had no callers while it was stable, needs the role approver"):
        days.give(act, Role.OPERATOR)
    assert days.ledger.position() == before, "a refused order leaves no trace"
    assert days.give(act, Role.APPROVER) is not None


def test_a_build_that_an_approver_sent_callers_to_may_be_gone_back_to() -> None:
    days = Days()
    days.put("2", "b")
    days.connect("b")
    days.put("3", "b", at_once="hurry")
    assert days.give(RollBack(model="m", variation="b"), Role.OPERATOR) is not None


def test_callers_that_were_taken_away_before_it_was_stable_do_not_count() -> None:
    days = Days()
    days.put("2", "b")
    days.connect("b")
    days.connect("default")
    days.connect("b", weight=0)
    days.put("3", "b")
    days.put("4", "b")
    days.connect("b")
    with pytest.raises(Forbidden, match="v3"):
        days.give(RollBack(model="m", variation="b"), Role.OPERATOR)
    back = days.give(RollBack(model="m", variation="b", version="2"), Role.OPERATOR)
    assert back is not None, "v2 had callers once"


def test_where_nobody_is_sent_going_back_moves_nobody() -> None:
    days = Days()
    days.put("2", "b")
    days.put("3", "b")
    assert days.give(RollBack(model="m", variation="b"), Role.OPERATOR) is not None


def test_an_aborted_replacement_is_tried_again_by_those_who_may_order_it() -> None:
    days = Days()
    replacing = days.give(Deploy(model="m", variation="default", version="2", plan=plan(), at_once="hurry"))
    assert replacing is not None
    days.give(Abort(rollout=replacing.id), Role.OPERATOR)
    with pytest.raises(Forbidden, match="at once where m/default answers callers"):
        days.give(Retry(rollout=replacing.id), Role.OPERATOR)
    assert days.give(Retry(rollout=replacing.id), Role.APPROVER) is not None
