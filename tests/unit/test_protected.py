"""Protected variations: two named people stand behind every change of what they serve, whichever door it comes through.

What is trusted already is always one person away: abort, and the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from sluicegate.registry.audience.connections import StandIn
from sluicegate.registry.documents.deployment_file import read_deployment_file
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Receipt
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import (
    Abort,
    Act,
    ApplyAudience,
    Approve,
    ApproveProposal,
    Connect,
    Deploy,
    Jump,
    Order,
    Promote,
    RejectProposal,
    RollBack,
    SetTerms,
    Share,
    Start,
    StartExperiment,
    Undeploy,
)
from sluicegate.registry.orders.progress import begin, complete
from sluicegate.registry.orders.proposals import proposals
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.rollout.decision import Choice, Progress, decide, decide_first
from sluicegate.registry.rollout.facts import (
    Baked,
    Confirmed,
    Fact,
    Judged,
    Jumped,
    Observed,
    Packed,
    Party,
    Promoted,
    Ready,
    StepEntered,
)
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.rollout.standing import trusted
from sluicegate.registry.words.errors import AwaitsApproval, Forbidden, IllegalMove, PreconditionFailed, Refused
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.verdict import Answer, Verdict
from tests.doubles.ledger import MemoryLedger
from tests.unit import test_cli_audiences as cli
from tests.unit.console_office import BEARER, Office
from tests.unit.test_cli_audiences import Said, said
from tests.unit.test_variations import MOVES, NOW, applied, connected, put
from tests.unit.test_variations import document_from_values as document

__all__ = ["said"]
cli_ledger = cli.ledger
PLAN = Plan.model_validate({
    "model": "m", "steps": [{"weight": 10}, {"weight": 50}],
    "metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "margin": "1%"}],
})  # fmt: skip
PASSED = Verdict(metric="errors", answer=Answer.PASS, reason="", step=1, k=1, guardrail=False)
LATER = timedelta(hours=1)


def by(name: str, act: Act, *, person: str | None = "", role: Role = Role.APPROVER, key: str | None = None) -> Order:
    """An order of somebody with a token of their own."""
    return Order(act=act, actor=name, person=name if person == "" else person, role=role, cause="cli", key=key)


@pytest.fixture
def ledger() -> MemoryLedger:
    """`default` is protected, answers two thirds of eu and us, and everybody else; b answers the rest."""
    record = MemoryLedger()
    connected(record)
    give(record, by("ada", SetTerms(model="m", variation="default", protected=True)), NOW)
    return record


def asked(record: MemoryLedger, order: Order) -> str:
    """The proposal that an order is kept as."""
    before = record.applied("traffic", "m"), [each.seq for each in record.rollouts()]
    with pytest.raises(AwaitsApproval, match=f"{order.actor} asked for it") as told:
        give(record, order, NOW)
    assert before == (record.applied("traffic", "m"), [each.seq for each in record.rollouts()]), "nothing changed"
    (name,) = [each.name for each in proposals(record) if f"sluice proposal approve {each.name}" in str(told.value)]
    return name


def approved(record: MemoryLedger, name: str, who: str = "bob") -> Receipt:
    return give(record, by(who, ApproveProposal(proposal=name)), NOW + LATER)


def append(record: MemoryLedger, rollout: Rollout, *facts: Fact) -> Rollout:
    for fact in facts:
        rollout = record.append(rollout.id, record.rollout(rollout.id).seq + 1, fact, NOW)
    return rollout


def started(record: MemoryLedger, who: Order | None = None) -> Rollout:
    """A rollout of v3 in the protected variation whose candidate is ready."""
    act = Start(model="m", variation="default", version="3", plan=PLAN)
    receipt = give(record, who or by("ada", act), NOW)
    packed = Packed(bento="b", bento_digest="b", model_digest="m")
    return append(record, record.rollout(receipt.rollout or ""), packed, Ready(version="3"))


def entered(record: MemoryLedger, rollout: Rollout, step: int) -> Rollout:
    weight = PLAN.steps[step].weight
    moved = append(record, rollout, StepEntered(step=step, weight=weight, actor="policy", reason="r"))
    return append(record, moved, Observed(epoch=moved.epoch, version="v"))


def approve(record: MemoryLedger, rollout: Rollout, who: str, person: str | None = "") -> Rollout:
    step = record.rollout(rollout.id).step
    give(record, by(who, Approve(rollout=rollout.id, step=step), person=person), NOW)
    return record.rollout(rollout.id)


# --- what others get: traffic and terms ------------------------------------------------------------------------------

TOUCHING: dict[str, Act] = {name: act for name, act in MOVES.items() if name != "a build at once"} | {
    "its protection lifted": SetTerms(model="m", variation="default", protected=False),
    "a dark launch": SetTerms(model="m", variation="default", by_name=True),
    "a stand-in for others": SetTerms(model="m", variation="b", stand_in=StandIn.ERRORS),
    "an audience redefined": ApplyAudience(
        document=applied(document({"kind": "audience", "name": "eu", "when": {"state": "DE"}}, "test"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("act", TOUCHING.values(), ids=TOUCHING)
def test_a_change_of_who_is_answered_waits_for_a_second_person(ledger: MemoryLedger, act: Act) -> None:
    name = asked(ledger, by("ada", act))
    with pytest.raises(Forbidden, match="the person who asked cannot approve"):
        approved(ledger, name, "ada")
    with pytest.raises(Forbidden, match="the person who asked cannot approve"):
        approved(ledger, name, "ADA")
    with pytest.raises(Forbidden, match="needs the role approver"):
        give(ledger, by("bob", ApproveProposal(proposal=name), role=Role.OPERATOR), NOW)
    with pytest.raises(Forbidden, match="only a named person"):
        give(ledger, by("prefect", ApproveProposal(proposal=name), person=None), NOW)
    assert approved(ledger, name).changed
    assert not approved(ledger, name).changed, "sent twice it is given once"
    (kept,) = proposals(ledger, state=None)
    assert ([each.actor for each in kept.people], kept.closed_by) == (["ada", "bob"], "bob")
    there = ledger.applied("traffic", "m")
    assert there is not None
    assert there.actor == "ada"


def test_what_leaves_a_protected_variation_alone_waits_for_nobody(ledger: MemoryLedger) -> None:
    put(ledger, "4", "c")
    for act in (
        Deploy(model="m", variation="b", version="3", at_once="hurry"),
        SetTerms(model="m", variation="b", by_name=True),
        SetTerms(model="m", variation="b", protected=True),
        Connect(model="m", variation="default", shares=(Share(audience="us", sample=2000),)),
    ):
        give(ledger, by("ada", act), NOW)
    assert proposals(ledger) == ()


def test_the_same_order_asked_for_twice_is_one_proposal_and_its_key_gives_its_first_answer(
    ledger: MemoryLedger,
) -> None:
    act = Connect(model="m", variation="b", shares=(), is_fallback=True)
    for key in (None, "k", "k"):
        with pytest.raises(AwaitsApproval):
            give(ledger, by("ada", act, key=key), NOW)
    assert len(proposals(ledger)) == len(ledger.history("proposal", proposals(ledger)[0].name)) == 1
    approved(ledger, proposals(ledger)[0].name)
    assert give(ledger, by("ada", act, key="k"), NOW).repeated


def test_an_approval_given_late_passes_nothing_else_than_what_was_asked_for(ledger: MemoryLedger) -> None:
    weight = Connect(model="m", variation="b", shares=(Share(audience="eu", weight=9),))
    heavy = asked(ledger, by("ada", weight))
    other = asked(ledger, by("ada", Connect(model="m", variation="b", shares=(Share(audience="us", weight=5),))))
    approved(ledger, other)
    with pytest.raises(PreconditionFailed, match="would now do something else"):
        approved(ledger, heavy)
    build = asked(ledger, by("ada", weight))
    put(ledger, "7", "b", at_once="another build meanwhile")
    with pytest.raises(PreconditionFailed):
        approved(ledger, build)


def test_a_proposal_is_rejected_by_who_asked_and_by_approvers(ledger: MemoryLedger) -> None:
    act = Connect(model="m", variation="b", shares=(), is_fallback=True)
    name = asked(ledger, by("ada", act))
    with pytest.raises(Forbidden):
        give(ledger, by("eve", RejectProposal(proposal=name), role=Role.OPERATOR), NOW)
    give(ledger, by("ada", RejectProposal(proposal=name), role=Role.OPERATOR), NOW)
    with pytest.raises(Refused, match="was rejected by ada"):
        approved(ledger, name)
    assert asked(ledger, by("ada", act)) == name
    assert approved(ledger, name).changed


def test_what_nobody_named_asked_for_needs_two_people(ledger: MemoryLedger) -> None:
    order = by("prefect:git", Connect(model="m", variation="b", shares=(), is_fallback=True), person=None)
    with pytest.raises(AwaitsApproval, match="two named people"):
        give(ledger, order, NOW)
    (proposal,) = proposals(ledger)
    with pytest.raises(AwaitsApproval, match="bob asked for it"):
        approved(ledger, proposal.name, "bob")
    with pytest.raises(Forbidden, match="the person who asked cannot approve"):
        approved(ledger, proposal.name, "bob")
    approved(ledger, proposal.name, "eve")
    there = connections_of(ledger, "m")
    assert there is not None
    assert there.fallback_variation == "b"


def test_several_tokens_of_one_person_are_one(ledger: MemoryLedger) -> None:
    act = Connect(model="m", variation="b", shares=(), is_fallback=True)
    name = asked(ledger, by("ada", act))
    with pytest.raises(Forbidden, match="the person who asked cannot approve"):
        give(ledger, by("ada-laptop", ApproveProposal(proposal=name), person="ada"), NOW)


# --- what they serve: rollouts ---------------------------------------------------------------------------------------


def test_a_rollout_gets_its_first_request_and_its_promotion_by_a_second_person(ledger: MemoryLedger) -> None:
    rollout = started(ledger)
    first = decide_first(rollout, "ready")
    assert (first.choice, first.person) == (Choice.HOLD, True)
    assert "ada asked for it, so somebody else with the role approver must approve its first request" in first.reason
    assert f"sluice rollout approve {rollout.id}" in first.reason
    with pytest.raises(IllegalMove, match="needs a second named person"):
        entered(ledger, rollout, 0)
    for who in ("ada", "Ada"):
        with pytest.raises(IllegalMove, match="the person who asked cannot approve"):
            approve(ledger, rollout, who)
    with pytest.raises(IllegalMove, match="only a named person"):
        approve(ledger, rollout, "prefect", None)
    rollout = approve(ledger, rollout, "bob")
    assert approve(ledger, rollout, "bob").seq == rollout.seq, "sent twice it is given once"
    assert decide_first(rollout, "ready").choice is Choice.ADVANCE

    rollout = entered(ledger, entered(ledger, rollout, 0), 1)
    rollout = append(ledger, rollout, Judged(metric="errors", answer="pass", k=1, step=1, reason="r"))
    last = decide(rollout, [PASSED], Progress(candidate_requests=9), NOW + LATER)
    assert (last.choice, last.person) == (Choice.HOLD, True)
    assert "must approve its promotion" in last.reason
    promoted = Promoted(actor="policy", party=Party.POLICY, reason="r", override=False, verdicts={"errors": "pass"})
    with pytest.raises(IllegalMove, match="needs a second named person"):
        append(ledger, rollout, promoted)
    rollout = approve(ledger, rollout, "eve")
    assert decide(rollout, [PASSED], Progress(candidate_requests=9), NOW + LATER).choice is Choice.PROMOTE
    assert append(ledger, rollout, promoted).phase is Phase.BAKING
    told = [(each.text, each.actor) for each in timeline(ledger.entries(rollout.id))]
    assert ("the first request approved", "bob") in told
    assert ("step 2 approved", "eve") in told
    assert told[0][1] == "ada"


def test_a_failing_gate_aborts_without_waiting_for_anybody(ledger: MemoryLedger) -> None:
    rollout = entered(ledger, approve(ledger, started(ledger), "bob"), 0)
    failed = replace(PASSED, answer=Answer.FAIL, step=0)
    assert decide(rollout, [failed], Progress(candidate_requests=9), NOW).choice is Choice.ABORT
    give(ledger, by("ada", Abort(rollout=rollout.id), role=Role.OPERATOR), NOW)
    assert ledger.rollout(rollout.id).ending is Ending.ABORTED


def test_a_trigger_s_rollout_needs_two_people_as_nobody_named_asked(ledger: MemoryLedger) -> None:
    act = Start(model="m", variation="default", version="3", plan=PLAN, by_name=False)
    rollout = started(ledger, Order(act=act, actor="mlflow", party=Party.CATALOG, cause="alias:candidate"))
    assert "no named person asked for it, so two people" in decide_first(rollout, "ready").reason
    rollout = approve(ledger, rollout, "bob")
    assert "bob asked for it" in decide_first(rollout, "ready").reason
    give(ledger, by("bobs-other", Approve(rollout=rollout.id, step=-1), person="bob"), NOW)
    assert ledger.rollout(rollout.id) == rollout, "several tokens of one person are one"
    assert decide_first(approve(ledger, rollout, "eve"), "ready").choice is Choice.ADVANCE


def test_who_overrides_the_gates_asks_a_second_person_whatever_was_approved_before(ledger: MemoryLedger) -> None:
    rollout = entered(ledger, approve(ledger, started(ledger), "bob"), 0)
    approve(ledger, rollout, "bob")
    name = asked(ledger, by("eve", Promote(rollout=rollout.id)))
    append(ledger, rollout, Judged(metric="errors", answer="fail", k=1, step=0, reason="worse"))
    with pytest.raises(PreconditionFailed):
        approved(ledger, name, "bob")
    again = asked(ledger, by("eve", Promote(rollout=rollout.id)))
    approved(ledger, again, "ada")
    after = ledger.rollout(rollout.id)
    assert (after.phase, after.actor) == (Phase.BAKING, "eve")
    assert {each.actor for each in after.signatures} == {"bob", "eve"}, "ada asked for it, eve overrides"


@pytest.mark.parametrize("act", [Promote, partial(Jump, step=1)], ids=["promote", "jump"])
@pytest.mark.parametrize("answer", [each for each in Answer if each is not Answer.FAIL])
def test_a_look_between_request_and_approval_does_not_outdate_the_proposal(
    ledger: MemoryLedger, act: Callable[..., Act], answer: Answer
) -> None:
    rollout = entered(ledger, approve(ledger, started(ledger), "bob"), 0)
    name = asked(ledger, by("eve", act(rollout=rollout.id)))
    append(ledger, rollout, Judged(metric="errors", answer=answer, k=1, step=0, reason="a look"))
    assert approved(ledger, name, "ada").changed


def test_a_build_at_once_waits_and_the_way_back_does_not(ledger: MemoryLedger) -> None:
    at_once = Deploy(model="m", variation="default", version="3", plan=PLAN, at_once="hotfix")
    replaced = ledger.rollout(give(ledger, by("ada", at_once), NOW).rollout or "")
    replaced = append(ledger, replaced, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="3"))
    assert complete(ledger, replaced.id, NOW).phase is Phase.LAUNCHING
    approve(ledger, replaced, "bob")
    assert complete(ledger, replaced.id, NOW + LATER).phase is Phase.BAKING

    assert stable_after(ledger, RollBack(model="m", variation="default")) == "1", "what is trusted is one person away"
    forward = RollBack(model="m", variation="default", version="3")
    assert stable_after(ledger, forward) == "1", "what was rolled back from is trusted no more"
    (waiting,) = [each for each in ledger.rollouts() if each.phase is Phase.LAUNCHING]
    approve(ledger, waiting, "bob")
    assert complete(ledger, waiting.id, NOW + 3 * LATER).phase is Phase.BAKING


def stable_after(record: MemoryLedger, act: RollBack) -> str:
    """What is stable once the rollback had its time, by an operator alone."""
    rollout = record.rollout(give(record, by("ada", act, role=Role.OPERATOR), NOW + 2 * LATER).rollout or "")
    missing = () if rollout.packed else (Packed(bento="b", bento_digest="b", model_digest="m"),)
    append(record, rollout, *missing, Ready(version=rollout.requested.version))
    complete(record, rollout.id, NOW + 2 * LATER)
    stable = trusted(_target(record))
    assert stable is not None
    return stable.requested.version


def _target(record: MemoryLedger) -> list[Rollout]:
    return [each for each in record.rollouts(Selection(model="m")) if each.requested.variation == "default"]


def test_protection_reaches_the_rollout_under_way_and_its_end_leaves_it(ledger: MemoryLedger) -> None:
    act = Start(model="m", variation="b", version="5", plan=PLAN.model_copy(update={"variation": "b"}))
    rollout = started(ledger, by("ada", act))
    assert not rollout.guarded
    give(ledger, by("bob", SetTerms(model="m", variation="b", protected=True)), NOW)
    assert ledger.rollout(rollout.id).guarded
    approved(ledger, asked(ledger, by("bob", SetTerms(model="m", variation="b", protected=False))), "ada")
    assert not ledger.rollout(rollout.id).guarded


def test_one_person_ends_no_confirmation_by_starting_another_rollout(ledger: MemoryLedger) -> None:
    """The holdout would get another build by that. Who asks waits; the way back is open."""
    late = {"late": {"source": "outcome", "outcome": "late", "score": "outcome", "cap": 1}}
    confirm = {"metric": "late", "margin": "5%", "max_time": "9d"}
    document = PLAN.document()
    plan = Plan.model_validate(document | {"metrics": {**document.get("metrics", {}), **late}, "confirm": confirm})
    first = started(ledger, by("ada", Start(model="m", variation="default", version="3", plan=plan)))
    approve(ledger, first, "bob")
    promote = by("ada", Promote(rollout=first.id))
    entered(ledger, first, 0)
    approved(ledger, asked(ledger, promote))
    assert ledger.rollout(first.id).phase is Phase.CONFIRMING
    for act in (Start(model="m", variation="default", version="4", plan=plan),
                Deploy(model="m", variation="default", version="5", at_once="now")):  # fmt: skip
        receipt = give(ledger, by("ada", act), NOW)
        assert ledger.rollout(receipt.rollout or "").phase is Phase.QUEUED
    assert ledger.rollout(first.id).phase is Phase.CONFIRMING
    append(ledger, first, Confirmed(reason="labels agree"), Baked(reason="over"))
    queued = [each for each in ledger.rollouts() if each.phase is Phase.QUEUED]
    assert [begin(ledger, each, NOW).phase for each in queued].count(Phase.LAUNCHING) == 1


def test_an_experiment_that_shares_its_callers_anew_waits_for_its_first_request(ledger: MemoryLedger) -> None:
    values = {
        "model": "m", "variation": "b", "steps": [{"weight": 10}], "metrics": {"errors": {"source": "status"}},
        "ab": {"audience": "eu", "variations": {"b": 1, "c": 1}, "max_time": "1d",
               "goal": {"metric": "errors", "margin": "50%"}},
    }  # fmt: skip
    put(ledger, "4", "c")
    act = StartExperiment(model="m", variation="b", plan=Plan.model_validate(values))
    comparison = ledger.rollout(give(ledger, by("ada", act), NOW).rollout or "")
    assert "must approve its first request" in decide_first(comparison, "ready").reason, "default answers eu too"
    with pytest.raises(IllegalMove, match="the person who asked cannot approve"):
        approve(ledger, comparison, "ada")
    assert decide_first(approve(ledger, comparison, "bob"), "ready").choice is Choice.ADVANCE


def test_an_emptied_variation_stays_protected(ledger: MemoryLedger) -> None:
    give(ledger, by("ada", SetTerms(model="m", variation="b", protected=True)), NOW)
    approved(ledger, asked(ledger, by("ada", Undeploy(model="m", variation="b"))))
    first = give(ledger, by("ada", Deploy(model="m", variation="b", version="9")), NOW)
    rollout = ledger.rollout(first.rollout or "")
    append(ledger, rollout, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="9"))
    assert complete(ledger, rollout.id, NOW).phase is Phase.LAUNCHING


def test_a_first_build_is_protected_by_the_order_that_puts_it_there() -> None:
    record = MemoryLedger()
    deploy = Deploy(model="m", variation="default", version="1", protected=True)
    rollout = record.rollout(give(record, by("ada", deploy), NOW).rollout or "")
    append(record, rollout, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="1"))
    assert complete(record, rollout.id, NOW).ending is Ending.ESTABLISHED
    there = connections_of(record, "m")
    assert there is not None
    assert there.protected == {"default"}
    assert started(record).guarded


# --- doors -----------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs/how-to/protect-variations.md"


def token(office: Office, name: str, role: str, person: str | None = None) -> dict[str, str]:
    body = {"name": name, "role": role, "person": person}
    given = office.client.post("/api/v1/tokens", headers=BEARER, json=body)
    return {"authorization": f"Bearer {given.json()['token']}"}


def test_over_http_the_console_tells_who_asked_and_who_may_approve_and_keeps_both_names() -> None:
    office = Office()
    connected(office.ledger)  # type: ignore[arg-type]
    ann, bob, also_ann = (
        token(office, *each) for each in (("ann", "approver"), ("bob", "approver"), ("ann-ci", "approver", "ann"))
    )
    one = "/api/v1/models/m/variations"
    post = office.client.post
    assert post(f"{one}/default/terms", headers=ann, json={"protected": True}).status_code == 200
    refused = post(f"{one}/b/connect", headers=ann, json={"fallback": True})
    assert (refused.status_code, refused.json()["title"]) == (409, "AwaitsApproval")
    (waiting,) = office.client.get("/api/v1/proposals", headers=ann).json()["proposals"]
    assert f"sluice proposal approve {waiting['id']}" in refused.json()["fix"]
    way = f"/api/v1/proposals/{waiting['id']}/approve"
    for headers in (ann, also_ann):
        own = post(way, headers=headers)
        assert (own.status_code, "the person who asked cannot approve" in own.json()["detail"]) == (403, True)
    assert "Approve proposal" in office.client.get("/", headers=bob).text
    assert post(way, headers=bob, json={"reason": "looked at it"}).json()["people"] == ["ann", "bob"]
    assert "Needs you" not in office.client.get("/", headers=bob).text
    calls = office.client.get("/api/v1/calls", headers=BEARER).json()["calls"]
    assert {("ann", f"{one}/b/connect"), ("bob", way)} <= {(each["actor"], each["path"]) for each in calls}


def test_the_owner_of_the_machine_is_one_person_whatever_names_are_told() -> None:
    office = Office()
    connected(office.ledger)  # type: ignore[arg-type]
    post = office.client.post
    post("/api/v1/models/m/variations/default/terms", headers=BEARER, json={"protected": True})
    ann, bob = (BEARER | {"x-sluice-actor": name} for name in ("ann", "bob"))
    post("/api/v1/models/m/variations/b/connect", headers=ann, json={"fallback": True})
    (waiting,) = office.client.get("/api/v1/proposals", headers=ann).json()["proposals"]
    assert post(f"/api/v1/proposals/{waiting['id']}/approve", headers=bob).status_code == 403


def test_the_page_shows_what_the_commands_print(
    cli_ledger: Ledger, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    page, name = PAGE.read_text(), ""
    commands = ("variation set fraud default --protected", "variation connect fraud b --fallback", "proposal list")
    for command in (*commands, "proposal approve {}", "proposal list --all"):
        try:
            printed = said(command.format(name))
        except (AwaitsApproval, Forbidden) as error:
            printed = f"sluice: {error.message}\n  fix: {error.fix}\n"
        name = next((each.name for each in proposals(cli_ledger)), name)
        shown = f"$ sluice {command.format(name)}\n{printed}".replace(name or "no proposal", "4f1c2a9e")
        assert shown in page
        if "approve" in command:
            give(cli_ledger, by("bob", ApproveProposal(proposal=name)), NOW)
    assert "protected" in said("variation list fraud")


def test_a_file_of_qwak_s_protects_its_variation(tmp_path: Path) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text("realtime: {variation_name: b, variation_protected_state: true}\n")
    assert read_deployment_file(file).protected is True
    file.write_text("realtime: {variation_name: b}\n")
    assert read_deployment_file(file).protected is None


def test_a_jump_on_asks_a_second_person_and_back_asks_nobody(ledger: MemoryLedger) -> None:
    rollout = entered(ledger, approve(ledger, started(ledger), "bob"), 0)
    name = asked(ledger, by("eve", Jump(rollout=rollout.id, step=1)))
    with pytest.raises(Forbidden, match="the person who asked cannot approve"):
        approved(ledger, name, "eve")
    with pytest.raises(IllegalMove, match="a second named person must approve a jump"):
        append(ledger, rollout, Jumped(step=1, weight=5000, former=0, actor="eve", reason="r"))
    approved(ledger, name, "bob")
    assert (ledger.rollout(rollout.id).step, ledger.rollout(rollout.id).actor) == (1, "eve")
    give(ledger, by("eve", Jump(rollout=rollout.id, step=0, back=True)), NOW + LATER)
    back = ledger.rollout(rollout.id)
    assert (back.step, [each.step for each in back.signatures]) == (0, [-1]), "what comes again is approved again"
