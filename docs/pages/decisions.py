"""docs/decisions/README.md: every decision by its number."""

from __future__ import annotations

import re
from pathlib import Path

from docs.pages.tables import NOTICE, table

FOLDER = Path(__file__).parents[1] / "decisions"


def page() -> str:
    """The whole page."""
    rows = [_row(path) for path in sorted(FOLDER.glob("[0-9]*.md"))]
    return f"""{NOTICE}
# Decisions

Choices that a newcomer would question: what was decided, why, and what else was considered. One page each; a decision that was
taken back says so.

{table(("", "decision"), rows)}"""


def _row(path: Path) -> tuple[str, str]:
    heading = path.read_text(encoding="utf-8").partition("\n")[0]
    number, title = re.fullmatch(r"# (\d+)\. (.+)", heading).groups()  # type: ignore[union-attr]
    return number, f"[{title}]({path.name})"
