"""Experiments in the console: list, page, model's page, and the order to end one, by role and form token."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from sluicegate.registry.rollout.rollout import Ending
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.pages.effects import effect, possible
from sluicegate.services.console.tokens import Tokens
from tests import giving as orders
from tests.experiment_lab import EQUAL, Lab, plan
from tests.unit.console_office import BEARER, TOKEN, LabDesk, Office


@pytest.fixture
def lab() -> Lab:
    uneven = plan(variations={"default": 2, "b": 1, "c": 1}, holdout=20)
    return Lab(loss=EQUAL | {"b": 0.6}, plan=uneven).begins().runs(6_000)


def signed_in(lab: Lab, role: Role | None = None) -> TestClient:
    """A browser; without a role the admin's."""
    token = (
        TOKEN if role is None else Tokens(lab.ledger, TOKEN, lambda: lab.now).give(role.name.lower(), role, actor="ada")
    )
    client = Office(LabDesk(lab)).client
    assert client.post("/login", data={"token": token, "name": "ada"}).status_code == 200
    return client


def name(lab: Lab) -> str:
    return lab.group[0].requested.experiment or ""


def row(page: str, variation: str) -> str:
    """A line of the page's table, without its tags."""
    found = re.search(rf"<tr>(?:(?!</tr>).)*?{lab_link(variation)}.*?</tr>", page, re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def lab_link(variation: str) -> str:
    return rf'<a href="/rollouts/[^"]+">{variation}</a>'


def test_the_page_tells_each_variation_beside_the_control(lab: Lab) -> None:
    page = signed_in(lab).get(f"/experiments/{name(lab)}").text
    assert "loss better than default" in page
    assert "Best so far: b, which reached the goal." in page
    assert "20 % held out" in page
    told = row(page, "b")
    assert re.match(r"b v2 20 % [\d,]+ 0\.\d+ -0\.\d+ -0\.\d+ to -0\.\d+ PASS running$", told), told
    assert "lower (better) than the control&#39;s, " in page
    assert "UNDECIDED" in row(page, "c")
    for each in lab.group:
        assert f'href="/rollouts/{each.id}"' in page


def test_an_experiment_is_found_by_its_model_and_in_lists(lab: Lab) -> None:
    client = signed_in(lab)
    for path in ("/experiments", "/models/m", f"/rollouts/{lab.comparison('b').id}"):
        assert f'href="/experiments/{name(lab)}"' in client.get(path).text, path
    assert name(lab) in client.get("/experiments/m").text
    assert client.get("/experiments/nothing", headers={"accept": "text/html"}).status_code == 404
    listed = client.get("/api/v1/experiments?model=m").json()["experiments"]
    assert [(each["experiment"], each["control_share"], each["held_out"]) for each in listed] == [(name(lab), 40, 20)]
    assert client.get("/api/v1/experiments?model=other").json()["experiments"] == []


def test_ending_it_tells_its_effect_first_and_is_in_the_ledger_by_name(lab: Lab) -> None:
    client = signed_in(lab)
    page = client.get(f"/experiments/{name(lab)}").text
    assert "The comparison of b, c with default ends as it stands." in page
    action = re.search(r'action="(/experiments/[^"]+/end\?form=[^"]+)"', page)
    assert action is not None
    ended = client.post(action[1], data={"reason": "seen enough"})
    assert ended.url.path == f"/experiments/{name(lab)}"
    assert "Best : b" not in ended.text
    assert "Best: b, which reached the goal." in ended.text
    assert {(each.ending, each.actor, each.reason) for each in lab.group} == {(Ending.CONCLUDED, "ada", "seen enough")}
    assert "End without a change" not in ended.text
    assert "Release b…" in ended.text, "the winner can still be released"


def test_without_the_forms_token_nothing_ends(lab: Lab) -> None:
    forged = signed_in(lab).post(f"/experiments/{name(lab)}/end", data={"reason": "x"}, follow_redirects=False)
    assert forged.status_code == 401
    assert not any(each.is_ended for each in lab.group)


def test_a_viewer_is_shown_no_order_and_is_refused_one(lab: Lab) -> None:
    client = signed_in(lab, Role.VIEWER)
    page = client.get(f"/experiments/{name(lab)}").text
    assert "Your role may look, not act." in page
    assert "End without a change" not in page
    token = re.search(r'/logout\?form=([^"]+)"', page)
    assert token is not None
    told = client.post(f"/experiments/{name(lab)}/end?form={token[1]}", data={"reason": "x"})
    assert 'role="alert"' in told.text
    assert not any(each.is_ended for each in lab.group)
    assert "End without a change" in signed_in(lab, Role.OPERATOR).get(f"/experiments/{name(lab)}").text


def test_before_it_begins_the_page_says_so_and_without_any_how_to_make_one(lab: Lab) -> None:
    early = Lab().starts()
    assert "Nobody is assigned yet" in signed_in(early).get("/experiments/m").text
    assert "sluice experiment start MODEL" in signed_in(Lab()).get("/experiments").text
    assert signed_in(Lab()).get("/api/v1/experiments", headers=BEARER).json() == {"experiments": []}


def test_what_an_order_does_to_one_comparison_is_told_as_it_is(lab: Lab) -> None:
    one = lab.comparison("b")
    assert possible(one) == ("pause", "promote", "abort")
    assert effect("promote", one).startswith("v2 takes the place of v1 in default")
    assert effect("abort", one).startswith("Only b is stopped: its units get default")
    orders.conclude(lab.ledger, name(lab), actor="ada", reason="enough", now=lab.now)
    ended = lab.comparison("b")
    assert possible(ended) == ("promote",)
    assert "The experiment ends." not in effect("promote", ended)
    orders.promote(lab.ledger, ended.id, actor="ada", reason="it won", now=lab.now)
    assert lab.ledger.rollouts()[-1].requested.version == "2", "what is offered works"
