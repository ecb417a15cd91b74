"""The alert rules for Prometheus: promtool accepts them, and each names metrics that a scrape really has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from docs.pages.contracts import ROOT
from docs.pages.metrics import families

RULES = ROOT / "docs/reference/alerts.yml"
PAGE = ROOT / "docs/how-to/monitor.md"
PROMTOOL = shutil.which("promtool")


def rules() -> list[dict]:
    return [rule for group in YAML(typ="safe").load(RULES.read_text())["groups"] for rule in group["rules"]]


def samples() -> dict[str, set[str]]:
    """Every name that a scrape has, with the labels of its samples."""
    named = {}
    for family in families():
        named[f"{family.name}_total" if family.type == "counter" else family.name] = set()
        for sample in family.samples:
            named.setdefault(sample.name, set()).update(sample.labels)
    return named


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_names_metrics_that_are_there_and_what_to_do(rule: dict) -> None:
    names = set(re.findall(r"\bsluice_\w+", rule["expr"]))
    assert names
    assert names <= set(samples()), "a metric that no scrape has never fires"
    assert rule["labels"]["severity"] in ("page", "warn", "info")
    assert {"summary", "fix"} <= set(rule["annotations"])
    assert f"`{rule['alert']}`" in PAGE.read_text()


def test_the_page_names_no_alert_that_is_not_there() -> None:
    assert set(re.findall(r"`(Sluice[A-Z]\w+)`", PAGE.read_text())) == {rule["alert"] for rule in rules()}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: apt-get install prometheus")
def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run([str(PROMTOOL), "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


FIRING = {
    "SluiceGatewayDown": ("sluice_gateway_up", "1", "0"),
    "SluiceLedgerDown": ("sluice_ledger_up", "1", "0"),
    "SluiceTelemetryDown": ("sluice_telemetry_up", "1", "0"),
    "SluiceProgramSilent": ('sluice_silence_seconds{program="keeper"}', "1", "500"),
    "SluiceGatewayUnwatched": ('sluice_gateway_stable_only{gateway="gateway-2"}', "0", "1"),
    "SluiceBlind": ('sluice_blind{listener="live"}', "0", "1"),
    "SluiceCollectorBehind": ("sluice_collector_waiting_seconds", "3", "500"),
    "SluiceDiskLow": ("sluice_state_disk_free_ratio", "0.5", "0.05"),
    "SluiceDiskFull": ("sluice_state_disk_free_ratio", "0.05", "0.01"),
    "SluiceTokenExpires": ('sluice_token_expires_in_seconds{name="ci"}', "7776000", "-86400"),
    "SluiceRolloutUntended": ("sluice_rollouts_untended", "0", "1"),
    "SluiceWeightOverdue": ("sluice_rollouts_overdue", "0", "1"),
    "SluiceNoDriver": ("sluice_rollouts_undriven", "0", "2"),
    "SluiceWaitsForPerson": ("sluice_rollouts_waiting", "0", "1"),
    "SluicePaused": ('sluice_rollout_info{model="m",candidate="2",rollout="r",phase="paused"}', "0", "1"),
    "SluiceLogLinesLost": ("sluice_gateway_failed_log_writes_total", "0", "0 0 0 0 0 5 9 9 9 9"),
    "SluiceConfigurationRefused": ("sluice_gateway_refused_configurations_total", "0", "0 0 0 0 0 1 1 1 1 1"),
    "SluiceConsoleDown": ("sluice_gateway_up", "1", "_"),
}
"""A series that is well, and one that is not, for each alert."""


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: apt-get install prometheus")
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_fires_when_it_should_and_not_before(rule: dict, tmp_path: Path) -> None:
    series, well, ill = FIRING[rule["alert"]]
    for values, fires in ((well, False), (ill, True)):
        repeated = values if " " in values else f"{values}x60"
        test = {
            "rule_files": [str(RULES)],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": series, "values": repeated}],
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{alertname="{rule["alert"]}", alertstate="firing"}}) or vector(0)',
                            "eval_time": "9m" if " " in values else "50m",
                            "exp_samples": [{"labels": "{}", "value": int(fires)}],
                        }
                    ],
                }
            ],
        }
        path = tmp_path / f"{fires}.yml"
        YAML(typ="safe").dump(test, path)
        done = subprocess.run([str(PROMTOOL), "test", "rules", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
