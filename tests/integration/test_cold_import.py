"""What a driver loads before it can do anything: each run is a process of its own, and a candidate waits for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

LATE = ("scipy", "mlflow", "bentoml", "sklearn", "pandas", "rfc3987_syntax")
"""What only a later stage needs, or, the last, nobody: see pyproject.toml."""


def test_a_driver_begins_without_what_only_later_stages_need() -> None:
    script = f"import sys, sluicegate.flows.driver.driving; print(*(set({LATE!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
