"""What the page of a rollout says of an order before it is given, and of what may follow once it has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sluicegate.registry.rollout.facts import Baked
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.words.figures import ago
from sluicegate.services.console.pages.effects import afterwards, effect, possible
from tests import giving as orders
from tests.acceptance.given import PLAN, WHO, Given
from tests.unit.console_office import NOW


def of_target(given: Given) -> list[Rollout]:
    return [each for each in given.ledger.current() if each.target == given.rollout.target]


def test_an_approval_is_offered_where_a_step_needs_one() -> None:
    given = Given()
    given.ticks()
    assert possible(given.rollout) == ("pause", "jump", "promote", "abort")
    asks = Given({**PLAN, "steps": [{"weight": 10, "approval": True}, {"weight": 50}]})
    asks.ticks()
    assert possible(asks.rollout) == ("pause", "approve", "jump", "promote", "abort")
    assert effect("approve", asks.rollout).startswith("Step 1 may be left once its gates have passed.")


@pytest.mark.parametrize(
    ("order", "ending", "says"),
    [
        (
            "abort",
            Ending.ABORTED,
            "v1 answers every request. Once a better version is in MLflow, start it with `sluice rollout start",
        ),
        ("promote", Ending.PROMOTED, "Nothing has to be done. To return to v1 at once: `sluice rollback delays`"),
    ],
)
def test_an_ended_rollout_says_what_can_be_done_until_another_one_counts(order: str, ending: Ending, says: str) -> None:
    given = Given({**PLAN, "bake": "0s"})
    given.ticks()
    getattr(orders, order)(given.ledger, given.name, actor="ada", reason="seen", now=given.now)
    given.serves()
    if given.rollout.ending is None:
        given.ledger.append(given.name, given.rollout.seq + 1, Baked(reason="kept warm as planned"), given.now)
    ended = given.rollout
    assert ended.ending is ending
    told = afterwards(ended, of_target(given)) or ""
    assert says in told
    assert ("retry v2 above" in told) is (ending is Ending.ABORTED)
    orders.start(given.ledger, plan=given.plan, version="3", request=WHO, now=given.now)
    assert afterwards(ended, of_target(given)) is None, "another rollout is under way"
    assert afterwards(ended, []) is None, "nothing serves any more"


def test_what_is_still_to_come_is_never_said_to_be_over() -> None:
    assert [ago(NOW + timedelta(seconds=s), NOW) for s in (-30, 0, 2, 20, 60)] == [
        "just now", "just now", "just now", "in less than a minute", "in 1 min",
    ]  # fmt: skip
