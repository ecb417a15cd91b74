"""`make docs`: the pages of docs/reference that follow from the code. A test holds the files against them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docs.pages import api, cli, grafana, log, metrics, plan, record, replay, states

REFERENCE = Path(__file__).parent / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "api.md": api.page,
    "cli.md": cli.page,
    "errors.md": record.errors_page,
    "facts.md": record.facts_page,
    "gate-replay.md": replay.page,
    "grafana.json": grafana.page,
    "log.md": log.page,
    "metrics.md": metrics.page,
    "plan.md": plan.page,
    "rollout-states.md": states.page,
    "settings.md": record.settings_page,
}


def main() -> None:
    """Write every page that is not current."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path}")


if __name__ == "__main__":
    main()
