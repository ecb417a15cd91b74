"""Exposures: who is counted for what happened to a request."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest

from benchmarks.collector_lines import START_US, assigned, line
from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.words.access_log import parse
from sluicegate.services.telemetry.store.rows import all_packed, packed, unpacked
from sluicegate.services.telemetry.tally import histogram
from sluicegate.services.telemetry.tally.exposure import Exposure, expose, read_exposure
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


def test_the_fast_way_from_line_to_exposure_says_the_same_as_the_plain_one() -> None:
    """Lines of every kind, in an order in which each finds what another left behind; refusals too."""
    values: dict[str, list[object]] = {
        "status": [200, 404, 500, 0, 40_000, True, None], "flags": ["-", "UF", "DC", "UT,DC", None],
        "details": ["via_upstream", "response_timeout", None], "attempts": [1, 2, None, -1],
        "dur_us": [8_000, None, -1],
        "assigned": [assigned(), assigned("candidate"), assigned(weight=0), assigned(rollout=None), None, "forged"],
        "upstream": ["1", "2", None], "listener": ["live", "live", "shadow", "other"], "unit": ["u", None],
        "stand_in": [None, "fallback"], "segments": [None, ["a", None], [None, None], [3]], "ts": [str(START_US), "x"],
        "prediction": ['{"c":["p"],"r":[[1]]}', None],
    }  # fmt: skip
    rng = random.Random(1)
    said = Counter[str]()
    for number in range(4_000):
        usual = {name: each[0] for name, each in values.items()}
        text = line(f"r{number}", **usual | {name: rng.choice(values[name]) for name in rng.sample(sorted(values), 3)})
        plain, fast = (_outcome(way, text.encode()) for way in (_plainly, lambda each: read_exposure(each, 300)))
        assert fast == plain, text
        said[type(plain).__name__] += 1
    assert min(said["tuple"], said["str"]) > 500


def _plainly(text: bytes) -> object:
    read = parse(text)
    return expose(read, 300), read.end, read.is_shadow


def _outcome(way: Callable[[bytes], object], text: bytes) -> object:
    try:
        return way(text)
    except ValueError as error:
        return str(error)


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
    for side, requests in by_side(exposures).items():
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
