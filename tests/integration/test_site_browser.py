"""The site in a real Chromium, from the disk: diagrams are drawn, the search finds, nobody else is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from docs.vendored import FOLDER, SCRIPTS, fetch

ROOT = Path(__file__).parents[2]
DRAWN = ("why/house.html", "reference/rollout-states.html")
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("npm") and not all((FOLDER / script.name).exists() for script in SCRIPTS):
        pytest.skip("npm is not installed: the site has nothing to draw diagrams with")
    for script in SCRIPTS:
        fetch(script)
    folder = tmp_path_factory.mktemp("site")
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    return folder


def open_page(browser: Browser, address: str, **context: object) -> tuple[Page, list[str]]:
    """A tab, and what it asked of other hosts."""
    tab = browser.new_context(**context).new_page()  # type: ignore[arg-type]
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url) if request.url.startswith("http") else None)
    tab.goto(address)
    return tab, requests


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", DRAWN)
def test_diagrams_are_drawn_from_here(browser: Browser, site: Path, name: str, theme: str) -> None:
    tab, requests = open_page(browser, (site / name).as_uri(), color_scheme=theme)
    tab.wait_for_selector("div.mermaid", timeout=20_000)
    assert tab.locator("pre.mermaid").count() == 0
    assert tab.evaluate("[...document.querySelectorAll('div.mermaid')].every(it => it.clientHeight > 100)")
    scheme = tab.evaluate("document.body.getAttribute('data-md-color-scheme')")
    assert (scheme, requests) == ({"light": "default", "dark": "slate"}[theme], [])
    tab.context.close()


def test_the_search_finds_from_the_disk(browser: Browser, site: Path) -> None:
    tab, requests = open_page(browser, (site / "index.html").as_uri())
    tab.fill("input.md-search__input", "guardrail")
    tab.wait_for_selector(".md-search-result__link", timeout=20_000)
    assert not requests
    tab.context.close()


@pytest.mark.parametrize("name", ["index.html", "why/house.html", "reference/plan.html", "how-to/write-a-plan.html"])
def test_a_phone_does_not_scroll_sideways(browser: Browser, site: Path, name: str) -> None:
    tab, _ = open_page(browser, (site / name).as_uri(), viewport={"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.context.close()
