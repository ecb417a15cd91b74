"""The report's page in a real Chromium: both themes, narrow, printed; it asks for nothing, and nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.report import rollout_report
from sluicegate.services.report.page import page
from tests.acceptance.given import Given

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = Given().runs(30_000)
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page(rollout_report(read_for_report(given.ledger, given.rollout), given.now)), encoding="utf-8")
    return file


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_can_be_read_and_ask_for_nothing(browser: Browser, written: Path, theme: str) -> None:
    context = browser.new_context(color_scheme=theme)
    tab = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(written.as_uri())
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (asked, said) == ([written.as_uri()], [])
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 21, 28)"}[theme]
    found = pytest.importorskip("axe_playwright_python.sync_playwright").Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def test_a_narrow_screen_does_not_scroll_sideways(browser: Browser, written: Path) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 800})
    tab = context.new_page()
    tab.goto(written.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    shown = '[...document.querySelectorAll(".scroll")].filter(each => each.checkVisibility())'
    assert max(tab.evaluate(f"{shown}.map(each => each.scrollWidth - each.clientWidth)")) <= 0, "no table is cut off"
    context.close()


def test_print_is_dark_on_white_with_every_table_open(browser: Browser, written: Path) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 794, "height": 1100})
    tab = context.new_page()
    tab.emulate_media(media="print", color_scheme="dark")
    tab.goto(written.as_uri())
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.locator("details td").first.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 794
    context.close()
