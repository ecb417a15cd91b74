"""Bodies: nothing is written unless a plan asks for it; what is written is collected once, and goes by age."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.collector_lines import PLACE, START, START_US, assigned, line
from sluicegate.flows.wiring.keeping import retentions
from sluicegate.registry.plan.fields import Capture as Asked
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import UsageError
from sluicegate.services.bento.body_capture import bodies_log, capture_environment
from sluicegate.services.bento.predictor import capture as predictor
from sluicegate.services.bento.predictor.capture import Capture
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.outcomes.retention import retain
from sluicegate.services.telemetry.reading import captures
from sluicegate.services.telemetry.reading.captures import Wanted, read_captures
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.store.rows import unpacked
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing import tail
from sluicegate.services.telemetry.tailing.bodies import BodyCollector
from tests.contract.telemetry_rig import SPEC, Rig

REQUEST = b'{"inputs": [{"hour": 7, "carrier": "UA"}]}'
ANSWER = b'[{"probability":0.25}]'


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl")
    yield rig
    rig.store.close()


class Service:
    """A process of a service, its clock set by hand."""

    def __init__(self, home: Path, build: str = "delays/2", **asked: Any) -> None:
        self.now = START.timestamp()
        environment = capture_environment(Asked.model_validate({"share": "100%"} | asked), home)
        made = Capture.from_environment(environment, build)
        assert made is not None
        self.capture = dataclasses.replace(made, clock=lambda: self.now)

    def answer(self, *rids: str) -> None:
        for rid in rids:
            self.capture.take(rid, REQUEST, ANSWER)


def collector(rig: Rig) -> BodyCollector:
    return BodyCollector(rig.store, bodies_log(rig.log.parent), lambda: rig.now)


def test_by_default_a_service_is_told_nothing(tmp_path: Path) -> None:
    assert capture_environment(Asked(), tmp_path) == {}
    assert Capture.from_environment({}, "delays/2") is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_for_is_kept_and_nothing_else(rig: Rig) -> None:
    home = rig.log.parent
    Service(home, features="full").answer("a")
    Service(home, predictions="full").answer("b")
    Service(home, predictions="off", share="100%").answer("c")
    assert collector(rig).collect() == 2
    [features], [predictions] = rig.queries.bodies("a"), rig.queries.bodies("b")
    assert (features.model, features.build, features.at) == ("delays", "2", START_US)
    assert (json.loads(features.features or ""), features.predictions) == (json.loads(REQUEST), None)
    assert (predictions.features, json.loads(predictions.predictions or "")) == (None, json.loads(ANSWER))
    assert rig.queries.bodies("c") == ()


def test_hashes_hide_values_and_keep_names_and_equality(rig: Rig, tmp_path: Path) -> None:
    Service(rig.log.parent, features="hashed", predictions="hashed").answer("a", "b")
    Service(rig.log.parent, "delays/3", features="hashed").answer("a")
    collector(rig).collect()
    second, third = rig.queries.bodies("a")
    [row] = json.loads(second.features or "")["inputs"]
    assert set(row) == {"hour", "carrier"}
    assert all(len(value) == 16 for value in row.values())
    assert "UA" not in str(second)
    assert "0.25" not in str(second.predictions)
    assert second.features == third.features == rig.queries.bodies("b")[0].features
    elsewhere = Service(tmp_path / "other", features="hashed")
    elsewhere.answer("a")
    [written] = (tmp_path / "other" / "bodies").iterdir()
    assert json.loads(written.read_text())["features"] != json.loads(second.features or "")
    assert (rig.log.parent / "bodies.key").stat().st_mode & 0o777 == 0o600
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_share_is_drawn_by_the_id_and_alike_by_every_service(rig: Rig) -> None:
    rids = [f"request-{number}" for number in range(4_000)]
    for build in ("delays/1", "delays/2"):
        Service(rig.log.parent, build, features="full", share="5%").answer(*rids)
    collector(rig).collect()
    counts = [len(rig.queries.bodies(rid)) for rid in rids]
    assert set(counts) == {0, 2}
    assert 140 <= counts.count(2) <= 260


def test_a_long_body_is_told_by_its_length(rig: Rig) -> None:
    service = Service(rig.log.parent, features="full")
    service.capture.take("a", b'"' + b"x" * 70_000 + b'"', ANSWER)
    collector(rig).collect()
    [body] = rig.queries.bodies("a")
    assert json.loads(body.features or "") == {"bytes": 70_002}


def test_files_are_ended_by_age_and_size_and_deleted_only_when_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    service, collecting = Service(rig.log.parent, features="full"), collector(rig)
    service.answer("a")
    service.now += 61
    service.answer("b")
    monkeypatch.setattr(predictor, "_FILE_BYTES", 10)
    service.answer("c")
    folder = rig.log.parent / "bodies"
    assert sorted(path.suffix == ".open" for path in folder.iterdir()) == [False, False, True]
    for path in folder.iterdir():
        os.utime(path, (START.timestamp() - 600, START.timestamp() - 600))
    assert collecting.finished() == ()
    assert collecting.collect() == 3
    assert all(path.suffix != ".open" for path in collecting.finished())
    assert len(collecting.finished()) == 2
    rig.now += timedelta(days=2)
    assert len(collecting.finished()) == 3


def test_killed_between_any_two_lines_each_body_counts_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "CHUNK", 400)
    service = Service(rig.log.parent, features="full")
    for number in range(30):
        service.answer(f"r{number}")
        service.now += 7
        try:
            if number % 3 == 0:
                monkeypatch.setattr(Store, "count", broken if number % 2 else counted)
                collector(rig).collect()
        except RuntimeError:
            pass
    monkeypatch.setattr(Store, "count", counted)
    while collector(rig).collect():
        pass
    assert rig.queries.counters()[Count.BODIES] == 30
    assert all(len(rig.queries.bodies(f"r{number}")) == 1 for number in range(30))


counted: Callable[..., None] = Store.count


def broken(*_: object) -> None:
    raise RuntimeError("killed")


def test_a_folder_that_nobody_reads_fills_no_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "_FOLDER_BYTES", 300)
    monkeypatch.setattr(predictor, "_FILE_BYTES", 10)
    service = Service(rig.log.parent, features="full")
    service.answer(*(f"r{number}" for number in range(10)))
    folder = rig.log.parent / "bodies"
    written = sum(len(path.read_text().splitlines()) for path in folder.iterdir())
    assert written < 5
    collecting = collector(rig)
    collecting.collect()
    service.capture.close()
    for path in folder.iterdir():
        path.unlink()
    service.answer("later")
    collecting.collect()
    assert rig.queries.counters()[Count.BODIES_LEFT_OUT] == 10 - written
    assert len(rig.queries.bodies("later")) == 1


def test_a_full_disk_costs_bodies_and_nothing_else(rig: Rig) -> None:
    """The limit on the size of a file stands for the disk: a line is cut, taken back, and counted."""
    service = Service(rig.log.parent, features="full")
    service.answer("a")
    [path] = (rig.log.parent / "bodies").iterdir()
    had, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, had[1]))
        service.answer("b", "c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, had)
        signal.signal(signal.SIGXFSZ, ignored)
    service.answer("d")
    collector(rig).collect()
    assert [len(rig.queries.bodies(rid)) for rid in "abcd"] == [1, 0, 0, 1]
    assert rig.queries.counters()[Count.BODIES_LEFT_OUT] == 2
    assert rig.queries.counters()[Count.QUARANTINED] == 0


def test_what_cannot_be_read_is_counted_and_not_shown(rig: Rig) -> None:
    folder = rig.log.parent / "bodies"
    folder.mkdir()
    (folder / "bodies.jsonl.1-1-1.open").write_text('{"rid": "secret"}\nnonsense secret\n')
    collector(rig).collect()
    assert rig.queries.counters()[Count.QUARANTINED] == 2
    assert not any("secret" in each.line for each in rig.queries.quarantined())


def test_requests_and_bodies_go_at_the_age_of_their_model(rig: Rig) -> None:
    late = str(START_US + 3_600_000_000)
    other = {"route": PLACE.replace("delays", "fares")}
    rig.write(
        line("old"), line("candidate", assigned=assigned("candidate"), upstream="2"), line("new", ts=late),
        line("theirs", **other),
    )  # fmt: skip
    rig.collect()
    Service(rig.log.parent, features="full").answer("old")
    Service(rig.log.parent, "fares/1", features="full").answer("theirs")
    collector(rig).collect()
    rig.now = START + timedelta(hours=2)
    removed = retain(rig.store, START - timedelta(days=5), rig.now, {"delays": START + timedelta(minutes=30)})
    assert removed.exposures == 2
    assert kept(rig) == {"new", "theirs"}
    assert rig.queries.bodies("old") == ()
    assert len(rig.queries.bodies("theirs")) == 1
    assert rig.sums("errors", "candidate") == (1, 0, 0.0)
    assert retain(rig.store, START - timedelta(days=5), rig.now, {"delays": START}).exposures == 0


def kept(rig: Rig) -> set[str]:
    with rig.store.read() as connection:
        return {unpacked(row[0]) or "" for row in connection.exec_driver_sql("SELECT rid FROM exposures")}


def test_an_outcome_of_a_time_whose_requests_are_gone_is_too_late_not_unknown(rig: Rig) -> None:
    rig.write(line("a", unit="u"), line("b", ts=str(START_US + 7_200_000_000), unit="u"))
    rig.collect()
    rig.now = START + timedelta(hours=3)
    retain(rig.store, START + timedelta(hours=1), rig.now)
    soon, late = START + timedelta(minutes=1), START + timedelta(hours=2, minutes=5)
    rig.record(
        OutcomeIn(prediction_id="a", name="late", value=1, at=soon),
        OutcomeIn(prediction_id="never", name="late", value=1, at=late),
        OutcomeIn(model="delays", unit="u", name="spend", value=1, at=soon),
        OutcomeIn(model="delays", unit="nobody", name="spend", value=1, at=late),
        OutcomeIn(prediction_id="b", name="late", value=1, at=late),
    )
    rig.collect()
    rig.now += timedelta(hours=2)
    rig.collect()
    rig.counted(outcomes=5, joined=1, scored=len(SPEC.scored_by("late")), too_late=2, unknown=2)


def test_an_outcome_whose_request_went_before_its_rollout_was_known_is_too_late(rig: Rig) -> None:
    rig.specs.clear()
    rig.write(line("a"))
    rig.record(OutcomeIn(prediction_id="a", name="late", value=1))
    rig.collect()
    retain(rig.store, START + timedelta(hours=1), START + timedelta(hours=1))
    rig.specs["r1"] = SPEC
    rig.collect()
    rig.counted(outcomes=1, too_late=1, untallied=1)


def test_the_most_patient_plan_of_a_model_says_how_long() -> None:
    def plan(model: str, retention: str) -> Plan:
        return Plan.model_validate({"model": model, "retention": retention, "steps": [{"weight": 10}]})

    assert retentions((plan("a", "1d"), plan("a", "2d"), plan("b", "3h"))) == {"a": 172_800, "b": 10_800}
    assert retentions(()) == {}


# --- read again ------------------------------------------------------------------------------------------------------


def test_headers_that_the_plan_names_are_kept_and_hashed_where_bodies_are(rig: Rig) -> None:
    sent = {b"x-state": b"NY", b"cookie": b"secret"}
    plain = Service(rig.log.parent, features="full", headers=["x-state", "x-plan"])
    plain.capture.take("a", REQUEST, ANSWER, sent)
    hidden = Service(rig.log.parent, "delays/3", features="hashed", headers=["x-state"])
    hidden.capture.take("a", REQUEST, ANSWER, sent)
    collector(rig).collect()
    second, third = rig.queries.bodies("a")
    assert json.loads(second.headers or "") == {"x-state": "NY"}
    assert "NY" not in str(third)
    assert set(json.loads(third.headers or "")) == {"x-state"}


def test_captures_come_back_with_their_requests_and_outcomes_page_by_page(rig: Rig) -> None:
    rig.write(line("a", unit="u1"), line("b"))
    rig.collect()
    rig.record(OutcomeIn(prediction_id="a", name="late", value=True))
    for build in ("delays/1", "delays/2"):
        Service(rig.log.parent, build, features="full", predictions="full").answer("a", "b", "unknown")
    Service(rig.log.parent, "other/1", features="full").answer("a")
    collector(rig).collect()
    pages, after = [], None
    while True:
        page = read_captures(rig.store, Wanted(model="delays", limit=2, after=after))
        pages.append(page.captures)
        after = page.next_after
        if after is None:
            break
    assert [len(page) for page in pages] == [2, 2, 2]
    every = {(each["rid"], each["build"]): each for page in pages for each in page}
    assert len(every) == 6
    mine = every["a", "1"]
    assert (mine["audience"], mine["unit"], mine["variation"]) == ("everyone", "u1", "default")
    assert (mine["request"], mine["answer"]) == (json.loads(REQUEST), json.loads(ANSWER))
    assert [(each["name"], each["row"], each["value"]) for each in mine["outcomes"]] == [("late", 0, True)]
    assert every["unknown", "1"]["audience"] is None
    assert [each["copy"] for each in every.values() if each["rid"] == "a"].count(True) == 1
    only = read_captures(rig.store, Wanted(model="delays", build="2", since=START_US, until=START_US + 1))
    assert {each["build"] for each in only.captures} == {"2"}
    assert read_captures(rig.store, Wanted(model="delays", until=START_US)).captures == ()
    with pytest.raises(UsageError, match="not a position in the captures"):
        read_captures(rig.store, Wanted(model="delays", after="yesterday"))


def test_a_page_of_large_bodies_ends_sooner_and_none_is_left_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "PAGE_BYTES", 100)
    Service(rig.log.parent, features="full").answer(*"abc")
    collector(rig).collect()
    first = read_captures(rig.store, Wanted(model="delays"))
    rest = read_captures(rig.store, Wanted(model="delays", after=first.next_after, limit=1))
    assert [each["rid"] for each in first.captures] == ["a", "b"]
    assert [each["rid"] for each in rest.captures] == ["c"]


def test_the_newest_captures_of_a_variation_come_each_once_as_callers_were_answered(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "_AT_ONCE", 2)
    rig.write(*(line(rid) for rid in "abc"))
    rig.collect()
    rig.record(OutcomeIn(prediction_id="b", name="late", value=True))
    for number, rid in enumerate("abc"):
        for build in ("delays/1", "delays/2"):
            service = Service(rig.log.parent, build, features="full")
            service.now += number
            service.answer(rid, f"unknown-{rid}")
    collector(rig).collect()
    found = captures.newest(rig.store, "delays", "default", 2)
    assert [each["rid"] for each in found] == ["b", "c"]
    assert not any(each["copy"] for each in found)
    assert [each["value"] for each in found[0]["outcomes"]] == [True]
    assert len(captures.newest(rig.store, "delays", "default", 9)) == 3
    assert captures.newest(rig.store, "delays", "other", 9) == captures.newest(rig.store, "x", "default", 9) == ()
