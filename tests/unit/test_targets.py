"""Each test belongs to one target of the Makefile: docs/decisions/0084-make-test-is-what-one-waits-for.md."""

from __future__ import annotations

import pytest

from docs.pages.contracts import ROOT

TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize(("mark", "folders"), [("slow", {"integration", "contract"}), ("chaos", {"integration"})])
def test_a_mark_stands_only_where_a_target_runs_it(mark: str, folders: set[str]) -> None:
    marked = {path.relative_to(ROOT / "tests").parts[0] for path in TESTS if f"pytest.mark.{mark}" in path.read_text()}
    assert marked == folders


def test_every_folder_of_tests_is_run() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert {path.relative_to(ROOT).parts[1] for path in TESTS} == {
        name for name in ("unit", "contract", "acceptance", "statistics", "integration") if f"tests/{name}" in makefile
    }
