"""Exposures: who is counted for what happened to a request."""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.collector_lines import START_US, assigned, line
from sluicegate.registry.plan.fields import MetricSpec, PredictionField, Source, thresholds_of
from sluicegate.registry.words.access_log import parse
from sluicegate.registry.words.tally import Tally
from sluicegate.services.telemetry.store.rows import all_packed, packed, unpacked
from sluicegate.services.telemetry.tally import histogram
from sluicegate.services.telemetry.tally.batch import Batch
from sluicegate.services.telemetry.tally.exposure import Exposure, expose
from sluicegate.services.telemetry.tally.lines import read_lines
from sluicegate.services.telemetry.tally.measurements import answer_values, ending_values
from sluicegate.services.telemetry.tally.scores import score_of
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator, by_side

CANDIDATE = {"assigned": assigned("candidate"), "upstream": "2"}


def exposed(**changes: object) -> Exposure:
    exposure = expose(parse(line("r", **changes)), 300)
    assert exposure is not None
    return exposure


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, 0),
        ({"status": 404}, 0),
        ({"status": 422}, 0),
        ({"status": 500}, 1),
        ({"status": 503, "flags": "UF", "details": "upstream_reset", "upstream": None}, 1),
        ({"status": 504, "flags": "UT", "details": "response_timeout"}, 1),
        ({"status": 503, "flags": "UH", "attempts": None}, 1),
        ({"status": 200, "flags": "UC"}, 1),
        ({**CANDIDATE}, 0),
        ({**CANDIDATE, "upstream": "1", "attempts": 2}, 1),
        ({**CANDIDATE, "upstream": "1", "attempts": 1}, 1),
        ({**CANDIDATE, "status": 500}, 1),
        ({"status": 0, "flags": "DC", "details": "downstream_remote_disconnect"}, None),
        ({"status": 200, "flags": "DC", "dur_us": None}, 0),
        ({"status": 0, "flags": "DR"}, None),
        ({**CANDIDATE, "status": 0, "flags": "DC", "attempts": 2}, 1),
    ],
)
def test_a_failure_is_the_assigned_builds(changes: dict[str, object], failed: int | None) -> None:
    assert exposed(**changes).failed == failed


def test_many_lines_at_once_say_the_same_as_one_by_one() -> None:
    """Lines of every kind, in an order in which each finds what another left behind; refusals too."""
    values: dict[str, list[object]] = {
        "status": [200, 404, 500, 0, 40_000, True, None], "flags": ["-", "UF", "DC", "UT,DC", None],
        "details": ["via_upstream", "response_timeout", None, ',["'], "attempts": [1, 2, None, -1],
        "dur_us": [8_000, None, -1, 2**53, 2**70, 1.5, True],
        "assigned": [assigned(), assigned("candidate"), assigned(weight=0), assigned(rollout=None), None, "forged"],
        "upstream": ["1", "2", None], "listener": ["live", "live", "shadow", "other"],
        "unit": ["u", None, "", "\0", "é😀", ',["live"', 3], "rid": ["r", None, "", "\0"], "bytes_in": [0, None],
        "stand_in": [None, "fallback"], "segments": [None, ["a", None], [None, None], [3], ["\0"], ["x" * 100]],
        "ts": [str(START_US), "x", str(START_US + 400_000_000), "-1", str(2**53), "9" * 30, 5],
        "prediction": ['{"c":["p"],"r":[[1]]}', None, "", "\0", "{" * 50_000],
    }  # fmt: skip
    rng = random.Random(1)
    texts = []
    for number in range(4_000):
        usual = {name: each[0] for name, each in values.items()} | {"rid": f"r{number}"}
        changed = {name: rng.choice(values[name]) for name in rng.sample(sorted(values), 2)}
        texts.append(line(**{"rid": f"r{number}"} | usual | changed).encode())  # type: ignore[arg-type]
    texts += [b"", b"[]", b'{"2":[[],["live"]]}', b'{"2":[[' * 10, texts[0][:-9], b"[" * 5_000, b"\xff"]
    rng.shuffle(texts)
    for size in (1, 7, 4_100):
        for start in range(0, len(texts), size):
            said, expected = _at_once(texts[start : start + size]), _one_by_one(texts[start : start + size])
            assert said == expected
    _, _, shadows, unassigned, refused = _at_once(texts)
    assert min(shadows, unassigned, len(refused)) > 50


def _at_once(texts: list[bytes]) -> tuple[object, ...]:
    lines, unreadable = read_lines(texts, 300)
    exposures = list(map(lines.batch.exposure, range(len(lines.batch))))
    ends = [lines.ends[kind] for kind in lines.batch.kind]
    return exposures, ends, lines.shadows, lines.unassigned, sorted(text for text, _ in unreadable)


def _one_by_one(texts: list[bytes]) -> tuple[object, ...]:
    exposures, ends, others, unreadable = [], [], Counter[bool](), []
    for text in texts:
        try:
            read = parse(text)
            exposure = expose(read, 300)
            if exposure is not None:
                exposure.require_storable()
            elif not 0 <= read.ts_us < 2**53 or not 0 <= (read.duration_us or 0) < 2**53:
                raise ValueError("a number is out of range")
        except (ValueError, RecursionError):
            unreadable.append(text)
            continue
        if exposure is None:
            others[read.is_shadow] += 1
        else:
            exposures.append(exposure)
            ends.append(read.end)
    return exposures, ends, others[True], others[False], sorted(unreadable)


