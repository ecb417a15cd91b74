"""Pages of the console: what they show of what the ledger holds, found by filters, side by side, in words."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluicegate.flows.views.overview import overview
from sluicegate.flows.wiring.collecting import sight_findings
from sluicegate.flows.wiring.machine_checks import _gateways as checks_of_gateways
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.audience.audience import AllOf, Audience, Match, Not, Operator, Present, Range, matches
from sluicegate.registry.audience.connections import Connection, Copied, Weighted
from sluicegate.registry.audience.overlap import shared_request
from sluicegate.registry.ledger.calls import Call
from sluicegate.registry.ledger.keeper_notes import note_gateways
from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.history import tenures
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.pulse import MINUTES, Pulse, pulse
from sluicegate.registry.report.readout import arrivals, experiment_readout
from sluicegate.registry.report.report import ArmCounts, RequestsAtWeight, arm_errors, errors_in_words
from sluicegate.registry.report.timeline import moment
from sluicegate.registry.report.trend import trends
from sluicegate.registry.rollout.facts import Entry, Failed, StepEntered
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.gateways import Confirmation, GatewayState
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.settings import Settings
from sluicegate.registry.words.sight import Listener, Sight
from sluicegate.services.console.pages import access, activity
from sluicegate.services.console.pages.audiences import _split
from sluicegate.services.console.pages.search import Hit, matching
from sluicegate.services.console.pages.trends import Trends
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.host.doctor.finding import Finding, pending, warned
from sluicegate.services.report.history_chart import history_chart
from sluicegate.services.report.sparkline import pulse_line, sparkline
from sluicegate.services.report.svg import WIDTHS
from tests import giving as orders
from tests.acceptance.given import PLAN, Given
from tests.experiment_lab import Lab, plan
from tests.giving import Giver
from tests.unit.console_office import BEARER, NOW, TOKEN, FirstBuilds, LabDesk, MemoryDesk, Office
from tests.unit.console_office import PLAN as PLAN_OF_M
from tests.unit.test_overview import LastMinute


def text(page: str) -> str:
    """What a reader sees of it."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def signed_in(desk: MemoryDesk | None = None) -> Office:
    office = Office(desk)
    office.client.post("/login", data={"token": TOKEN, "name": "ada"})
    return office


@pytest.fixture
def judged() -> Given:
    return Given().runs(20_000, until=5000)


def test_two_rollouts_are_shown_side_by_side_with_what_their_plans_say_differently() -> None:
    office = signed_in()
    first = office.running()
    orders.abort(office.ledger, first.id, actor="ada", reason="too slow", now=NOW)
    other = Plan.model_validate({"model": "m", "steps": [{"weight": 10}, {"weight": 30}]})
    second = orders.start(office.ledger, plan=other, version="3", request=Giver(actor="b", cause="c"), now=NOW)
    shown = text(office.client.get(f"/rollouts/compare?id={first.id}&id={second.rollout.id}").text)
    assert "too slow" in shown
    assert "steps.1.weight 50 30" in shown
    assert "model m" not in shown[shown.index("What their plans say differently") :]


@pytest.mark.parametrize("query", ["", "id={0}", "id={0}&id={0}", "id={0}&id={1}&id=x"])
def test_other_than_two_rollouts_are_not_compared(query: str) -> None:
    office = signed_in()
    rollout = office.running()
    first = office.ledger.rollouts()[0]
    answer = office.client.get(f"/rollouts/compare?{query.format(rollout.id, first.id)}")
    assert answer.status_code == 422
    assert "two rollouts can be compared" in answer.text


def test_activity_is_found_by_model_and_kind(judged: Given) -> None:
    office = signed_in(MemoryDesk(ledger=judged.ledger))
    office.running()
    everything = text(office.client.get("/activity").text)
    assert all(part in everything for part in ("delays v2", "m v2", "step 1 began", "canary of delays v2 requested"))
    of_model = office.client.get("/activity?model=delays").text
    assert "delays v2" in text(of_model)
    assert "m v2" not in re.sub("<form.*</form>", "", of_model, flags=re.DOTALL)
    endings = text(office.client.get("/activity?model=delays&kind=endings").text)
    assert "the first build takes all traffic" in endings
    assert "began" not in endings
    assert "Nothing like this was found." in text(office.client.get("/activity?kind=problems").text)


