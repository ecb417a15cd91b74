"""Blindness as a function of counters: what makes blind, what does not, and when sight comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.words.sight import Blindness, Sight
from sluicegate.services.telemetry.reading.watch import Counters, Watch

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
LINE = 480


@dataclass
class Gateway:
    """Requests, their lines and who reads them; a second is a step."""

    rate: int
    watch: Watch = field(default_factory=lambda: Watch.begin(0.0))
    second: int = 0
    ended: int = 0
    written: int = 0
    lines: int = 0
    unreadable: int = 0
    owed: float = 0.0

    def run(
        self, seconds: int, *, lost: float = 0.0, garbled: float = 0.0, reads: bool = True, behind: int = 0
    ) -> None:
        for _ in range(seconds):
            self.second += 1
            self.ended += self.rate
            self.owed += self.rate * lost
            gone, self.owed = int(self.owed), self.owed % 1
            self.written += self.rate - gone
            if reads:
                new = max(self.written - self.rate * behind - self.lines, 0)
                self.lines += new
                self.unreadable += int(new * garbled)
            self.look()

    def look(self) -> None:
        counters = Counters(
            ended=self.ended, lines=self.lines, unreadable=self.unreadable, size=self.lines * LINE,
            unread=(self.written - self.lines) * LINE,
        )  # fmt: skip
        self.watch = self.watch.look(float(self.second), self.now, counters)

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.second)

    @property
    def blind(self) -> Blindness | None:
        return self.watch.sight.blind


RATES = st.integers(1, 3_000)


@given(RATES, st.integers(0, 4), st.integers(1, 200))
def test_who_counts_all_within_seconds_is_never_blind(rate: int, behind: int, seconds: int) -> None:
    gateway = Gateway(rate)
    for _ in range(seconds):
        gateway.run(1, behind=behind)
        assert gateway.blind is None


@given(st.integers(5, 3_000), st.floats(0.1, 1.0), st.integers(0, 300))
def test_a_loss_is_noticed_within_a_minute_and_over_within_two(rate: int, lost: float, sound: int) -> None:
    gateway = Gateway(rate)
    gateway.run(sound)
    gateway.run(60, lost=lost)
    assert gateway.blind is not None
    assert gateway.blind.since > NOW + timedelta(seconds=sound)
    assert "have no line" in gateway.blind.reason
    since = gateway.blind.since
    gateway.run(30, lost=lost)
    assert gateway.blind is not None
    assert gateway.blind.since == since
    gateway.run(120)
    assert gateway.blind is None


@given(st.integers(5, 3_000), st.floats(0.0, 0.03), st.integers(1, 400))
def test_a_small_loss_does_not_make_blind_however_long_it_lasts(rate: int, lost: float, seconds: int) -> None:
    gateway = Gateway(rate)
    gateway.run(seconds, lost=lost)
    assert gateway.blind is None


@given(RATES, st.integers(20, 600))
def test_a_collector_that_stopped_is_noticed_until_it_has_caught_up(rate: int, seconds: int) -> None:
    gateway = Gateway(rate)
    gateway.run(100)
    gateway.run(seconds, reads=False)
    assert gateway.blind is not None
    assert "the collector is late" in gateway.blind.reason
    gateway.run(1)
    assert gateway.blind is None, "nothing is lost: all was read"


@given(RATES, st.integers(60, 5_000), st.integers(0, 3))
def test_traffic_that_begins_after_a_quiet_time_makes_nobody_blind(rate: int, quiet: int, behind: int) -> None:
    gateway = Gateway(0)
    gateway.run(quiet)
    gateway.rate = rate
    for _ in range(60):
        gateway.run(1, behind=behind)
        assert gateway.blind is None


def test_what_lies_unread_makes_blind_also_when_nobody_asks_any_more() -> None:
    gateway = Gateway(50)
    gateway.run(60)
    gateway.run(20, reads=False)
    gateway.rate = 0
    gateway.run(600, reads=False)
    assert gateway.blind is not None
    assert gateway.watch.sight.share > 0.05


def test_a_loss_is_over_also_where_no_request_follows_so_that_a_rollout_can_begin() -> None:
    gateway = Gateway(rate=5)
    gateway.run(20, lost=0.5)
    assert gateway.blind is not None
    gateway.rate = 0
    gateway.run(120)
    assert gateway.blind is None


@given(st.integers(5, 3_000), st.floats(0.1, 1.0))
def test_lines_that_cannot_be_read_make_blind(rate: int, garbled: float) -> None:
    gateway = Gateway(rate * 10)
    gateway.run(60)
    gateway.run(60, garbled=garbled)
    assert gateway.blind is not None
    assert "cannot be read" in gateway.blind.reason


@given(RATES, st.integers(0, 3))
def test_a_gateway_that_begins_anew_makes_nobody_blind(rate: int, killed: int) -> None:
    gateway = Gateway(rate)
    gateway.run(70)
    for _ in range(killed):
        gateway.written -= min(3, gateway.written - gateway.lines)
        gateway.ended = 0
        gateway.run(20)
        assert gateway.blind is None


def test_few_requests_without_a_line_are_no_blindness() -> None:
    gateway = Gateway(1)
    gateway.run(30)
    gateway.run(9, lost=1.0)
    assert gateway.blind is None
    gateway.run(9, lost=1.0)
    assert gateway.blind is not None


def test_counters_that_cannot_be_had_make_blind_after_a_while() -> None:
    gateway = Gateway(50)
    gateway.run(30)
    seen = gateway.watch.look(35.0, NOW, None, "Envoy does not answer")
    assert seen.sight.blind is None
    blind = seen.look(41.0, NOW, None, "Envoy does not answer").sight.blind
    assert blind is not None
    assert blind.reason.endswith("Envoy does not answer")


def test_a_new_watch_goes_on_from_what_another_saw() -> None:
    former = Blindness(since=NOW - timedelta(minutes=1), reason="what it was")
    gateway = Gateway(50, watch=Watch.begin(0.0, Sight(blind=former)))
    gateway.run(5)
    assert gateway.blind == former
    gateway.run(30, lost=0.5)
    assert gateway.blind is not None
    assert gateway.blind.since == former.since
    sound = Gateway(50, watch=Watch.begin(0.0, Sight(blind=former)))
    sound.run(15)
    assert sound.blind is None
