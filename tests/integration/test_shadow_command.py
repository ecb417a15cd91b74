"""`sluice shadow show` and the report of a shadow, on a real ledger and real telemetry, with no server running."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.collector_lines import assigned, line
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.plan.fields import MetricSpec, Source
from sluicegate.registry.rollout.facts import Packed, Ready, StepEntered
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.metric import Arm
from sluicegate.services.telemetry.pairs.collector import ShadowCollector
from sluicegate.services.telemetry.pairs.spec import ShadowSpec
from sluicegate.services.telemetry.store.store import Store
from sluicegate.services.telemetry.tailing.collector import Collector
from sluicegate.services.telemetry.tally.spec import RolloutSpec
from tests import giving as orders
from tests.acceptance.shadowed import PLAN
from tests.clean_environment import clean_environment
from tests.giving import Giver
from tests.plans import plan_from_values

pytestmark = pytest.mark.slow
SLUICE = str(Path(sys.executable).with_name("sluice"))


def test_what_a_shadow_showed_is_told_without_a_server(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    name = shadow_under_way(SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}"), now)
    collected(tmp_path, name)
    told = json.loads(sluice(tmp_path, "shadow", "show", name, "-o", "json"))
    assert told["coverage"]["pairs"] == {"agree": 36, "differ": 4}
    assert told["columns"][0]["confusion"][0] == {"stable": "a", "candidate": "b", "n": 4}
    assert "x-state=NY" in {each["slice"] for each in told["slices"]}
    assert "flips 10 %" in sluice(tmp_path, "shadow", "show", name)
    report = json.loads(sluice(tmp_path, "report", name, "-o", "json"))
    assert report["shadow"]["coverage"] == told["coverage"]
    canary = sluice(tmp_path, "shadow", "show", "no-such", code=None)
    assert canary == ""


def shadow_under_way(ledger: SqlLedger, now: datetime) -> str:
    ada, plan = Giver(actor="ada", cause="cli"), plan_from_values(PLAN, where="plan")
    for version, ask in (("1", orders.deploy), ("2", orders.start)):
        name = ask(ledger, plan=plan, version=version, request=ada, now=now).rollout.id
        for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version=version)):
            ledger.append(name, ledger.rollout(name).seq + 1, fact, now)
        orders.complete(ledger, name, now)
    entered = StepEntered(step=0, weight=10_000, actor="driver", reason="ready")
    ledger.append(name, ledger.rollout(name).seq + 1, entered, now)
    ledger.close()
    return name


def collected(folder: Path, name: str) -> None:
    mark = Assigned(variation="default", arm=Arm.CANDIDATE, build="2", rollout=name, epoch=1, weight=10_000).header
    with (folder / "live.jsonl").open("w") as live, (folder / "shadow.jsonl").open("w") as shadow:
        for i in range(40):
            live.write(line(f"r{i}", assigned=assigned(rollout=None, weight=0), prediction=said("a")))
            own = {"listener": "shadow", "assigned": mark, "upstream": "2", "segments": ["NY", None, None, None]}
            shadow.write(line(f"r{i}", **own, prediction=said("b" if i % 10 == 0 else "a")))
    store, clock = Store(f"sqlite:///{folder / 'telemetry.db'}"), lambda: datetime.now(UTC)
    metrics = RolloutSpec(rollout=name, metrics={"flips": MetricSpec(source=Source.DISAGREEMENT)})
    spec = ShadowSpec(metrics=metrics, stable="1", segments=("x-state",))
    readers = (
        Collector(store, folder / "live.jsonl", lambda _: None, clock),
        ShadowCollector(store, folder / "shadow.jsonl", lambda _: spec, clock),
    )
    while sum(reader.collect() for reader in readers):
        pass
    store.close()


def said(label: str) -> str:
    return json.dumps({"c": ["prediction"], "r": [[label]]})


def sluice(state: Path, *words: str, code: int | None = 0) -> str:
    done = subprocess.run(
        [SLUICE, *words],
        env=clean_environment() | {"SLUICE_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert code is None or done.returncode == code, done.stderr
    return done.stdout