def test_activity_has_pages_and_each_fact_is_on_one(judged: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "PAGE", 7)
    office = signed_in(MemoryDesk(ledger=judged.ledger))
    shown, path = 0, "/activity"
    for _ in range(20):
        page = office.client.get(path).text
        shown += page.count('class="what')
        older = re.search(r'href="(/activity\?[^"]*before=\d+)"', page)
        if older is None:
            break
        path = older[1].replace("&amp;", "&")
    assert shown == judged.ledger.feed_end()


def test_a_filter_looks_through_so_many_facts_and_goes_on_from_there(
    judged: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "PAGE", 3)
    monkeypatch.setattr(activity, "STRETCHES", 1)
    page = signed_in(MemoryDesk(ledger=judged.ledger)).client.get("/activity?kind=problems").text
    assert f"before={judged.ledger.feed_end() - 2}" in page


def test_calls_are_told_in_words_and_the_same_ones_are_one_line() -> None:
    office = signed_in()
    rollout = office.running()
    for _ in range(3):
        _call(office, "bob", f"/api/v1/rollouts/{rollout.id}/pause", 200)
    _call(office, "bob", f"/api/v1/rollouts/{rollout.id}/promote", 403)
    _call(office, "eve", "/no/such", None)
    shown = text(office.client.get("/access").text)
    assert f"Pause a rollout: {rollout.id}" in shown or f"{rollout.id} 3 times" in shown
    assert shown.count("3 times") == 1
    assert "refused (403)" in shown
    assert "POST /no/such no answer" in shown
    refused = text(office.client.get("/access?who=bob&answer=refused").text)
    assert "refused (403)" in refused
    assert "3 times" not in refused
    assert "No call is like this." in text(office.client.get("/access?who=nobody").text)


def test_calls_have_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PAGE", 2)
    office = signed_in()
    for actor in ("a", "b", "c"):
        _call(office, actor, f"/{actor}", 200)
    first = office.client.get("/access").text
    assert "POST /b" in first
    assert "POST /a" not in first
    assert "POST /a" in office.client.get("/access?before=2").text


def _call(office: Office, actor: str, path: str, status: int | None) -> None:
    kept, _ = office.desk.calls.begin(Call(at=NOW, actor=actor, role="admin", method="POST", path=path, digest="d"))
    if status is not None:
        office.desk.calls.finish(kept.number, status, "{}")


def test_trends_are_those_of_the_goal_and_the_error_rate(judged: Given) -> None:
    looks = judged.ledger.looks(judged.name)
    goal, errors = trends(judged.rollout, looks)
    assert (goal.metric, goal.unit, errors.metric, errors.unit) == ("log_loss", "plain", "errors", "share")
    last = judged.ledger.last_looks(judged.name)[1].verdict
    assert goal.points[-1] == (last.stable_mean, last.candidate_mean)
    assert sparkline(goal).count("<path") == 2
    assert trends(Given({**PLAN, "model": "x"}).rollout, ())[0].points == ()


def test_looks_of_a_sparkline_are_read_again_only_once_there_are_more(judged: Given) -> None:
    read: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            read.append(name)
            return getattr(judged.ledger, name)

    known, shown = Trends(), [judged.rollout]
    assert known.read(Counting(), shown) == known.read(Counting(), shown)  # type: ignore[arg-type]
    assert read.count("looks") == 1
    judged.runs(600)
    known.read(Counting(), [judged.rollout])  # type: ignore[arg-type]
    assert read.count("looks") == 2
    assert known.read(Counting(), []) == {}  # type: ignore[arg-type]


def test_the_overview_draws_trends_of_what_is_in_progress(judged: Given) -> None:
    page = signed_in(MemoryDesk(ledger=judged.ledger)).client.get("/").text
    assert page.count('class="spark"') == 2
    assert "log_loss over" in page


