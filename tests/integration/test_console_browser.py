"""The console in a real Chromium: orders, live pages, roles, two tabs, a lost connection, axe, budgets, screenshots."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.roles import Role
from tests.integration.console_rig import ADMIN, Console, asked, compared, console, judged, shadowed

pytestmark = pytest.mark.slow
SIZES = {"phone": (375, 800), "tablet": (820, 1100), "desk": (1280, 900), "wall": (2560, 1440)}
BUDGET = 400_000
"""Bytes of a page with everything it loads, compressed."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Console, Rollout]]:
    with console(tmp_path) as opened:
        yield opened, judged(opened.ledger, "delays", until=5000)


def signed_in(browser: Browser, at: Console, token: str = ADMIN, **options: object) -> Page:
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.goto(f"{at.url}/login")
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_label("Your name").fill("ada")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


def give(page: Page, order: str, reason: str) -> None:
    page.locator(f"details.{order} summary").click()
    form = page.locator(f"details.{order} form")
    form.get_by_label("Why").fill(reason)
    form.get_by_role("button").click()


def test_an_abort_tells_its_effect_first_and_is_in_the_ledger_by_name(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.get_by_role("link", name="delays v1 → v2").first.click()
    page.locator("details.abort summary").click()
    expect(page.locator("#abort-effect")).to_have_text(
        "v1 gets every request back at once (v2 has 50 %); v2 is stopped."
    )
    page.locator("details.abort").get_by_label("Why").fill("seen enough")
    page.get_by_role("button", name="Abort: every request goes back to v1").click()
    expect(page.locator("h1 .chip")).to_have_text("aborted")
    after = at.ledger.rollout(rollout.id)
    assert (after.ending, after.actor, after.reason) == (Ending.ABORTED, "ada", "seen enough")


def test_a_page_follows_the_ledger_by_its_events_and_without_a_reload(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.goto(f"{at.url}/rollouts/{rollout.id}")
    page.evaluate("window.kept = true")
    at.order("pause", rollout.id)
    expect(page.locator("h1 .chip")).to_have_text("paused", timeout=8000)
    assert page.evaluate("window.kept") is True


def test_a_fact_that_comes_while_the_page_looks_is_not_missed(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.goto(f"{at.url}/rollouts/{rollout.id}")
    page.evaluate(
        """() => {
          const honest = window.fetch, gate = new Promise((open) => { window.letGo = open; });
          window.fetch = async (...call) => { const answer = await honest(...call); await gate; return answer; };
          window.heard = new Promise((hear) => feed.addEventListener("fact", () => hear()));
          refresh();
        }"""
    )
    page.wait_for_timeout(300)
    at.order("pause", rollout.id)
    page.evaluate("heard")
    page.evaluate("letGo()")
    expect(page.locator("h1 .chip")).to_have_text("paused")


def test_what_somebody_types_survives_what_happens_meanwhile(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.goto(f"{at.url}/rollouts/{rollout.id}")
    page.locator("details.abort summary").click()
    page.locator("details.abort").get_by_label("Why").fill("half a sent")
    at.order("pause", rollout.id)
    expect(page.locator("h1 .chip")).to_have_text("paused")
    expect(page.locator("details.abort").get_by_label("Why")).to_have_value("half a sent")


def test_the_fold_that_somebody_opened_stays_open_and_no_other_of_its_name(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.goto(f"{at.url}/rollouts/{rollout.id}")
    left_open = page.evaluate(
        """() => {
          const folds = (...names) => names.map((each) => `<details><summary>${each}</summary></details>`).join("");
          const part = document.createElement("section"), now = document.createElement("section");
          part.innerHTML = folds("12 facts", "Rows", "Rows");
          now.innerHTML = folds("13 facts", "Rows", "Rows", "Rows");
          for (const each of [0, 2]) part.children[each].open = true;
          renew(part, now);
          return [...part.children].map((each) => each.open);
        }"""
    )
    assert left_open == [True, False, True, False]


def test_of_two_tabs_the_one_that_has_not_seen_the_news_does_not_promote(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    stale = signed_in(browser, at, java_script_enabled=False)
    stale.goto(f"{at.url}/rollouts/{rollout.id}")
    at.order("pause", rollout.id)
    give(stale, "promote", "looked good")
    expect(stale.get_by_role("alert")).to_contain_text("has changed since")
    assert at.ledger.rollout(rollout.id).phase is Phase.PAUSED
    give(stale, "resume", "I have looked again")
    assert at.ledger.rollout(rollout.id).phase is Phase.RUNNING


def test_a_viewer_sees_everything_and_can_order_nothing(browser: Browser, running: tuple[Console, Rollout]) -> None:
    at, rollout = running
    page = signed_in(browser, at, at.token("vic", Role.VIEWER))
    page.goto(f"{at.url}/rollouts/{rollout.id}")
    expect(page.get_by_text("Your role may look, not act.")).to_be_visible()
    expect(page.locator("details.act")).to_have_count(0)
    operator = signed_in(browser, at, at.token("olga", Role.OPERATOR))
    operator.goto(f"{at.url}/rollouts/{rollout.id}")
    expect(operator.locator("details.act summary")).to_have_text(
        ["Pause… nothing advances meanwhile", "Abort… every request goes back to v1"]
    )


def test_a_lost_connection_is_said_and_forgotten_when_it_is_back(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.goto(f"{at.url}/rollouts/{rollout.id}")
    page.context.set_offline(True)
    page.evaluate("refresh()")
    expect(page.locator("#lost")).to_be_visible()
    at.order("pause", rollout.id)
    page.context.set_offline(False)
    page.evaluate("refresh()")
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("h1 .chip")).to_have_text("paused")
    late = "feed.dispatchEvent(new Event('error')) && lost.hidden"
    assert page.evaluate(late), "the feed's error may come once the connection is there again: only a look can tell"


def test_what_is_looked_for_is_found_and_opened_by_the_keyboard_alone(
    browser: Browser, running: tuple[Console, Rollout]
) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.wait_for_load_state("load")
    page.keyboard.press("Control+k")
    page.keyboard.type("abort delays")
    expect(page.locator("#palette .hits a")).to_have_text(["Abort delays v1 → v2…"])
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    late = list[Route]()
    page.route(lambda url: url.endswith("q=abort+delays"), lambda route: late.append(route))
    page.keyboard.press("Control+k")
    page.keyboard.type("abort delay")
    expect(page.locator("#palette .hits a")).to_have_count(1)
    with page.expect_request(lambda request: request.url.endswith("q=abort+delays")):
        page.keyboard.type("s")
    page.keyboard.press("ArrowDown")
    with page.expect_response(lambda answer: answer.url.endswith("q=abort+delays")) as answered:
        late[0].continue_()
    answered.value.finished()
    page.evaluate("new Promise(done => setTimeout(done))")
    expect(page.locator("#palette .hits a")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#abort-effect")).to_be_visible()
    assert page.url.endswith(f"/rollouts/{rollout.id}#abort-effect")
    assert at.ledger.rollout(rollout.id).ending is None, "it leads to the form, and does nothing"


def test_search_works_without_javascript(browser: Browser, running: tuple[Console, Rollout]) -> None:
    at, _ = running
    page = signed_in(browser, at, java_script_enabled=False)
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox").fill("delays v1")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Pause delays v1 → v2").click()
    expect(page.locator("#pause-effect")).to_be_visible()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, dict[str, str]]]:
    """A console with something of every kind, and where its pages are."""
    with console(tmp_path_factory.mktemp("everything")) as at:
        yield at, _pages(at)


@pytest.mark.parametrize(
    ("theme", "size"), [*(("light", size) for size in SIZES), *(("dark", size) for size in ("phone", "desk"))]
)
def test_every_page_fits_and_is_clean_to_axe(
    browser: Browser, everything: tuple[Console, dict[str, str]], tmp_path: Path, theme: str, size: str
) -> None:
    shots = Path(os.environ.get("CONSOLE_SCREENSHOTS", tmp_path / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    (at, pages), (width, height) = everything, SIZES[size]
    page = signed_in(browser, at, color_scheme=theme, viewport={"width": width, "height": height})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for name, path in pages.items():
        page.goto(at.url + path)
        page.screenshot(path=shots / f"{name}-{theme}-{size}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} px too wide for a {size}"
        if size == "desk":
            _is_clean(page, f"{name}, {theme}")
    assert [words for words in said if "404" not in words] == [], "a policy that the page itself breaks?"
    page.context.close()


@pytest.mark.parametrize("width", [820, 1024, 1280])
def test_no_table_is_cut_off_at_its_right_edge(
    browser: Browser, everything: tuple[Console, dict[str, str]], width: int
) -> None:
    at, pages = everything
    page = signed_in(browser, at, viewport={"width": width, "height": 900})
    cut: dict[str, list[int]] = {}
    for name, path in pages.items():
        page.goto(at.url + path)
        page.wait_for_load_state("load")
        hidden = page.evaluate(
            "[...document.querySelectorAll('.scroll')].filter(each => each.checkVisibility())"
            ".map(each => each.scrollWidth - each.clientWidth)"
        )
        cut |= {name: hidden} if max(hidden, default=0) > 0 else {}
    assert cut == {}, "pixels of each table that nobody sees who does not scroll sideways"
    page.context.close()


def test_a_page_with_all_it_loads_stays_small(browser: Browser, running: tuple[Console, Rollout]) -> None:
    at, rollout = running
    page = signed_in(browser, at)
    page.goto(f"{at.url}/rollouts/{rollout.id}", wait_until="load")
    loaded: list[str] = page.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
    assert any(name.endswith(".css") for name in loaded), loaded
    named = {page.url, *loaded} - {name for name in loaded if name.endswith("/events")}
    assert sum(len(gzip.compress(page.request.get(name).body())) for name in named) < BUDGET


def _pages(at: Console) -> dict[str, str]:
    running = judged(at.ledger, "delays", until=5000)
    aborted = judged(at.ledger, "fraud", loss=0.62)
    paused = judged(at.ledger, "churn", until=2500)
    experiment = compared(at.ledger)
    shadow, _ = shadowed(at)
    at.order("pause", paused.id)
    asked(at, "churn")
    return {
        "overview": "/",
        "rollouts": "/rollouts",
        "compared": f"/rollouts/compare?id={running.id}&id={aborted.id}",
        "running": f"/rollouts/{running.id}",
        "paused": f"/rollouts/{paused.id}",
        "aborted": f"/rollouts/{aborted.id}",
        "shadow": f"/rollouts/{shadow.id}",
        "logs": f"/rollouts/{running.id}/logs",
        "report": f"/rollouts/{aborted.id}/report",
        "model": "/models/delays",
        "experiments": "/experiments",
        "experiment": f"/experiments/{experiment}",
        "experiment-model": "/models/m",
        "audiences": "/audiences?model=delays&metadata=state%3DTexas&unit=u-1",
        "activity": "/activity",
        "health": "/health",
        "glossary": "/glossary",
        "search": "/search?q=del",
        "access": "/access",
        "missing": "/rollouts/nothing",
    }


def _is_clean(page: Page, where: str) -> None:
    found = Axe().run(page).response["violations"]
    told = [(each["id"], each["help"], [node["html"][:120] for node in each["nodes"]][:3]) for each in found]
    assert told == [], where
