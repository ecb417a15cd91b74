"""The site of the documentation: built strictly, every link leads somewhere, and no page asks another host."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.vendored import MERMAID, SCRIPTS

ROOT = Path(__file__).parents[2]


@dataclass
class Parsed(HTMLParser):
    """What a page loads, where it leads, and where one can land in it."""

    loads: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    lands: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.lands |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a":
            self.leads.append(values.get("href", ""))
        else:
            self.loads += [values[name] for name in ("src", "href", "srcset", "data") if name in values]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    for script in SCRIPTS:
        (folder / script.name).write_text("// taken from npm by make site")
    config = load_config(
        str(ROOT / "mkdocs.yml"), site_dir=str(folder / "site"), extra={"generator": False, "vendored": str(folder)}
    )
    build(config)
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Parsed]:
    parsed = {path: Parsed() for path in site.rglob("*.html") if path.name != "404.html"}
    for path, page in parsed.items():
        page.feed(path.read_text(encoding="utf-8"))
    return parsed


def test_every_document_is_a_page(site: Path) -> None:
    for document in (ROOT / "docs").rglob("*.md"):
        name = document.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / name.with_name(name.name.replace("README", "index"))).exists()
    assert all(
        (site / f"{name}.html").exists() for name in ("index", "contributing", "security", "changelog", "license")
    )


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Parsed]) -> None:
    broken = []
    for path, page in pages.items():
        for link in (*page.leads, *page.loads):
            address = urlsplit(link)
            if address.scheme or not link:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            landing = pages[target].lands if target in pages else set()
            if not target.is_file() or (address.fragment and unquote(address.fragment) not in landing):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_no_page_asks_another_host(pages: dict[Path, Parsed], site: Path) -> None:
    assert not {link for page in pages.values() for link in page.loads if urlsplit(link).netloc}
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import\s*)['\"]?(?:https?:)?//[^)'\"]*", sheets)


def test_a_page_with_a_diagram_brings_what_draws_it(site: Path) -> None:
    drawn = [path for path in (ROOT / "docs").rglob("*.md") if "```mermaid" in path.read_text(encoding="utf-8")]
    assert drawn
    for document in drawn:
        page = (site / document.relative_to(ROOT / "docs").with_suffix(".html")).read_text(encoding="utf-8")
        assert '<pre class="mermaid">' in page
        assert page.index(MERMAID.name) < page.index("assets/javascripts/bundle.")