def test_a_models_page_tells_what_its_training_runs_measured_and_which_build_was_stable_when() -> None:
    class Trained(FirstBuilds):
        def builds(self, model: str) -> list[Build]:
            return [Build(ref=BuildRef(model=model, version=str(n)), source="x", run=f"run{n}") for n in (1, 2, 3)]

        def run_metrics(self, run: str) -> dict[str, float]:
            if run == "run2":
                raise Unreachable("MLflow is away.")
            return {"auc": 0.8731, "rows": 120_000}

    office = signed_in(MemoryDesk(catalog=Trained()))
    office.running()
    page = text(office.client.get("/models/m").text)
    assert page.count("auc 0.873") == 1, "of builds that serve, and not of one whose run cannot be read"
    assert "rows 120,000" in page
    assert "v1 stable now, by first deployment" in page


def test_a_model_says_where_the_time_goes_in_its_services() -> None:
    class Timed(MemoryDesk):
        def overview(self, models: Collection[str]) -> Sequence[Served]:
            times = {"reader": 0.1, "model": 4.6, "writer": 0.1, "server": 0.4}
            spent = lambda build: times if build.version == "1" else {}  # noqa: E731
            return overview(self.ledger, LastMinute(), models, self.clock(), spent)

    office = signed_in(Timed())
    office.running()
    page = text(office.client.get("/models/m").text)
    means = "reader 0.1 ms, model 4.6 ms, writer 0.1 ms, server 0.4 ms."
    assert f"In the service of v1 an answered request takes 5.2 ms on average: {means}" in page
    assert page.count("an answered request takes") == 1, "of builds whose service has answered"


def test_a_build_was_stable_until_the_next_one_or_until_it_was_undeployed() -> None:
    given = Given().runs(30_000)
    first, second = given.ledger.rollouts()
    known = tenures(given.ledger.rollouts(), {})
    assert [(each.build, each.how, each.rollout) for each in known] == [
        ("1", "deploy", first.id),
        ("2", "canary", second.id),
    ]
    assert known[0].until == known[1].since == second.promoted_at
    assert known[1].until is None
    (*_, last) = tenures(given.ledger.rollouts(), {second.id: given.now})
    assert last.until == given.now
    chart = history_chart(known, given.now, "h")
    assert chart.count('class="tenure ') == 2
    assert history_chart((), given.now, "h") == ""


def test_an_experiments_page_tells_exposures_ratio_and_progress() -> None:
    lab = Lab(plan=plan(variations={"default": 2, "b": 1, "c": 1})).begins().runs(2_000)
    office = signed_in(LabDesk(lab))
    experiment = lab.group[0].requested.experiment
    page = office.client.get(f"/experiments/{experiment}").text
    assert page.count('class="arrivals') == 3 * len(WIDTHS)
    shown = text(page)
    assert "of 14d" in shown
    assert re.search(r"b 33.3 % 3\d(\.\d)? % NOT TESTED", shown), "desired beside observed"
    readout = experiment_readout(read_for_readout(lab.ledger, lab.group))
    known = arrivals(readout, {each.id: lab.ledger.looks(each.id, "loss") for each in lab.group})
    assert [each.variation for each in known] == ["default", "b", "c"]
    assert known[0].points[-1][1] == readout.control_rows
    assert [each.points[-1][1] for each in known[1:]] == [each.rows for each in readout.compared]


def test_errors_are_told_of_an_arm_that_has_some() -> None:
    counts = {"stable": ArmCounts(requests=900), "candidate": ArmCounts(requests=100, failed=2, ends={"timeout": 2})}
    told = errors_in_words(arm_errors([RequestsAtWeight(epoch=1, **counts)]))
    assert told == {"candidate": "2 of 100 requests: 2 timeout"}


