"""Outcomes on their way: nothing is lost, nothing is sent for ever, and what became of each is told."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from sluicegate.services.client import CannotBeSent, Failed, FeedbackFull, NotAllowed, Refused, Retries, Unreachable
from sluicegate.services.client.connecting import Connecting
from sluicegate.services.client.outcomes import BATCH, Outbox, delivery, outcome
from sluicegate.services.client.postman import Postman
from sluicegate.services.client.steps import Send, Session

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = httpx.Request("POST", "http://console/outcomes")


def doing() -> Session:
    return Session(Connecting(gateway="http://g", console="http://c", retries=Retries(attempts=2)))


def told(accepted: int, *refused: int) -> httpx.Response:
    said = [{"index": index, "reason": "no"} for index in refused]
    body = {"accepted": accepted, "duplicate": 0, "contradictory": 0, "refused": said}
    return httpx.Response(202, json=body, request=REQUEST)


def deliver(work: Session, *replies: httpx.Response | httpx.RequestError) -> list[list[dict[str, Any]]]:
    """Let the steps run against these replies; the batches that were sent."""
    sent, steps, waiting = [], work.deliver(), list(replies)
    step = steps.send(None)
    while True:
        reply = None
        if isinstance(step, Send):
            sent.append(json.loads(step.ask.content or b""))
            reply = waiting.pop(0)
        try:
            step = steps.send(reply)
        except StopIteration:
            assert not waiting
            return sent


def give(work: Session, count: int) -> None:
    for number in range(count):
        work.feedback(f"r{number}.0", "late", number % 2, None, None, NOW)


def test_outcomes_go_in_batches_in_the_order_in_which_they_came() -> None:
    work = doing()
    give(work, BATCH + 3)
    first, second = deliver(work, told(BATCH), told(3))
    assert [item["prediction_id"] for item in first + second] == [f"r{n}.0" for n in range(BATCH + 3)]
    assert (len(first), len(second)) == (BATCH, 3)
    assert work.outbox.report().accepted == BATCH + 3
    assert work.outbox.report().accepted == 0


def test_a_batch_stays_below_what_the_server_takes() -> None:
    box = Outbox()
    for _ in range(400):
        box.put(outcome("日" * 500, "日" * 500, NOW, prediction_id="日" * 500))
    batches = []
    while batch := box.take():
        batches.append(batch)
    assert sum(map(len, batches)) == 400
    assert max(len(json.dumps(batch)) for batch in batches) < 1 << 20


def test_a_passing_failure_is_tried_again_and_then_waits_in_its_place() -> None:
    work = doing()
    give(work, 3)
    assert len(deliver(work, httpx.ReadTimeout("slow", request=REQUEST), told(3))) == 2
    give(work, 2)
    with pytest.raises(Failed):
        deliver(work, httpx.Response(503, request=REQUEST), httpx.Response(503, request=REQUEST))
    give(work, 1)
    (again,) = deliver(work, told(3))
    assert [item["prediction_id"] for item in again] == ["r0.0", "r1.0", "r0.0"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, NotAllowed), (403, NotAllowed), (404, Refused), (429, Refused), (500, Failed)]
)
def test_what_may_be_taken_later_waits(status: int, kind: type[Exception]) -> None:
    work = doing()
    give(work, 1)
    replies = [httpx.Response(status, request=REQUEST)] * (2 if status in (429, 500) else 1)
    with pytest.raises(kind):
        deliver(work, *replies)
    assert len(work.outbox) == 1


def test_what_will_never_be_taken_does_not_hold_up_the_rest() -> None:
    work = doing()
    give(work, BATCH + 1)
    deliver(work, httpx.Response(422, json={"detail": "wrong"}, request=REQUEST), told(1))
    report = work.outbox.report()
    assert (report.accepted, len(report.refused), report.refused[0].reason) == (1, BATCH, "wrong")


def test_single_refusals_are_told_with_their_outcome() -> None:
    work = doing()
    give(work, 2)
    deliver(work, told(1, 1))
    ((refused),) = work.outbox.report().refused
    assert (refused.outcome["prediction_id"], refused.reason) == ("r1.0", "no")


def test_whoever_answers_otherwise_is_no_console() -> None:
    work = doing()
    give(work, 1)
    with pytest.raises(Failed, match="is not a console"):
        deliver(work, httpx.Response(200, json=["hello"], request=REQUEST))
    assert len(work.outbox) == 1


def test_an_interrupted_delivery_waits_again() -> None:
    box = Outbox()
    box.put({"name": "a"})
    with pytest.raises(KeyboardInterrupt), delivery(box, box.take()):
        raise KeyboardInterrupt
    assert len(box) == 1


def test_a_full_outbox_says_so_and_drops_nothing() -> None:
    box = Outbox(most=1)
    box.put({"name": "a"})
    with pytest.raises(FeedbackFull):
        box.put({"name": "b"})
    assert box.take() == [{"name": "a"}]


def test_the_time_is_that_of_the_measurement_so_that_sending_twice_is_one() -> None:
    local = timezone(timedelta(hours=2))
    item = outcome("late", True, NOW.astimezone(local), model="m", unit="u1")
    assert datetime.fromisoformat(item["at"]) == NOW
    assert item == {"name": "late", "value": True, "at": item["at"], "model": "m", "unit": "u1"}


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [
        ("", 1, {"prediction_id": "r.0"}),
        ("late", float("nan"), {"prediction_id": "r.0"}),
        ("late", [1], {"prediction_id": "r.0"}),
        ("late", 1, {"prediction_id": ""}),
        ("late", 1, {"prediction_id": "x" * 501}),
        ("late", 1, {}),
        ("late", 1, {"unit": "u1"}),
        ("late", 1, {"prediction_id": "r.0", "model": "m", "unit": "u1"}),
    ],
)
def test_an_outcome_that_cannot_be_taken_is_refused_at_once(name: str, value: Any, about: dict[str, str]) -> None:
    with pytest.raises(CannotBeSent):
        outcome(name, value, NOW, **about)


def test_a_time_without_zone_and_a_client_without_console_are_refused() -> None:
    with pytest.raises(CannotBeSent, match="time zone"):
        outcome("late", 1, datetime(2026, 1, 1), prediction_id="r.0")
    with pytest.raises(CannotBeSent, match="console"):
        Session(Connecting(gateway="http://g")).feedback("r.0", "late", 1, None, None, NOW)


def test_the_postman_comes_by_itself_and_when_woken_and_survives_failures() -> None:
    came, rounds = threading.Semaphore(0), 0

    def round_() -> None:
        nonlocal rounds
        rounds += 1
        came.release()
        if rounds == 1:
            raise Unreachable("nobody there", was_sent=False)

    postman = Postman(round_, every=0.01)
    assert came.acquire(timeout=30)
    assert came.acquire(timeout=30)
    postman.end()
    before = rounds
    slow = Postman(round_, every=3600)
    slow.wake()
    assert came.acquire(timeout=30)
    slow.end()
    assert rounds > before


def test_every_page_of_rollouts_is_read() -> None:
    steps = doing().rollouts("m")
    first = steps.send(None)
    assert isinstance(first, Send)
    body = {"rollouts": [{"id": "r3"}, {"id": "r2"}], "next_before": "r2"}
    second = steps.send(httpx.Response(200, json=body, request=REQUEST))
    assert isinstance(second, Send)
    assert (first.ask.path, second.ask.path) == ("/api/v1/rollouts?model=m", "/api/v1/rollouts?model=m&before=r2")
    with pytest.raises(StopIteration) as end:
        steps.send(httpx.Response(200, json={"rollouts": [{"id": "r1"}], "next_before": None}, request=REQUEST))
    assert [view["id"] for view in end.value.value] == ["r3", "r2", "r1"]