HEADS = ('{"c":["probability"],"r":', '{"c":["a","probability"],"r":', '{"c":["p"],"x":"gone","r":', "")
NUMBER = st.floats() | st.integers() | st.booleans() | st.none() | st.sampled_from(["0.5", "true", "x", 2**70])
ROWS = st.lists(st.lists(NUMBER, max_size=3), max_size=3) | NUMBER | st.lists(st.text(max_size=2) | NUMBER, max_size=2)
ENDS = ("}", "", ',"x":1}')
ANSWER = st.builds(
    lambda head, rows, end: head + json.dumps(rows) + end, st.sampled_from(HEADS), ROWS, st.sampled_from(ENDS)
)
USUAL = st.floats(0, 1).map(lambda p: f'{{"c":["probability"],"r":[[{p}]]}}')
TRUNCATED = st.sampled_from(['{"n":3,"truncated":true}', '{"n":3,"truncated":true,"x":"late"}', "null", "", "{}"])
PREDICTED = MetricSpec(source=Source.PREDICTION, prediction=PredictionField(column="probability"))
METRICS = {
    "errors": MetricSpec(source=Source.STATUS), "p99": MetricSpec(source=Source.LATENCY, quantile=0.99),
    "mean": MetricSpec(source=Source.LATENCY, cap=0.05), "contract": MetricSpec(source=Source.CONTRACT),
    "drift": PREDICTED, "only": MetricSpec(source=Source.PREDICTION),
}  # fmt: skip
MEASURED = RolloutSpec(
    rollout="r1", metrics=METRICS, margins={"p99": (0.5,)},
    thresholds={name: 0.3 for metric in METRICS for name in thresholds_of(metric, METRICS[metric])} | {"p99": 0.01},
).measures  # fmt: skip
REQUEST = st.fixed_dictionaries({
    "assigned": st.sampled_from([assigned(), assigned("candidate"), assigned(epoch=2)]),
    "upstream": st.sampled_from(["1", "2", None]), "status": st.sampled_from([200, 200, 422, 500, 0]),
    "flags": st.sampled_from(["-", "-", "DC", "UT"]), "attempts": st.sampled_from([1, 2, None]),
    "dur_us": st.sampled_from([None, 9_999, 10_000, 10_001]) | st.integers(0, 2**40),
    "ts": st.integers(START_US, START_US + 600_000_000).map(str),
    "prediction": ANSWER | TRUNCATED | st.none() | USUAL,
})  # fmt: skip


@settings(deadline=None)
@given(st.lists(REQUEST, max_size=30))
def test_sums_of_many_requests_are_those_of_each(requests: list[dict[str, object]]) -> None:
    """What `measurements` says of one request alone, added up one after the other, bit for bit."""
    batch = read_lines([line("r", **each).encode() for each in requests], 300)[0].batch
    values: defaultdict[tuple[object, str], list[float | None]] = defaultdict(list)
    for exposure in sorted(map(batch.exposure, range(len(batch))), key=lambda each: each.duration or 0):
        for metric, value in ending_values(exposure, MEASURED):
            values[exposure.side, metric].append(value)
    for exposure in map(batch.exposure, range(len(batch))):
        for metric, value in answer_values(exposure, MEASURED):
            values[exposure.side, metric].append(value)
    expected = {key: Tally.from_values(each) for key, each in values.items()}
    tallies = TallyAccumulator()
    for side, each in by_side(batch).items():
        tallies.take_requests(side, each, MEASURED)
    found = {((rollout, *stratum), metric): Tally(*tally) for rollout, metric, *stratum, tally in _rows(tallies)}
    assert {key: tally for key, tally in found.items() if tally != Tally()} == expected


def _rows(tallies: TallyAccumulator) -> list[tuple[object, ...]]:
    return [(*row[:6], row[6:]) for row in tallies.rows()]


def test_ids_are_kept_in_few_bytes_and_come_back() -> None:
    uuids = [str(UUID(int=number << 64 | 7)) for number in range(0xABC, 0xAEE)]
    others = [None, "", "a", "sixteen-letters-", "ü" * 8, "ü" * 18, "-" * 36]
    others += [uuids[0].upper(), uuids[0].replace("-", "_")]
    for ids in (uuids, others, uuids + others, [uuids[0], "0" * 36], [uuids[0], f"{'0' * 32}----"]):
        kept = all_packed(ids)
        assert kept == [packed(each) for each in ids]
        assert [unpacked(each) for each in kept] == ids
        assert len(set(kept)) == len(kept)


def test_a_request_belongs_to_the_bucket_it_started_in() -> None:
    second = START_US // 1_000_000
    assert exposed().bucket == second - second % 300
    assert exposed(ts=str(START_US + 299_999_999)).bucket == exposed().bucket
    assert exposed(ts=str(START_US + 300_000_000)).bucket == exposed().bucket + 300


