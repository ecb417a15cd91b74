"""The example notebook runs to its end against a console, and what it shows is there."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sluicegate.registry.rollout.rollout import Phase
from tests.integration.console_rig import ADMIN, console, judged

NOTEBOOK = Path(__file__).parents[2] / "examples/notebook/a-rollout.ipynb"


@pytest.mark.slow
def test_the_example_notebook_shows_a_rollout_and_pauses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with console(tmp_path) as at:
        rollout = judged(at.ledger, "delays", until=5000)
        for name, value in {"API": at.url, "TOKEN": ADMIN, "GATEWAY": at.url}.items():
            monkeypatch.setenv(f"SLUICE_{name}", value)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        shown = [str(out) for cell in notebook.cells for out in cell.get("outputs", [])]
        assert "log_loss" in shown[0]
        assert "<iframe sandbox" in shown[2]
        assert at.ledger.rollout(rollout.id).phase is Phase.PAUSED
