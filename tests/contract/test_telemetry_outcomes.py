"""Outcomes, on SQLite and on a real PostgreSQL: joined to the stratum of their exposure, once, however late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.collector_lines import START, START_US, assigned, line
from sluicegate.registry.words.metric import Stratum
from sluicegate.services.telemetry.outcomes.intake import record
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn, Receipt
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.tailing import tail
from tests.contract.telemetry_rig import BUCKET, CANDIDATE, Rig


def test_an_outcome_joins_its_exposures_stratum_however_late(rig: Rig) -> None:
    rig.write(line("a"), line("b", **CANDIDATE))
    rig.collect()
    rig.now += timedelta(days=9)
    receipt = rig.record(
        OutcomeIn(prediction_id="a.0", name="late", value=0), OutcomeIn(prediction_id="b", name="late", value=1)
    )
    assert receipt.accepted == 2
    rig.collect()
    stable, candidate = rig.tally("brier"), rig.tally("brier", "candidate")
    assert stable is not None
    assert candidate is not None
    assert stable.stratum == candidate.stratum == Stratum(epoch=1, bucket=BUCKET)
    assert (stable.tally.total, candidate.tally.total) == (0.0625, 0.5625)
    rig.counted(outcomes=2, joined=2, scored=4)


def test_a_score_counts_when_its_exposure_is_old_enough(rig: Rig) -> None:
    rig.write(line("a"), line("b"))
    rig.collect()
    rig.record(OutcomeIn(prediction_id="a", name="late", value=7))
    rig.collect()
    assert rig.sums("slow") == (0, 0, 0.0)
    coverage = rig.queries.coverage("r1", "slow")
    assert (coverage.exposures, coverage.labelled, coverage.pending) == (2, 0, 1)
    rig.now = START + timedelta(hours=3)
    rig.collect()
    rig.collect()
    assert rig.sums("slow") == (1, 0, 7.0)
    assert rig.queries.coverage("r1", "slow").pending == 0


def test_each_row_of_a_request_has_an_outcome_of_its_own(rig: Rig) -> None:
    rig.write(line("a", prediction='{"c":["probability"],"r":[[0.5],[1.0]]}'))
    rig.record(*(OutcomeIn(prediction_id=f"a.{row}", name="late", value=1) for row in range(3)))
    rig.collect()
    assert rig.sums("brier") == (2, 0, 0.25)
    rig.counted(outcomes=3, joined=2, scored=4, unknown=1)


def test_a_cut_summary_is_missing_and_says_so(rig: Rig) -> None:
    rig.write(line("a", prediction='{"n":40,"truncated":true}'), line("b", prediction=None))
    rig.record(*(OutcomeIn(prediction_id=rid, name="late", value=1) for rid in ("a.39", "a.40", "b")))
    rig.collect()
    assert rig.sums("brier") == (0, 2, 0.0)
    assert rig.queries.coverage("r1", "brier").labelled == 2
    rig.counted(outcomes=3, joined=2, scored=4, missing=2, truncated=1, unknown=1)


def test_outcomes_of_a_unit_belong_to_its_last_request_before(rig: Rig) -> None:
    rig.now = START + timedelta(hours=1)
    at = [START + timedelta(seconds=second) for second in range(8)]
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3, at=at[5]))
    rig.write(
        line("a", unit="u", ts=str(START_US + 1_000_000)),
        line("b", unit="u", ts=str(START_US + 4_000_000), **CANDIDATE),
        line("c", unit="u", ts=str(START_US + 6_000_000)),
    )
    rig.collect()
    rig.record(
        OutcomeIn(model="delays", unit="u", name="spend", value=5, at=at[2]),
        OutcomeIn(model="delays", unit="u", name="spend", value=5, at=at[3]),
        OutcomeIn(model="delays", unit="u", name="spend", value=9, at=at[0]),
        OutcomeIn(model="delays", unit="nobody", name="spend", value=9, at=at[7]),
    )
    rig.collect()
    assert (rig.sums("spend"), rig.sums("spend", "candidate")) == ((1, 0, 5.0), (1, 0, 3.0))
    rig.counted(outcomes=5, joined=2, scored=2, unknown=2, duplicate=1)


def test_a_units_outcome_waits_until_the_requests_before_it_are_read(rig: Rig) -> None:
    rig.write(line("a", unit="u"))
    rig.collect()
    rig.now = START + timedelta(seconds=70)
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3))
    rig.collector.collect()
    assert rig.sums("spend") == (0, 0, 0.0)
    rig.write(line("b", unit="u", ts=str(START_US + 69_000_000), **CANDIDATE))
    rig.now += timedelta(seconds=6)
    rig.collect()
    assert (rig.sums("spend"), rig.sums("spend", "candidate")) == ((0, 0, 0.0), (1, 0, 3.0))


def test_a_units_outcome_waits_for_a_collector_that_is_behind(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = line("a", unit="u"), line("b", unit="u", ts=str(START_US + 1_000_000), **CANDIDATE)
    rig.write(first, second)
    rig.record(OutcomeIn(model="delays", unit="u", name="spend", value=3, at=START + timedelta(seconds=2)))
    monkeypatch.setattr(tail, "CHUNK", len(first) + 10)
    assert rig.collector.collect() == 1
    assert rig.queries.waiting()["outcomes_unit"] == 1
    rig.collect()
    assert (rig.sums("spend"), rig.sums("spend", "candidate")) == ((0, 0, 0.0), (1, 0, 3.0))


def test_every_refused_or_useless_outcome_is_counted(rig: Rig) -> None:
    rig.write(line("a"), line("b", assigned=assigned(weight=0)))
    ahead = rig.now + timedelta(minutes=6)
    receipt = rig.record(
        OutcomeIn(prediction_id="a", name="late", value=1), OutcomeIn(prediction_id="a", name="late", value=True),
        OutcomeIn(prediction_id="a.0", name="late", value=0), OutcomeIn(prediction_id="a", name="mood", value=1),
        OutcomeIn(prediction_id="b", name="late", value=1), OutcomeIn(prediction_id="nobody", name="late", value=1),
        OutcomeIn(prediction_id="a", name="late", value=1, at=ahead), OutcomeIn(name="late", value=1),
        OutcomeIn(prediction_id="a", unit="u", name="late", value=1), OutcomeIn(unit="u", name="late", value=1),
        OutcomeIn(prediction_id="a", name="late", value=[1]),  # type: ignore[arg-type]
        OutcomeIn(prediction_id="a", name="", value=1), OutcomeIn(prediction_id="a\0", name="late", value=1),
        OutcomeIn(prediction_id="a", name="late", value=1, at=datetime(2026, 1, 1)),
    )  # fmt: skip
    assert (receipt.accepted, receipt.duplicate, receipt.contradictory) == (4, 1, 1)
    assert [refusal.index for refusal in receipt.refused] == list(range(6, 14))
    rig.collect()
    still = {"outcomes": 4, "duplicate": 1, "contradictory": 1, "future": 1, "refused": 7, "unnamed": 1,
             "uncompared": 1, "joined": 3, "scored": 2}  # fmt: skip
    rig.counted(**still)
    rig.now += timedelta(hours=2)
    rig.collect()
    rig.counted(**still, unknown=1)
    assert rig.sums("brier") == (1, 0, 0.5625)


def test_what_can_be_no_prediction_is_refused_and_what_is_not_known_yet_waits(rig: Rig) -> None:
    known, later = "560041f1-a8a5-40cd-9559-628bcf4d0ca3", "660041f1-a8a5-40cd-9559-628bcf4d0ca3"
    rig.write(line(known))
    rig.collect()

    def told(prediction: str, name: str = "late") -> Receipt:
        return record(rig.store, [OutcomeIn(prediction_id=prediction, name=name, value=1)], rig.now)

    for wrong in (
        "abc",
        "abc.0",
        f"{known}.x",
        f"{known}.",
        f"{known}.1.2",
        f"{known}.\u0661",
        f"{known}\n",
        f"x{known}",
    ):
        (refusal,) = told(wrong).refused
        assert "give the x-request-id of the answer" in refusal.reason
    assert (told(f"{known}.0").accepted, told(f"{known}.0").duplicate) == (1, 1)
    assert told(f"{known.upper()}.0").duplicate == 1, "a database may write it in capitals"
    assert (told(f"{known}.0", "mood").waiting, told(f"{later}.0").waiting) == (0, 1)
    rig.write(line(later))
    rig.collect()
    assert (told(f"{later}.0").duplicate, told(f"{later}.0").waiting) == (1, 0)


def test_an_id_makes_sending_twice_harmless(rig: Rig) -> None:
    first = OutcomeIn(id="x", model="delays", unit="u", name="spend", value=1)
    again = OutcomeIn(id="x", model="delays", unit="u", name="spend", value=1)
    other = OutcomeIn(id="x", model="delays", unit="v", name="spend", value=1)
    assert (rig.record(first).accepted, rig.record(again).duplicate, rig.record(other).contradictory) == (1, 1, 1)


PREDICTIONS = [f"{rid}.{row}" for rid in "abc" for row in range(2)]
SENT = st.lists(st.sampled_from(PREDICTIONS), max_size=12)


@given(
    lines=st.permutations(["a", "b", "c"]),
    sent=SENT,
    script=st.lists(st.sampled_from(["line", "outcome", "collect", "restart"]), max_size=40),
)
@settings(max_examples=16, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_neither_order_nor_repetition_nor_restarts_change_a_tally(
    rig: Rig, lines: Sequence[str], sent: list[str], script: list[str]
) -> None:
    rig.clear()
    to_write, to_send = list(lines), list(sent)
    summary = '{"c":["probability"],"r":[[0.5],[0.25]]}'
    for act in [*script, *["line"] * 3, *["outcome"] * len(sent), "collect"]:
        match act:
            case "line" if to_write:
                rid = to_write.pop()
                arm = CANDIDATE if rid == "c" else {}
                rig.write(line(rid, prediction=summary, **arm))
            case "outcome" if to_send:
                rig.record(OutcomeIn(prediction_id=to_send.pop(), name="late", value=1))
            case "collect":
                rig.collect()
            case "restart":
                rig.start()
            case _:
                pass
    rig.now += timedelta(days=1)
    rig.collect()
    for arm, rids in (("stable", "ab"), ("candidate", "c")):
        known = {prediction for prediction in sent if prediction[0] in rids}
        expected = sum((0.5 if prediction.endswith("0") else 0.75) ** 2 for prediction in known)
        assert rig.sums("brier", arm) == (len(known), 0, pytest.approx(expected))
        assert rig.sums("slow", arm) == (len(known), 0, float(len(known)))
        assert rig.sums("errors", arm) == (len(rids), 0, 0.0)
    counters = rig.queries.counters()
    assert counters[Count.OUTCOMES] + counters[Count.DUPLICATE] == len(sent)
    assert counters[Count.SCORED] == 2 * len(set(sent))


def test_an_outcome_that_cannot_be_true_moves_no_mean_and_is_counted(rig: Rig) -> None:
    rig.write(line("a"), line("b"), line("c"))
    rig.collect()
    values = {"a": 2**63, "b": 12, "c": -(2**63)}
    rig.record(*(OutcomeIn(prediction_id=name, name="spend", value=value) for name, value in values.items()))
    rig.collect()
    assert rig.sums("spend") == (1, 2, 12.0)
    rig.counted(outcomes=3, joined=3, scored=3, missing=2, implausible=2)
