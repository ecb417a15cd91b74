"""`make docs`: the pages, and parts of pages, that follow from the code. A test holds the files against them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docs.pages import (
    api,
    cli,
    decisions,
    differences,
    documents,
    glossary,
    grafana,
    house,
    log,
    metrics,
    plan,
    record,
    replay,
    states,
    support,
)

DOCS = Path(__file__).parent
PAGES: dict[str, Callable[[], str]] = {
    "decisions/README.md": decisions.page,
    "glossary.md": glossary.page,
    "reference/api.md": api.page,
    "reference/cli.md": cli.page,
    "reference/documents.md": documents.page,
    "reference/errors.md": record.errors_page,
    "reference/facts.md": record.facts_page,
    "reference/gate-replay.md": replay.page,
    "reference/grafana.json": grafana.page,
    "reference/log.md": log.page,
    "reference/metrics.md": metrics.page,
    "reference/mlflow-differences.md": differences.page,
    "reference/plan.md": plan.page,
    "reference/rollout-states.md": states.page,
    "reference/settings.md": record.settings_page,
    "reference/support.md": support.page,
    "why/house.md": house.page,
}


def main() -> None:
    """Write every page that is not current."""
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path}")


if __name__ == "__main__":
    main()