@pytest.mark.parametrize(
    ("weight", "rollout", "is_judged"),
    [(0, "r1", False), (1, "r1", True), (9_999, "r1", True), (10_000, "r1", True), (5_000, None, False)],
)
def test_what_weighs_something_in_a_rollout_is_judged_all_requests_after_a_switch_too(
    weight: int, rollout: str | None, is_judged: bool
) -> None:
    assert exposed(assigned=assigned(weight=weight, rollout=rollout)).is_judged is is_judged


@pytest.mark.parametrize("changes", [{"listener": "shadow"}, {"assigned": None}])
def test_copies_and_unassigned_requests_are_no_exposures(changes: dict[str, object]) -> None:
    assert expose(parse(line("r", **changes)), 300) is None


@pytest.mark.parametrize(
    "changes", [{"dur_us": 2**60}, {"dur_us": -1}, {"status": 10**6}, {"ts": "-5"}, {"attempts": 10**6}]
)
def test_a_number_that_no_database_keeps_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        exposed(**changes)


def tallied(metric: MetricSpec, *exposures: Exposure, **spec: object) -> dict[str, tuple[int, int, float]]:
    found = RolloutSpec(rollout="r1", metrics={"m": metric}, **spec)  # type: ignore[arg-type]
    tallies = TallyAccumulator()
    for side, requests in by_side(Batch.of(exposures)).items():
        tallies.take_requests(side, requests, found.measures)
    return {metric: (n, missing, total) for _, metric, _, _, _, _, n, missing, total, *_ in tallies.rows()}


def test_who_left_is_an_error_who_closed_is_none_and_neither_has_a_duration() -> None:
    left = exposed(status=0, flags="DC", dur_us=None)
    closed = exposed(status=200, flags="DC", dur_us=None, details="downstream_remote_disconnect")
    broken_off = exposed(status=200, flags="UC", dur_us=None)
    four = (exposed(), left, closed, broken_off)
    quantile = MetricSpec(source=Source.LATENCY, quantile=0.5)
    assert tallied(MetricSpec(source=Source.STATUS), *four) == {"m": (4, 0, 2.0)}
    assert tallied(MetricSpec(source=Source.LATENCY), *four) == {"m": (1, 1, 0.008)}
    assert tallied(quantile, *four, thresholds={"m": 0.001}) == {"m": (1, 1, 1.0)}
    assert tallied(quantile, *four) == {}
    assert closed.is_answered


def test_a_duration_at_the_threshold_is_not_above_it() -> None:
    quantile = MetricSpec(source=Source.LATENCY, quantile=0.5)
    found = tallied(quantile, exposed(dur_us=12_000), thresholds={"m": 0.012}, margins={"m": (-0.5, 0.5)})
    assert {name: total for name, (_, _, total) in found.items()} == {"m": 0.0, "m>-0.5": 1.0, "m>0.5": 0.0}


def test_a_metric_scores_as_its_name_says_unless_it_says_else() -> None:
    plain = MetricSpec(source=Source.OUTCOME, outcome="late")
    assert score_of("brier", plain) == "brier"
    assert score_of("late", plain) == "outcome"
    assert score_of("brier", MetricSpec(source=Source.OUTCOME, outcome="late", score="log_loss")) == "log_loss"


def test_a_spec_is_complete_when_every_threshold_is_frozen() -> None:
    metrics = {"p99": MetricSpec(source=Source.LATENCY, quantile=0.99), "mean": MetricSpec(source=Source.LATENCY)}
    assert not RolloutSpec(rollout="r1", metrics=metrics).is_complete
    assert RolloutSpec(rollout="r1", metrics=metrics, thresholds={"p99": 0.1}).is_complete


@pytest.mark.parametrize("duration", [0, 1, 50, 51, 999, 123_456, 10**9])
def test_a_bin_holds_its_durations(duration: int) -> None:
    number = histogram.bin_of(duration)
    assert number == 0 or histogram.edge(number) * 1e6 <= duration * 1.000001
    assert number == histogram.BINS - 1 or duration < histogram.edge(number + 1) * 1e6 * 1.000001


def test_every_duration_is_in_the_bin_that_its_logarithm_says() -> None:
    for duration in (*range(51, 120_000), *(10**n + each for n in range(6, 16) for each in (-1, 0, 1))):
        assert histogram.bin_of(duration) == min(int(20 * math.log10(duration / 50)), histogram.BINS - 1)
    assert histogram.bin_of(0) == histogram.bin_of(50) == 0


def test_a_quantile_from_bins_is_right_to_within_a_bin() -> None:
    counts: dict[int, int] = {histogram.UNTIMED: 50}
    for milliseconds in range(1, 1_001):
        number = histogram.bin_of(milliseconds * 1_000)
        counts[number] = counts.get(number, 0) + 1
    for q in (0.05, 0.5, 0.95, 0.99):
        assert histogram.quantile(counts, q) == pytest.approx(q, rel=0.13)
    assert histogram.quantile({}, 0.5) is None
    assert histogram.quantile({histogram.UNTIMED: 3}, 0.5) is None
