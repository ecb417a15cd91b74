"""Of this suite's own running: a test that hangs is ended, and once more when it is run a second time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HANGS = "import time\ndef test_it():\n    time.sleep(60)\n"


def test_a_test_that_hangs_twice_is_ended_twice(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--timeout", "0.5", "--reruns", "1"]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert "1 failed, 1 rerun" in done.stdout
