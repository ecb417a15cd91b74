"""What a plan asks before the first request: offline gates and a check; a worse candidate gets none, unless by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic_core import to_jsonable_python

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.stages.launch import launch
from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.registry.documents.documents import read_document
from sluicegate.registry.ledger.reading import read_for_report, read_for_views
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.certified_plans import Tried, certificate
from sluicegate.registry.orders.give import apply_document, give, withdraw_document
from sluicegate.registry.orders.order import Order, Start
from sluicegate.registry.plan.fields import OfflineGate, Serve, Strategy
from sluicegate.registry.plan.offline import RunMetrics, judge_offline
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.decision import Choice
from sluicegate.registry.rollout.facts import AssessmentOverridden, Checked, Fact, Packed, Promoted, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable, Forbidden, IllegalMove, InvalidDocument, Refused
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.verdict import Answer
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.report.page import page as report_page
from tests import giving as orders
from tests.doubles.catalog import MemoryCatalog
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver
from tests.plans import read_plan
from tests.unit.console_office import BEARER, MemoryDesk, Office
from tests.unit.test_six_doors import NoTallies

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")
AUC = {"metric": "val_auc", "worse": "lower", "margin": "1%"}
PAGE = Path(__file__).parents[2] / "docs/how-to/judge-before-the-first-request.md"
PASS, FAIL, NO_DATA = Answer.PASS, Answer.FAIL, Answer.NO_DATA


# --- one gate --------------------------------------------------------------------------------------------------------


def judged(gate: dict[str, object], candidate: float, stable: float | None = None) -> tuple[Answer, str]:
    spec = OfflineGate.model_validate(gate)
    beside = None if stable is None else RunMetrics(build="v1", values={spec.metric: stable})
    verdict = judge_offline(spec, RunMetrics(build="v2", values={spec.metric: candidate}), beside)
    return verdict.answer, verdict.reason


@pytest.mark.parametrize(
    ("gate", "candidate", "stable", "answer", "says"),
    [
        (AUC, 0.95, 0.90, PASS, "val_auc of v2 is 0.95: no worse than 0.9 of v1"),
        (AUC, 0.891, 0.90, PASS, "val_auc of v2 is 0.891: 1 % worse than 0.9 of v1, and the margin is 1 %"),
        (AUC, 0.89, 0.90, FAIL, "val_auc of v2 is 0.89: 1.11 % worse than 0.9 of v1, and the margin is 1 %"),
        (AUC | {"margin": "0%"}, 0.90, 0.90, PASS, "no worse than 0.9 of v1"),
        (AUC | {"margin": "0%"}, 0.8999999, 0.90, FAIL, "worse than 0.9 of v1"),
        ({"metric": "loss", "worse": "higher", "margin": "10%"}, 0.22, 0.20, PASS, "10 % worse"),
        ({"metric": "loss", "worse": "higher", "margin": "10%"}, 0.23, 0.20, FAIL, "15 % worse"),
        ({"metric": "r2", "worse": "lower", "margin": "10%"}, -0.6, -0.5, FAIL, "20 % worse than -0.5"),
        ({"metric": "r2", "worse": "lower", "margin": "10%"}, -0.4, -0.5, PASS, "no worse"),
        (
            {"metric": "loss", "worse": "higher", "margin": "10%"},
            0.1,
            0.0,
            FAIL,
            "a margin relative to 0 allows nothing",
        ),
        ({"metric": "loss", "worse": "higher", "margin": "10%"}, 0.0, 0.0, PASS, "no worse than 0"),
        ({"metric": "val_auc", "worse": "lower", "limit": 0.9}, 0.9, None, PASS, "within the limit (at least 0.9)"),
        ({"metric": "val_auc", "worse": "lower", "limit": 0.9}, 0.8999, None, FAIL, "beyond the limit (at least 0.9)"),
        ({"metric": "ms", "worse": "higher", "limit": 300}, 300.1, None, FAIL, "beyond the limit (at most 300)"),
        (AUC | {"limit": 0.9}, 0.899, 0.899, FAIL, "val_auc of v2 is 0.899: beyond the limit (at least 0.9)"),
        (AUC | {"limit": 0.5}, 0.8, 0.9, FAIL, "worse than 0.9 of v1"),
    ],
)
def test_a_gate_says_what_it_compared(
    gate: dict[str, object], candidate: float, stable: float | None, answer: Answer, says: str
) -> None:
    found, reason = judged(gate, candidate, stable)
    assert found is answer
    assert says in reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_passes_on_either_side(value: float) -> None:
    assert judged(AUC, value, 0.9)[0] is NO_DATA
    assert judged(AUC, 0.9, value)[0] is NO_DATA
    assert judged({"metric": "a", "worse": "higher", "limit": 1}, value)[0] is NO_DATA


# --- a rollout -------------------------------------------------------------------------------------------------------


@dataclass
class Packing:
    """Packs, and remembers what."""

    packed: list[str] = field(default_factory=list)

    def pack(self, build: Build, model_path: Path, *, serve: Serve, note: object) -> Packed:
        self.packed.append(str(build.ref))
        return Packed(bento="b", bento_digest="b", model_digest="m")


class Stand:
    """A ledger with a stable build, its catalog, and a candidate whose run says something."""

    def __init__(self, tmp_path: Path, **plan: object) -> None:
        self.ledger, self.catalog, self.packing = MemoryLedger(), MemoryCatalog(), Packing()
        self.folder = tmp_path
        (tmp_path / "files").mkdir()
        self.catalog.runs = {"train-1": {"val_auc": 0.90}, "train-2": {"val_auc": 0.90}}
        for version in (1, 2):
            self.catalog.register("m", files=tmp_path / "files", run=f"train-{version}")
        shadow = {"sample": 20, "max_time": "1h"}
        document = {"model": "m", "steps": [{"weight": 10}], "shadow": shadow, "offline": [AUC]}
        self.plan = Plan.model_validate(document | plan)
        bare = Plan.model_validate({"model": "m", "steps": [{"weight": 10}]})
        first = orders.deploy(self.ledger, plan=bare, version="1", request=WHO, now=NOW).rollout
        self.facts(first.id, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="1"))
        orders.complete(self.ledger, first.id, NOW)

    def facts(self, name: str, *facts: Fact) -> Rollout:
        for fact in facts:
            orders.append(self.ledger, name, lambda _, fact=fact: fact, NOW)
        return self.ledger.rollout(name)

    def start(self, giver: Giver = WHO, strategy: Strategy = Strategy.CANARY) -> Rollout:
        started = orders.start(
            self.ledger, plan=self.plan, version="2", request=giver, now=NOW, strategy=strategy
        )  # fmt: skip
        return started.rollout

    def launch(self, rollout: Rollout) -> Rollout:
        return launch(self.ledger, self.catalog, self.packing, rollout, self.folder / "builds", lambda: NOW)

    def tick(self, name: str, authority: Authority = Authority.ADVANCE, at: datetime = NOW) -> object:
        return tick(self.ledger, NoTallies(), name, at, authority)


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.SHADOW])
def test_a_worse_candidate_is_never_packed_and_ends_with_the_figures(tmp_path: Path, strategy: Strategy) -> None:
    stand = Stand(tmp_path)
    stand.catalog.runs["train-2"] = {"val_auc": 0.80}
    after = stand.launch(stand.start(strategy=strategy))
    assert (after.ending, after.weight, stand.packing.packed) == (Ending.ABORTED, 0, [])
    assert "val_auc failed before the first request: val_auc of v2 is 0.8: 11.1 % worse than 0.9 of v1" in after.reason
    said = [each.text for each in timeline(stand.ledger.entries(after.id))]
    assert said[2:] == ["val_auc failed before the first request", "aborted: all requests go back to stable"]
    view = rollout_view(read_for_views(stand.ledger, [after])[0], NOW)
    assert [(each.gate, each.verdict, each.candidate, each.stable) for each in view.offline] == [
        ("val_auc", "FAIL", 0.8, 0.9)
    ]


def test_a_candidate_that_is_no_worse_is_packed(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    after = stand.launch(stand.start())
    assert after.packed is not None
    assert after.assessments["val_auc"].answer == "pass"


def test_what_is_missing_is_refused_with_the_fix(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.catalog.runs["train-2"] = {"val_acu": 0.9}
    after = stand.launch(stand.start())
    assert (after.ending, stand.packing.packed) == (Ending.FAILED, [])
    assert after.reason == (
        "assess: the run of v2 has no metric val_auc (did you mean val_acu? Otherwise log val_auc to the run of "
        "v2, then "
        "start it again). An approver may override it: sluice rollout start m --build 2 --override-assessment WHY"
    )


def test_a_stable_without_a_run_is_refused_with_the_fix(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    del stand.catalog.runs["train-1"]
    after = stand.launch(stand.start())
    assert after.ending is Ending.FAILED
    assert "v1 has no run to read val_auc from: the run train-1 is not there" in after.reason
    assert "or write limit: in place of margin:" in after.reason


def test_an_evaluation_run_is_named_by_a_tag_of_the_version(tmp_path: Path) -> None:
    stand = Stand(tmp_path, offline=[AUC | {"run_tag": "evaluation"}])
    lacking = stand.launch(stand.start())
    assert "v2 has no run to read val_auc from: it has no tag evaluation" in lacking.reason
    for version, auc in (("1", 0.7), ("2", 0.8)):
        stand.catalog.set_tag(BuildRef(model="m", version=version), "evaluation", f"eval-{version}")
        stand.catalog.runs[f"eval-{version}"] = {"val_auc": auc}
    after = stand.launch(stand.start())
    assert after.assessments["val_auc@evaluation"].reason == "val_auc of v2 is 0.8: no worse than 0.7 of v1"
    assert after.packed is not None


def test_mlflow_that_is_away_is_no_answer(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    rollout = stand.start()
    stand.catalog.reachable = False
    with pytest.raises(CatalogUnavailable):
        stand.launch(rollout)
    assert stand.ledger.rollout(rollout.id).phase is Phase.LAUNCHING
    stand.catalog.reachable = True
    assert stand.launch(stand.ledger.rollout(rollout.id)).packed is not None


def test_a_driver_that_died_between_two_answers_is_followed_by_one_that_asks_no_gate_twice(tmp_path: Path) -> None:
    other = {"metric": "loss", "worse": "higher", "limit": 1}
    stand = Stand(tmp_path, offline=[AUC, other])
    stand.catalog.runs["train-2"] = {"val_auc": 0.1}
    rollout = stand.start()
    halfway = stand.launch(rollout)
    assert halfway.ending is Ending.ABORTED
    names = [each.fact.gate for each in stand.ledger.entries(rollout.id) if type(each.fact).__name__ == "Assessed"]
    assert names == ["val_auc", "loss"]
    assert stand.launch(halfway).seq == halfway.seq


def test_of_a_first_build_limits_hold_and_margins_have_nothing_to_compare_with(tmp_path: Path) -> None:
    stand = Stand(tmp_path, variation="other", offline=[AUC | {"limit": 0.95}])
    first = orders.deploy(stand.ledger, plan=stand.plan, version="2", request=WHO, now=NOW).rollout
    after = stand.launch(first)
    assert after.ending is Ending.ABORTED
    assert "beyond the limit (at least 0.95)" in after.reason
    stand.catalog.runs["train-2"] = {"val_auc": 0.96}
    again = orders.deploy(stand.ledger, plan=stand.plan, version="2", request=WHO, now=NOW).rollout
    assert stand.launch(again).packed is not None


# --- by name ---------------------------------------------------------------------------------------------------------


def test_an_approver_lets_a_worse_candidate_past_by_name_and_it_is_recorded(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.catalog.runs["train-2"] = {"val_auc": 0.80}
    after = stand.launch(stand.start(Giver(actor="grace", override_assessment="the labels were wrong")))
    assert after.packed is not None
    assert after.assessments["val_auc"].answer == "fail"
    (by,) = (e.fact for e in stand.ledger.entries(after.id) if isinstance(e.fact, AssessmentOverridden))
    assert (by.actor, by.reason) == ("grace", "the labels were wrong")


def test_an_operator_does_not(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    act = Start(model="m", variation="default", version="2", plan=stand.plan)
    order = Order(act=act, actor="eve", cause="cli", role=Role.OPERATOR, override_assessment="because")
    with pytest.raises(Forbidden, match="approver"):
        give(stand.ledger, order, NOW)
    assert len(stand.ledger.rollouts()) == 1


def test_the_record_takes_no_packing_before_every_gate_has_passed(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    rollout = stand.start()
    with pytest.raises(IllegalMove, match="every offline gate"):
        stand.facts(rollout.id, Packed(bento="b", bento_digest="b", model_digest="m"))
    with pytest.raises(IllegalMove, match="ready"):
        stand.facts(rollout.id, Promoted(actor="eve", reason="x", override=True, verdicts={}))


# --- the check before the first step ---------------------------------------------------------------------------------


def asked_first(tmp_path: Path, **check: object) -> tuple[Stand, str]:
    stand = Stand(tmp_path, offline=[], check={"deployment": "review/security"} | check)
    rollout = stand.launch(stand.start())
    stand.facts(rollout.id, Ready(version="2"))
    return stand, rollout.id


def replied(answer: str) -> Checked:
    return Checked(step=-1, answer=answer, actor="review/security", reason="because")


def test_no_step_begins_before_the_check_has_said_yes(tmp_path: Path) -> None:
    stand, name = asked_first(tmp_path)
    seen = stand.tick(name)
    assert (seen.decision.choice, seen.decision.asks) == (Choice.HOLD, True)
    with pytest.raises(IllegalMove, match="the check review/security must answer yes"):
        stand.facts(name, StepEntered(step=0, weight=1000, actor="eve", reason="x"))
    stand.facts(name, replied("yes"))
    assert stand.tick(name).rollout.weight == 1000
    said = [each.text for each in timeline(stand.ledger.entries(name))]
    assert "the check review/security before the first step said yes" in said


@pytest.mark.parametrize(("answer", "then", "phase"), [
    ("no", "pause", Phase.PAUSED), ("no", "abort", Phase.ENDED), ("none", "abort", Phase.PAUSED),
])  # fmt: skip
def test_a_no_and_no_answer_give_no_request(tmp_path: Path, answer: str, then: str, phase: Phase) -> None:
    stand, name = asked_first(tmp_path, then=then)
    stand.facts(name, replied(answer))
    assert stand.tick(name, Authority.STOP).rollout.phase is Phase.LAUNCHING
    assert (stand.tick(name).rollout.phase, stand.ledger.rollout(name).weight) == (phase, 0)


def test_a_person_who_resumes_has_it_asked_once_more_and_one_who_overrides_has_not(tmp_path: Path) -> None:
    stand, name = asked_first(tmp_path)
    stand.facts(name, replied("no"))
    stand.tick(name)
    orders.resume(stand.ledger, name, actor="ada", reason="mended", now=NOW + timedelta(seconds=1))
    assert stand.tick(name).decision.asks
    again = stand.start(Giver(actor="grace", override_assessment="I looked myself"))
    assert again.id == name
    assert stand.tick(name).rollout.weight == 1000


# --- what is shown and refused ---------------------------------------------------------------------------------------


def test_offline_gates_are_shown_on_the_command_line(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    after = stand.launch(stand.start())
    view = rollout_view(read_for_views(stand.ledger, [after])[0], NOW)
    assert "offline val_auc   PASS       val_auc of v2 is 0.9: no worse than 0.9 of v1" in tree(
        to_jsonable_python(view)
    )


def test_the_report_lists_offline_gates_with_their_evidence(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    after = stand.launch(stand.start())
    html = report_page(rollout_report(read_for_report(stand.ledger, after), NOW))
    assert html.index("Before the first request") < html.index("val_auc of v2 is 0.9: no worse than 0.9 of v1</td>")
    (tmp_path / "bare").mkdir()
    bare = Stand(tmp_path / "bare", offline=[])
    bare_html = report_page(rollout_report(read_for_report(bare.ledger, bare.launch(bare.start())), NOW))
    assert "Before the first request" not in bare_html


def test_the_how_to_shows_what_a_rollout_says(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    plan = read_plan(page.split("```yaml\n")[1].split("```")[0], "page")
    stand = Stand(tmp_path)
    for _ in range(5):
        stand.catalog.register("delays", files=tmp_path / "files")
    for version, auc, loss, recall in (("6", 0.90, 0.42, 0.64), ("7", 0.871, 0.41, 0.66)):
        run = stand.catalog.register("delays", files=tmp_path / "files", run=f"train-{version}")
        stand.catalog.set_tag(run, "evaluation_run", f"eval-{version}")
        stand.catalog.runs |= {f"train-{version}": {"val_auc": auc, "val_loss": loss}}
        stand.catalog.runs[f"eval-{version}"] = {"recall": recall}
    bare = Plan.model_validate({"model": "delays", "steps": [{"weight": 10}]})
    first = orders.deploy(stand.ledger, plan=bare, version="6", request=WHO, now=NOW).rollout
    stand.facts(first.id, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="6"))
    orders.complete(stand.ledger, first.id, NOW)
    after = stand.launch(orders.start(stand.ledger, plan=plan, version="7", request=WHO, now=NOW).rollout)
    shown = tree(to_jsonable_python(rollout_view(read_for_views(stand.ledger, [after])[0], NOW)))
    assert shown == page.split("```text\n")[1].split("\n```")[0]


@pytest.mark.parametrize(
    ("offline", "says"),
    [
        ("[{metric: auc, worse: lower}]", "the offline gate on auc has neither a margin nor a limit (write margin: 1%"),
        ("[{metric: auc, margin: 1%}]", "worse is missing"),
        ("[{metric: auc, worse: down, margin: 1%}]", "'down'"),
        ("[{metric: auc, worse: lower, limit: .nan}]", "finite number"),
        ("[{metric: auc, worse: lower, margin: 1%}, {metric: auc, worse: lower, limit: 1}]", "auc has 2 offline gates"),
        ("[{metric: auc, worse: lower, margn: 1%}]", "did you mean margin?"),
    ],
)
def test_a_plan_that_says_nothing_or_two_things_is_refused_with_the_fix(offline: str, says: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read_plan(f"kind: plan\nmodel: m\noffline: {offline}\nsteps: [{{weight: 10}}]\n", "plan.yaml")
    assert says in str(refused.value)
    assert "plan.yaml:3" in str(refused.value)


# --- the certificate -------------------------------------------------------------------------------------------------

GATED = {"metrics": {"errors": {"source": "status"}}, "gates": [{"metric": "errors", "margin": "50%"}], "offline": []}


def certified(stand: Stand, plan: Plan, *, ok: bool) -> None:
    tried = [Tried(metric="errors", name="planted harm", ok=ok, reason="is caught in 9 of 110 rehearsals")]
    stand.ledger.apply(certificate("m", plan.digest, tried, actor="grace", at=NOW))


def test_a_plan_that_asks_for_a_certificate_starts_nothing_before_it_has_one(tmp_path: Path) -> None:
    stand = Stand(tmp_path, certified=True, **GATED)
    with pytest.raises(Refused, match=r"not certified in its present form .*sluice certify -f FILE"):
        stand.start()
    certified(stand, stand.plan, ok=False)
    with pytest.raises(
        Refused, match="is not certified: the attempt of grace failed: errors, planted harm: is caught in 9 of 110"
    ):
        stand.start()
    assert len(stand.ledger.rollouts()) == 1
    certified(stand, stand.plan, ok=True)
    assert stand.start().phase is Phase.LAUNCHING


def test_a_changed_plan_is_certified_anew_and_the_latest_certificate_counts(tmp_path: Path) -> None:
    stand = Stand(tmp_path, certified=True, **GATED)
    certified(stand, stand.plan, ok=True)
    changed = GATED | {"gates": [{"metric": "errors", "margin": "60%"}]}
    stand.plan = Plan.model_validate(stand.plan.document() | {"gates": changed["gates"]})
    with pytest.raises(Refused, match="not certified in its present form"):
        stand.start()
    certified(stand, stand.plan, ok=True)
    certified(stand, stand.plan, ok=False)
    with pytest.raises(Refused, match="attempt of"):
        stand.start()


def test_a_named_person_starts_it_without_and_that_is_recorded(tmp_path: Path) -> None:
    stand = Stand(tmp_path, certified=True, **GATED)
    rollout = stand.start(Giver(actor="grace", override_assessment="hotfix"))
    assert rollout.assessment_overridden
    assert any(isinstance(each.fact, AssessmentOverridden) for each in stand.ledger.entries(rollout.id))


def test_a_variation_that_goes_by_the_default_plan_goes_by_its_certificate(tmp_path: Path) -> None:
    stand = Stand(tmp_path, certified=True, **GATED)
    orders.apply_plan(stand.ledger, stand.plan, NOW)
    bare = Plan.model_validate({"model": "m", "variation": "other", "steps": [{"weight": 10}]})
    first = orders.deploy(stand.ledger, plan=bare, version="1", request=WHO, now=NOW).rollout
    stand.facts(first.id, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="1"))
    orders.complete(stand.ledger, first.id, NOW)
    order = Order(act=Start(model="m", variation="other", version="2"), actor="ada", cause="cli")
    with pytest.raises(Refused, match="plan of m/other was not certified in its present form"):
        give(stand.ledger, order, NOW)
    certified(stand, stand.plan, ok=True)
    assert give(stand.ledger, order, NOW).created


def test_the_how_to_shows_the_refusal(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8").split("## A certificate")[1]
    stand = Stand(tmp_path)
    bare = Plan.model_validate({"model": "delays", "steps": [{"weight": 10}]})
    first = orders.deploy(stand.ledger, plan=bare, version="6", request=WHO, now=NOW).rollout
    stand.facts(first.id, Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="6"))
    orders.complete(stand.ledger, first.id, NOW)
    plan = read_plan(page.split("```yaml\n")[1].split("```")[0], "page")
    with pytest.raises(Refused) as refused:
        orders.start(stand.ledger, plan=plan, version="7", request=WHO, now=NOW)
    assert str(refused.value) == page.split("```text\n")[1].split("\n```")[0]


def test_a_certificate_of_no_gate_is_refused() -> None:
    with pytest.raises(InvalidDocument, match=r"plan.yaml:3.*no gate and no guardrail to certify"):
        read_plan("kind: plan\nmodel: m\ncertified: true\nsteps: [{weight: 10}]\n", "plan.yaml")


def test_the_api_takes_certificates_of_approvers_and_apply_says_what_is_lacking() -> None:
    office = Office(MemoryDesk(ledger=MemoryLedger()))
    plan = Plan.model_validate({"model": "m", "steps": [{"weight": 10}], "certified": True} | GATED)
    body = {"values": plan.document()}
    said = office.client.post("/api/v1/documents", headers=BEARER, json=body).json()
    assert "plan of m/default was not certified in its present form" in said["warning"]
    path = f"/api/v1/certificates/{plan.digest}"
    check = {"metric": "errors", "name": "equal candidate", "ok": True, "reason": "stopped in 2 of 110"}
    operator = {
        "authorization": f"Bearer {Tokens(office.ledger, 'x', lambda: NOW).give('eve', Role.OPERATOR, actor='a')}"
    }
    sent = {"model": "m", "checks": [check]}
    assert office.client.put(path, headers=operator, json=sent).status_code == 403
    assert office.client.put(path, headers=BEARER, json=sent | {"checks": []}).status_code == 422
    assert office.client.put(path, headers=BEARER, json=sent).json()["ok"] is True
    assert office.client.get(path, headers=operator).json()["checks"] == [check]
    assert "certified" not in str(office.client.post("/api/v1/documents", headers=BEARER, json=body).json()["warning"])
    assert office.client.put("/api/v1/certificates/abc", headers=BEARER, json=sent).status_code == 422


# --- a policy that asks for certificates -----------------------------------------------------------------------------

POLICY = "kind: policy\nname: certified-plans\ncertified: true\n"


def applied(text: str, role: Role = Role.ADMIN, ledger: MemoryLedger | None = None) -> bool:
    read = read_document(text, "policy.yaml")
    document = Applied(kind=read.kind, name=read.name, body=read.body, digest=read.digest, actor="eve", at=NOW)
    return apply_document(ledger or MemoryLedger(), document, role)


def test_a_policy_asks_for_certificates_of_plans_that_do_not(tmp_path: Path) -> None:
    stand = Stand(tmp_path, **GATED)
    applied(POLICY, ledger=stand.ledger)
    with pytest.raises(
        Refused, match=r"not certified in its present form .*the policy certified-plans requires a certificate"
    ) as refused:
        stand.start()
    assert "sluice certify -f FILE, with the file that was applied; as an approver: sluice rollout start m" in str(
        refused.value
    )
    certified(stand, stand.plan, ok=False)
    with pytest.raises(Refused, match="is not certified: the attempt of grace failed"):
        stand.start()
    assert len(stand.ledger.rollouts()) == 1
    certified(stand, stand.plan, ok=True)
    assert stand.start().phase is Phase.LAUNCHING
    changed = Plan.model_validate(stand.plan.document() | {"bake": "1h"})
    stand.plan = changed
    with pytest.raises(Refused, match="not certified in its present form"):
        stand.start()


def test_a_policy_lets_through_who_is_named_and_models_that_it_does_not_name(tmp_path: Path) -> None:
    stand = Stand(tmp_path, **GATED)
    applied(POLICY.replace("certified: true", "models: [x-*]\ncertified: true"), ledger=stand.ledger)
    assert stand.start().phase is Phase.LAUNCHING
    (tmp_path / "other").mkdir()
    named = Stand(tmp_path / "other", **GATED)
    applied(POLICY, ledger=named.ledger)
    assert named.start(Giver(actor="grace", override_assessment="hotfix")).assessment_overridden


def test_a_plan_without_gates_cannot_be_certified_and_a_mere_shadow_needs_not(tmp_path: Path) -> None:
    stand = Stand(tmp_path, offline=[])
    applied(POLICY, ledger=stand.ledger)
    with pytest.raises(Refused, match="has no gate and no guardrail to certify"):
        stand.start()
    shadow = {"strategy": "shadow", "shadow": {"sample": 20, "max_time": "1h"}}
    stand.plan = Plan.model_validate({"model": "m"} | shadow)
    assert stand.start(strategy=Strategy.SHADOW).phase is Phase.LAUNCHING


def test_no_step_is_skipped_where_a_policy_asks_for_certificates(tmp_path: Path) -> None:
    stand = Stand(tmp_path, **GATED | {"steps": [{"weight": 10}, {"weight": 50}]})
    rollout = stand.launch(stand.start())
    stand.facts(rollout.id, Ready(version="2"))
    stand.tick(rollout.id)
    applied(POLICY, ledger=stand.ledger)
    with pytest.raises(Refused, match="its certificate holds only if no step is skipped"):
        orders.jump(stand.ledger, rollout.id, step=1, actor="grace", reason="x", now=NOW)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.APPROVER])
def test_only_an_admin_says_what_holds_for_all_or_takes_it_back(role: Role) -> None:
    ledger = MemoryLedger()
    with pytest.raises(Forbidden, match="only an admin may change a policy"):
        applied(POLICY, role, ledger)
    assert applied(POLICY, Role.ADMIN, ledger)
    with pytest.raises(Forbidden, match="only an admin may change a policy"):
        withdraw_document(ledger, "policy", "certified-plans", "eve", role, NOW)
    assert withdraw_document(ledger, "policy", "certified-plans", "ada", Role.ADMIN, NOW)


def test_a_policy_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="certified"):
        applied("kind: policy\nname: lax\ncertified: false\n")


def test_the_how_to_shows_the_policy_and_its_refusal(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8").split("## Certificates for every plan")[1]
    stand = Stand(tmp_path, **GATED)
    applied(page.split("```yaml\n")[1].split("```")[0], ledger=stand.ledger)
    with pytest.raises(Refused) as refused:
        stand.start()
    assert str(refused.value) == page.split("```text\n")[1].split("\n```")[0]
