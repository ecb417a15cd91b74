"""What a real gateway says about itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.traffic.envoy.gateway_stats import NAMES
from tests import plain_http
from tests.integration.traffic_rig import Gateway, eventually

pytestmark = pytest.mark.slow


def test_answers_refused_configurations_and_failed_writes_are_told(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.start()
    try:
        before = gateway.plane.gateway_stats()
        assert set(before) == set(NAMES)
        for _ in range(3):
            assert plain_http.post(f"{gateway.plane.url}/nobody/predict", json={}).status_code == 404
        after = eventually(lambda: _with_answers(gateway, before["answers.4xx"] + 3))
        assert after["refused_configurations"] == after["failed_log_writes"] == 0
        assert after["uptime_seconds"] >= 0
    finally:
        gateway.kill()
    with pytest.raises(Unreachable):
        gateway.plane.gateway_stats()


def _with_answers(gateway: Gateway, n: float) -> dict[str, float] | None:
    found = gateway.plane.gateway_stats()
    return found if found["answers.4xx"] >= n else None
