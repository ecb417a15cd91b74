"""A scrape: it parses, it says what was counted, and the dashboard asks for nothing that is not there."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.collector_lines import START, assigned, line
from docs.pages.grafana import PANELS, page
from docs.pages.metrics import families
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.bento.stage_times import StageTimes, stage_family
from sluicegate.services.telemetry.outcomes.outcome import OutcomeIn
from sluicegate.services.telemetry.reading.prometheus import Scrape, exposition
from sluicegate.services.telemetry.tailing.backlog import backlog
from sluicegate.services.traffic.envoy.gateway_stats import NAMES
from tests.contract.telemetry_rig import CANDIDATE, Rig
from tests.unit.rollouts import examples

Key = tuple[str, frozenset[str]]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(f"sqlite:///{tmp_path}/telemetry.db", tmp_path / "live.jsonl")
    yield rig
    rig.store.close()


def scrape(rig: Rig, **told: object) -> dict[Key, float]:
    """Samples by name and label values."""
    return samples(exposition(rig.queries, Scrape(**told)))  # type: ignore[arg-type]


def samples(text: bytes) -> dict[Key, float]:
    return {
        at(sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def at(name: str, *labels: str) -> Key:
    return name, frozenset(labels)


def rollout() -> Rollout:
    return dataclasses.replace(examples(Phase.RUNNING)[0], id="r1")


def test_nothing_is_told_of_a_ledger_that_cannot_be_read(rig: Rig) -> None:
    """Not that no rollout is overdue, and neither that one is."""
    well, away = scrape(rig), scrape(rig, ledger_up=False)
    assert (well[at("sluice_ledger_up")], away[at("sluice_ledger_up")]) == (1, 0)
    assert at("sluice_rollouts_overdue") in well
    assert [name for name, _ in away if name.startswith(("sluice_rollout", "sluice_blind", "sluice_token"))] == []
    assert at("sluice_collector_unread_bytes") not in away, "none was told"


def test_what_stands_in_the_ledger_is_told_while_the_telemetry_is_away(rig: Rig) -> None:
    class Away:
        def __getattr__(self, name: str) -> None:
            raise Unreachable("the telemetry does not answer.")

    well = scrape(rig, rollouts=[rollout()], models=["delays"])
    for text in (
        exposition(Away(), Scrape(rollouts=[rollout()], models=["delays"])),  # type: ignore[arg-type]
        exposition(rig.queries, Scrape(rollouts=[rollout()], models=["delays"], telemetry_up=False, waiting=None)),
    ):
        away = samples(text)
        assert (well[at("sluice_telemetry_up")], away[at("sluice_telemetry_up")]) == (1, 0)
        assert away[at("sluice_ledger_up")] == 1
        names = {name for name, _ in away}
        assert {"sluice_rollout_info", "sluice_rollout_weight_ratio", "sluice_rollouts_overdue"} <= names
        counted = ("sluice_build", "sluice_telemetry_", "sluice_rollout_requests", "sluice_collector")
        assert [name for name in names if name.startswith(counted)] == ["sluice_telemetry_up"]
    assert "sluice_rollouts_waiting" not in names


def test_builds_and_counters(rig: Rig) -> None:
    rig.write(line("a"), line("b", **CANDIDATE, status=503))
    rig.record(OutcomeIn(prediction_id="a", name="late", value=1), OutcomeIn(prediction_id="x", name="late", value=1))
    rig.now = START + timedelta(seconds=25)
    rig.collect()
    found = scrape(rig, models=["delays"])
    assert found[at("sluice_telemetry_total", "lines")] == 2
    assert found[at("sluice_telemetry_waiting", "outcomes_waiting")] == 1
    assert found[at("sluice_telemetry_waiting", "scores_maturing")] == 1
    assert found[at("sluice_build_error_share", "delays", "default", "2")] == 1.0
    assert found[at("sluice_build_p50_seconds", "delays", "default", "1")] == pytest.approx(0.008, rel=0.12)


def test_a_service_tells_where_the_time_goes(rig: Rig) -> None:
    counted = (("0.001", 2.0), ("0.005", 7.0), ("+Inf", 9.0))
    times = [StageTimes(build=BuildRef(model="delays", version="2"), stage="model", buckets=counted, seconds=0.4)]
    found = scrape(rig, families=[stage_family(times)])
    assert found[at("sluice_service_seconds_bucket", "delays", "2", "model", "0.005")] == 7
    assert found[at("sluice_service_seconds_count", "delays", "2", "model")] == 9
    assert found[at("sluice_service_seconds_sum", "delays", "2", "model")] == 0.4


def test_a_rollout_tells_where_it_stands_and_how_its_arms_fare(rig: Rig) -> None:
    rig.write(*(line(f"s{ms}", dur_us=ms * 1_000) for ms in (1, 1, 1, 1, 1, 1, 1, 1, 1, 900)))
    rig.write(line("f", **CANDIDATE, status=503), line("l", **CANDIDATE, flags="DC", status=0, dur_us=None))
    rig.collect()
    found = scrape(rig, rollouts=[rollout()])
    assert found[at("sluice_rollout_requests_total", "r1", "stable", "answered")] == 10
    assert found[at("sluice_rollout_requests_total", "r1", "candidate", "5xx")] == 1
    assert found[at("sluice_rollout_requests_total", "r1", "candidate", "left")] == 1
    assert found[at("sluice_rollout_latency_seconds_bucket", "r1", "stable", "+Inf")] == 10
    name = "sluice_rollout_latency_seconds_bucket"
    buckets = [value for key, value in found.items() if key[0] == name and "stable" in key[1]]
    assert buckets == sorted(buckets)
    assert 9.0 in buckets
    assert found[at("sluice_rollout_weight_ratio", "r1")] == rollout().weight / 10_000
    assert any(key[0] == "sluice_rollout_info" and Phase.RUNNING.value in key[1] for key in found)


def test_latency_by_arm(rig: Rig) -> None:
    second = {"assigned": assigned("candidate", epoch=2), "upstream": "2"}
    rig.write(*(line(f"s{ms}", dur_us=ms * 1_000) for ms in range(1, 101)))
    rig.write(line("c", **CANDIDATE, dur_us=50_000), line("d", **second, dur_us=500_000))
    rig.write(line("never", **CANDIDATE, dur_us=None))
    rig.collect()
    both = rig.queries.latencies(["r1"])["r1"]
    assert (both["stable"].requests, both["candidate"].requests) == (100, 2)
    for q, seconds in (("p50", 0.05), ("p95", 0.095), ("p99", 0.099)):
        assert getattr(both["stable"], q) == pytest.approx(seconds, rel=0.12)


def test_the_gateway_is_down_until_it_answers(rig: Rig) -> None:
    assert scrape(rig)[at("sluice_gateway_up")] == 0
    found = scrape(rig, gateway=dict.fromkeys(NAMES, 7.0))
    assert found[at("sluice_gateway_up")] == 1
    assert found[at("sluice_gateway_answers_total", "5xx")] == 7
    assert {found[at(f"sluice_gateway_{name}")] for name in ("active_requests", "failed_log_writes_total")} == {7.0}


def test_what_was_not_read_is_a_backlog_with_an_age(rig: Rig) -> None:
    rig.write(line("a"))
    assert backlog(rig.store, [rig.log]).unread_bytes == rig.log.stat().st_size
    rig.collect()
    assert backlog(rig.store, [rig.log]).unread_bytes == 0
    rig.log.rename(rig.log.with_name("live.000001.jsonl"))
    rig.write(line("b"))
    behind = backlog(rig.store, [rig.log, rig.log.with_name("shadow.jsonl")])
    assert behind.unread_bytes == len(line("b"))
    later = rig.now.timestamp() + 90
    found = scrape(rig, backlog=behind, now=later)
    assert found[at("sluice_collector_unread_bytes")] == len(line("b"))
    assert 89 <= found[at("sluice_collector_waiting_seconds")] <= 95
    rig.collect()
    assert backlog(rig.store, [rig.log]).waits(later) == 0


def test_each_expression_of_the_dashboard_names_metrics_and_labels_that_exist() -> None:
    known = {f"{each.name}_total" if each.type == "counter" else each.name for each in families()}
    histograms = [each.name for each in families() if each.type == "histogram"]
    parts = {f"{name}_{part}": name for name in histograms for part in ("bucket", "count", "sum")}
    asked = {
        name for panel in PANELS for expression, _ in panel.lines for name in re.findall(r"sluice_\w+", expression)
    }
    asked = {parts.get(name, name) for name in asked}
    assert asked <= known
    exempt = {
        "sluice_generated_requests_total",
        "sluice_gateway_abandoned_total",
        "sluice_gateway_uptime_seconds",
        "sluice_rollout_step",
        "sluice_silence_seconds",
        "sluice_token_expires_in_seconds",
        "sluice_uncounted_ratio",
    }
    assert known - asked <= exempt
    board = json.loads(page())
    assert {target["expr"] for panel in board["panels"] for target in panel["targets"]} == {
        expression for panel in PANELS for expression, _ in panel.lines
    }
    assert len({panel["id"] for panel in board["panels"]}) == len(PANELS)


def test_counters_say_so_and_gauges_do_not(rig: Rig) -> None:
    text = exposition(rig.queries, Scrape(gateway=dict.fromkeys(NAMES, 0.0))).decode()
    kinds = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    assert kinds["sluice_telemetry_total"] == "counter"
    assert kinds["sluice_rollout_latency_seconds"] == "histogram"
    assert all(kind == "counter" for name, kind in kinds.items() if name.endswith("_total"))