def test_an_overlap_is_a_request_that_both_take() -> None:
    state = Match(header="State", operator=Operator.EXACT, operands=("Texas", "Utah"))
    adult, minor = Range(header="age", low=18), Range(header="age", high=17.5)
    begins = Match(header="h", operator=Operator.PREFIX, operands=("a",))
    ends = Match(header="h", operator=Operator.SUFFIX, operands=("z",))
    for first, second in ((state, adult), (begins, ends), (AllOf(conditions=()), state), (Not(condition=state), adult),
                          (Range(header="age", low=1, high=2), Range(header="age", low=2, high=3))):  # fmt: skip
        shared = shared_request(first, second)
        assert shared is not None
        assert matches(first, shared)
        assert matches(second, shared)
    assert shared_request(adult, minor) is None
    assert shared_request(state, Not(condition=state)) is None


def test_an_overlap_is_given_up_after_so_many_tries() -> None:
    wide = AllOf(conditions=tuple(Present(header=f"h{number}") for number in range(40)))
    assert shared_request(wide, Not(condition=wide)) is None


@pytest.fixture
def asked() -> Office:
    """Model m asks texas, then adults."""
    office = signed_in()
    office.running()
    parts = {"texas": {"state": "Texas"}, "adults": {"age": {"from": 18}}}
    for name, when in parts.items():
        values = {"kind": "audience", "name": name, "when": when}
        answer = office.client.post("/api/v1/documents", json={"values": values, "where": "x"}, headers=BEARER)
        assert answer.is_success, answer.text
    body = {"audiences": [{"audience": name, "weight": 1} for name in parts]}
    answer = office.client.post("/api/v1/models/m/variations/default/connect", json=body, headers=BEARER)
    assert answer.is_success, answer.text
    return office


def order_form(page: str, name: str) -> tuple[str, dict[str, str]]:
    """Where the form of the button of this name leads, and what it says."""
    found = re.search(
        rf'<form method="post" action="([^"]+)" class="inline">((?:(?!</form>).)*?)aria-label="{name}"', page
    )
    assert found is not None
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', found[2]))
    return found[1], {name: html.unescape(value) for name, value in fields.items()}


def test_audiences_are_shown_in_their_order_with_what_overlaps(asked: Office) -> None:
    shown = text(asked.client.get("/audiences").text)
    assert shown.index("1. texas") < shown.index("2. adults") < shown.index("everybody else default")
    assert "adults: a request with state=Texas, age=18 matches both; texas takes it" in shown


def test_audiences_are_put_in_another_order_by_a_button_and_not_by_a_stale_page(asked: Office) -> None:
    page = asked.client.get("/audiences").text
    where, fields = order_form(page, "Move adults earlier")
    after = text(asked.client.post(where, data=fields).text)
    assert after.index("1. adults") < after.index("2. texas")
    stale = text(asked.client.post(where, data=fields).text)
    assert "the connections of m have changed since you read them" in stale
    assert stale.index("1. adults") < stale.index("2. texas")
    assert 'aria-label="Move adults earlier"' not in asked.client.get("/audiences").text


def test_who_may_only_look_cannot_order_audiences(asked: Office) -> None:
    token = Tokens(asked.ledger, TOKEN, asked.desk.clock).give("vic", Role.VIEWER, actor="ada")
    asked.client.post("/login", data={"token": token, "name": "vic"})
    page = asked.client.get("/audiences").text
    assert "1. texas" in text(page)
    assert "/order?form=" not in page


def test_logs_of_a_rollout_are_text_by_source_and_for_operators() -> None:
    office = signed_in()
    rollout = office.running()
    assert f'href="/rollouts/{rollout.id}/logs"' in office.client.get(f"/rollouts/{rollout.id}").text
    page = office.client.get(f"/rollouts/{rollout.id}/logs").text
    assert "&lt;b&gt;is&lt;/b&gt; ready" in page
    assert "keeper started it routed it" in text(page)
    token = Tokens(office.ledger, TOKEN, office.desk.clock).give("vic", Role.VIEWER, actor="ada")
    office.client.post("/login", data={"token": token, "name": "vic"})
    assert office.client.get(f"/rollouts/{rollout.id}/logs").status_code == 403
    assert "/logs" not in office.client.get(f"/rollouts/{rollout.id}").text


