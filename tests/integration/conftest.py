"""A real Chromium for tests of pages."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; tests are skipped, and say so, on a machine that has none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for a state with Unix sockets in it: tmp_path grows with the worker's and the test's names."""
    with tempfile.TemporaryDirectory(prefix="sluice-", dir="/tmp") as folder:
        yield Path(folder)
