"""Of which models requests are kept, for how long, and what that takes of the disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluicegate.flows.wiring.collecting import growth_finding, unasked_findings
from sluicegate.flows.wiring.keeping import KeptModels, kept_for, retentions
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.plan.plan import Plan
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.telemetry.reading.growth import Growth

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LABELLED: dict[str, Any] = {
    "metrics": {"spend": {"source": "outcome", "outcome": "spend", "score": "outcome", "range": [0, 10]}},
    "gates": [{"metric": "spend", "margin": "9%", "alpha": 0.05}],
}


def plan(model: str, **more: object) -> Plan:
    return Plan.model_validate({"model": model, "steps": [{"weight": 10}], **more})


def apply(ledger: SqlLedger, given: Plan) -> None:
    body = given.model_dump(mode="json")
    document = Applied(
        kind="plan", name=f"{given.model}/default", body=body, digest=given.digest, actor="ada", at=NOW
    )  # fmt: skip
    assert ledger.apply(document)


@pytest.mark.parametrize(
    ("more", "asks"),
    [
        ({}, False),
        ({"metrics": {"e": {"source": "status"}}, "guardrails": [{"metric": "e"}]}, False),
        (LABELLED, True),
        ({"serve": {"capture": {"features": "hashed"}}}, True),
    ],
)
def test_a_plan_asks_for_its_requests_where_something_is_joined_to_them(more: dict[str, object], asks: bool) -> None:
    assert plan("m", **more).asks_for_requests is asks


def test_a_model_whose_applied_plan_asks_is_known_within_two_seconds(tmp_path: Path) -> None:
    ledger, now = SqlLedger(f"sqlite:///{tmp_path}/ledger.db"), [NOW]
    is_kept = KeptModels(ledger, lambda: now[0])
    assert not is_kept("m")
    apply(ledger, plan("m", **LABELLED))
    apply(ledger, plan("other"))
    assert not is_kept("m"), "asked a moment ago"
    now[0] += timedelta(seconds=2)
    assert is_kept("m")
    assert not is_kept("other")
    apply(ledger, plan("m", retention="3d"))
    now[0] += timedelta(seconds=2)
    assert not is_kept("m")
    assert kept_for(ledger) == {"m": 3 * 86_400.0}
    ledger.close()


DAY = 86_400.0


@pytest.mark.parametrize(
    ("matures_after", "kept_for"),
    [((), 7 * DAY), (("0s",), 7 * DAY), (("1h",), DAY + 3_600), (("8d", "1h"), 10 * DAY), (("1h", "0s"), 7 * DAY)],
)
def test_requests_are_kept_until_the_latest_label_and_a_grace(matures_after: tuple[str, ...], kept_for: float) -> None:
    metrics = {
        f"m{number}": LABELLED["metrics"]["spend"] | {"matures_after": each}
        for number, each in enumerate(matures_after)
    }
    gates = [{"metric": name, "margin": "9%", "alpha": 0.02} for name in metrics]
    written = plan("m", metrics=metrics, gates=gates)
    assert written.kept_for == kept_for
    assert retentions((written,)) == ({"m": kept_for} if metrics else {})
    assert plan("m", metrics=metrics, gates=gates, retention="20d").kept_for == 20 * DAY
    bodies = {"capture": {"features": "hashed"}}
    assert plan("m", metrics=metrics, gates=gates, serve=bodies).kept_for == max(kept_for, 7 * DAY)


def test_the_doctor_says_how_long_the_disk_lasts() -> None:
    grown, week = Growth(kept=1_000_000, a_day=86_400_000), 7 * 86_400.0
    enough, full = growth_finding(grown, 80e9, week), growth_finding(grown, 50e9, week)
    assert (enough.status, full.status) == (CheckStatus.PASS, CheckStatus.WARN)
    assert enough.found == "86,400,000 requests a day, kept for 7 days, will need 56.2 GiB more; 74.5 GiB are free"
    assert full.found.startswith("at today's rate the disk is full in 5.8 days: 86,400,000 requests a day")
    assert "retention" in (full.fix or "")
    assert growth_finding(Growth(kept=0, a_day=0.0), 1.0, week).status is CheckStatus.PASS


def test_the_doctor_names_the_models_of_which_outcomes_come_and_nobody_asks() -> None:
    assert unasked_findings({}) == ()
    [named, unnamed] = unasked_findings({"delays": 1_200, "": 3})
    assert named.found == "1,200 outcomes were set aside: no plan asks for outcomes of delays"
    assert unnamed.found == "3 outcomes were set aside: no plan asks for outcomes of their model"