class HungDesk(MemoryDesk):
    """Counters that never come, and a check that has not answered."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def checks(self, within: float) -> list[Finding]:
        return [warned("disk", "9 % free", "free some"), pending("ledger")]

    def counts(self) -> dict[str, object]:
        self.let_go.wait(30)
        return {"counters": {"lines": 3}}


def test_the_page_of_health_comes_although_something_hangs_and_says_what() -> None:
    desk = HungDesk()
    try:
        shown = text(signed_in(desk).client.get("/health").text)
    finally:
        desk.let_go.set()
    assert "9 % free" in shown
    assert "Still being checked: ledger." in shown
    assert "counters: no answer yet" in shown
    assert "All checks pass" not in shown


def test_a_printed_page_says_the_exact_time_beside_a_relative_one() -> None:
    printed = Path("services/console/static/console.css").read_text().rpartition("@media print")[2]
    assert 'time[title]::after { content: " (" attr(title) ")"; }' in printed
    relative = [
        line for file in Path("services/console/templates").glob("*.html") for line in file.open() if "|ago" in line
    ]
    assert len(relative) == 1, "every relative time is written by one macro"
    assert 'title="{{ time|moment }} UTC"' in relative[0]


def test_the_page_of_health_names_each_gateway_its_version_and_for_how_long_it_is_behind(tmp_path: Path) -> None:
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path)}), lambda: NOW)
    late = NOW - timedelta(minutes=3)
    states = [
        GatewayState(name="gateway", confirmation=Confirmation.CONFIRMED, version="new", since=late),
        GatewayState(name="edge-1", confirmation=Confirmation.CONFIRMED, version="new", since=late),
        GatewayState(name="edge-2", confirmation=Confirmation.LATE, version="old", since=late, why="a full disk"),
        GatewayState(name="edge-3", confirmation=Confirmation.AWAY, version=None, since=late, why="it is cut off"),
    ]
    note_gateways(runtime.ledger, states, NOW)
    desk = MemoryDesk()
    desk.checks = lambda _: checks_of_gateways(runtime)  # type: ignore[method-assign]
    shown = text(signed_in(desk).client.get("/health").text)
    since = f"{late:%Y-%m-%d %H:%M:%S} UTC"
    assert f"edge-2 is late since {since}: a full disk. It last reported version old." in shown
    assert f"edge-3 is away since {since}: it is cut off. It last reported no version." in shown
    for name in ("gateway", "edge-1"):
        assert re.search(rf"{name}\s+it has the current routes \(version new\)", shown), shown


def hit(name: str, kind: str = "Models", about: str = "") -> Hit:
    return Hit(kind=kind, name=name, about=about, url=f"/{name}")


def test_search_finds_by_every_word_and_puts_first_what_begins_with_them() -> None:
    everything = [hit("late-delays"), hit("delays", about="canary, running"), hit("fraud"), hit("bake", kind="Words")]
    assert [each.name for each in matching("DEL", everything)["Models"]] == ["delays", "late-delays"]
    assert [each.name for each in matching("running canary", everything)["Models"]] == ["delays"]
    assert matching("zebra", everything) == {}
    assert set(matching("", everything)) == {"Models"}, "words only for who asks"
    assert [each.name for each in matching("bake", everything)["Words"]] == ["bake"]


def test_search_leads_to_pages_and_offers_what_the_caller_may_do() -> None:
    office = signed_in()
    rollout = office.running()
    page = office.client.get("/search?q=m").text
    for url in ("/models/m", f"/rollouts/{rollout.id}", f"/rollouts/{rollout.id}#abort-effect", "/access"):
        assert f'href="{url}"' in page
    token = Tokens(office.ledger, TOKEN, office.desk.clock).give("vic", Role.VIEWER, actor="ada")
    office.client.post("/logout")
    seen = Office(office.desk).client
    seen.post("/login", data={"token": token})
    page = seen.get("/search?q=").text
    assert f'href="/rollouts/{rollout.id}"' in page
    assert "abort-effect" not in page
    assert 'href="/access"' not in page
    assert "Nothing has “&lt;b&gt;”" in seen.get("/search?q=<b>").text


def test_every_act_that_search_offers_is_a_place_on_the_page_it_leads_to() -> None:
    office = signed_in()
    rollout = office.running()
    found = office.client.get("/search?q=v2").text
    page = office.client.get(f"/rollouts/{rollout.id}").text
    places = re.findall(rf'href="/rollouts/{rollout.id}#([^"]+)"', found)
    assert len(places) >= 4
    assert all(f'id="{place}"' in page for place in places)


class OneTrained(FirstBuilds):
    away: bool = False

    def builds(self, model: str) -> list[Build]:
        if self.away:
            raise Unreachable("MLflow does not answer.", fix="see whether it runs")
        return [Build(ref=BuildRef(model=model, version="2"), source="x", run="a b")]


def test_a_build_leads_to_its_training_run_and_a_rollout_waits_for_no_mlflow() -> None:
    catalog = OneTrained()
    desk = MemoryDesk(catalog=catalog, links={"mlflow": "http://mlflow"})
    office = signed_in(desk)
    rollout = office.running()
    catalog.away = True
    assert 'href="/models/m/builds/2/run"' in office.client.get(f"/rollouts/{rollout.id}").text
    assert "MLflow does not answer." in office.client.get("/models/m/builds/2/run").text
    catalog.away = False
    led = office.client.get("/models/m/builds/2/run", follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (303, "http://mlflow/#/runs/a%20b")
    none = office.client.get("/models/m/builds/7/run")
    assert (none.status_code, "no training run of m v7" in none.text) == (404, True)


def test_a_first_build_that_failed_has_no_steps_and_says_that_nothing_else_changed() -> None:
    office = signed_in()
    first = orders.deploy(office.ledger, plan=PLAN_OF_M, version="1", request=Giver(actor="ada", cause="cli"), now=NOW)
    name = first.rollout.id
    failed = Failed(stage="pack", reason="no matching distribution")
    office.ledger.append(name, office.ledger.rollout(name).seq + 1, failed, NOW)
    shown = text(office.client.get(f"/rollouts/{name}").text)
    assert "v1 could not be launched; nothing else was changed: pack: no matching distribution" in shown
    assert "Strategy first build" in shown
    assert "Steps of the plan" not in office.client.get(f"/rollouts/{name}").text


def test_the_split_of_an_audience_is_told_in_per_cent() -> None:
    audience = Audience(name="texas", condition=Present(header="state"))
    both = (Weighted(variation="b", weight=70), Weighted(variation="default", weight=35))
    alone = Connection(audience=audience, weighted=both[:1], copied=(Copied(variation="c", sample=2000),))
    assert _split(alone) == "b, copies of 20 % to c"
    assert _split(Connection(audience=audience, weighted=both)) == "b 66.7 %, default 33.3 %"


def test_the_requests_of_a_shadow_are_copied_not_moved() -> None:
    entered = StepEntered(step=0, weight=10_000, actor="driver", reason="ready")
    entry = Entry(rollout="r", seq=5, at=NOW, fact=entered)
    told = [moment(entry, 0, 10_000, is_shadow=is_shadow).text for is_shadow in (False, True)]
    assert told == ["step 1 began: 100 % of requests", "step 1 began: 100 % of requests are copied"]


@pytest.mark.parametrize(
    ("served", "uncounted", "said"),
    [
        (0, 0, "no requests lately"),
        (1200, 0, "all 1,200 requests of the last minute are counted"),
        (0, 1, "0 requests in the last minute; 1 of these or earlier ones are not counted"),
    ],
)
def test_health_tells_what_of_the_requests_is_counted(served: int, uncounted: int, said: str) -> None:
    sight = Sight(served=served, uncounted=uncounted)
    assert [each.found for each in sight_findings({Listener.LIVE: sight})] == [said]


def test_what_needs_a_person_says_on_the_overview_what_can_be_done() -> None:
    office = signed_in()
    rollout = office.running()
    link = f'href="/rollouts/{rollout.id}#resume-effect" title="the plan goes on at step 1 of 2">Resume…</a>'
    assert link not in office.client.get("/").text
    orders.pause(office.ledger, rollout.id, actor="bob", reason="lunch", now=NOW)
    assert link in office.client.get("/").text
    assert 'id="resume-effect"' in office.client.get(f"/rollouts/{rollout.id}").text, "the link leads somewhere"


def test_the_steps_mark_where_a_rollout_ended() -> None:
    office = signed_in()
    rollout = office.running()
    page = f"/rollouts/{rollout.id}"
    assert 'class="last"' not in office.client.get(page).text
    orders.abort(office.ledger, rollout.id, actor="ada", reason="too slow", now=NOW)
    shown = office.client.get(page).text
    assert "ended here" in shown
    assert "v2 was aborted; stable v1 gets every request again: too slow (by ada)." in text(shown)


def test_the_timeline_folds_what_happens_in_every_rollout_and_leaves_nothing_out(judged: Given) -> None:
    office = signed_in(MemoryDesk(ledger=judged.ledger))
    page = office.client.get(f"/rollouts/{judged.name}").text
    told = page[page.index("<h2>Timeline") : page.index("All facts in the ledger")]
    assert told.count('class="what') == len(judged.ledger.entries(judged.name))
    shown = text(re.sub("<details>.*?</details>", "", told, flags=re.DOTALL))
    assert shown.index("canary of delays v2 requested") < shown.index("step 2 began") < shown.index("step 3 began")
    assert "Envoy applied" not in shown
    assert "is undecided" not in shown


def test_a_failed_gate_is_never_folded() -> None:
    harmed = Given(candidate=0.9).runs(20_000)
    page = signed_in(MemoryDesk(ledger=harmed.ledger)).client.get(f"/rollouts/{harmed.name}").text
    shown = text(re.sub("<details>.*?</details>", "", page[page.index("<h2>Timeline") :], flags=re.DOTALL))
    assert "log_loss failed at step 1" in shown
    assert "aborted: all requests go back to stable" in shown


def test_a_rollout_says_what_comes_next_and_what_keeps_it() -> None:
    office = signed_in()
    rollout = office.running()
    assert "Next: v2 gets 50 % of the requests (step 2)." in text(office.client.get(f"/rollouts/{rollout.id}").text)
    orders.pause(office.ledger, rollout.id, actor="bob", reason="lunch", now=NOW)
    assert "Next:" not in text(office.client.get(f"/rollouts/{rollout.id}").text), "a paused one goes nowhere"


def test_a_model_has_the_pulse_of_its_last_minutes_and_none_where_nothing_came() -> None:
    told = pulse({100: (50, 0), 102: (200, 4), 103: (999, 999)}, 103)
    assert (len(told.requests), told.requests[-3:], told.failed[-3:]) == (MINUTES, (50, 0, 200), (0, 0, 4)), (
        "the present minute is not over"
    )
    drawn = pulse_line(told)
    assert "200 in the last one, 200 at most; 1.6 % failed" in drawn
    assert 'class="failed"' in drawn
    assert pulse_line(pulse({}, 103)) == ""

    class Busy(MemoryDesk):
        def pulses(self, models: Collection[str]) -> Mapping[str, Pulse]:
            return dict.fromkeys(models, told)

        def overview(self, models: Collection[str]) -> Sequence[Served]:
            return overview(self.ledger, LastMinute(), models, self.clock())

    office = signed_in(Busy())
    office.running()
    page = office.client.get("/").text
    assert page.count('class="requests"') == 1
    assert page.index(">m</a>") < page.index('class="requests"'), "beside its name"


def test_a_rollout_that_bakes_says_until_when_an_abort_is_instant() -> None:
    baking = Given({**PLAN, "bake": "3d"}, start=datetime.now(UTC)).runs(60_000)
    page = text(signed_in(MemoryDesk(ledger=baking.ledger)).client.get(f"/rollouts/{baking.name}").text)
    assert re.search(r"so that an abort is instant, and stops in [23] days", page)
