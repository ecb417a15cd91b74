"""The house is as docs/why/house.md and the contracts say: sentences, pure files, names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from docs.pages.contracts import ROOT, first_paragraph, pure, rooms

HOUSE = ROOT / "docs/why/house.md"
TOPS = ("flows", "services", "registry")
BARE = "|".join((*TOPS, "examples"))
INNER = "|".join(sorted({room.path.split("/")[1] for room in rooms() if room.path.count("/")}))

BARE_IMPORT = re.compile(rf"^\s*(?:from (?:{BARE})[. ]|import (?:{BARE})\b)", re.MULTILINE)
BARE_RUN = re.compile(rf"-m[ \",']+(?:{BARE})\b(?!/)")
BARE_MODULE = re.compile(rf"(?<![\w./-])(?:flows|services|registry)\.(?:{INNER})\b(?!\()")
"""Names a room inside a room, so that `services.values()` and the end of a sentence are none."""

VENDORS = {"services/traffic/envoy": "an adapter's folder is named after what it adapts"}
"""Who may be named like a dependency, and why."""


def files(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def modules() -> list[Path]:
    return files(*(f"{top}/*.py" for top in TOPS))


def name_of(path: Path) -> str:
    return "sluicegate." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", [path for path in modules() if path.name == "__init__.py"], ids=name_of)
def test_a_room_has_one_sentence(path: Path) -> None:
    sentence = first_paragraph(path)
    assert re.fullmatch(r"[^.!?].*?\.", sentence), f"{path} says nothing"
    assert not re.search(r"[.!?] ", sentence), f"one sentence is enough: {sentence}"


@pytest.mark.parametrize("room", [room for room in rooms() if room.path.count("/")], ids=lambda room: room.path)
def test_a_room_stands_on_the_page_with_its_sentence(room) -> None:
    top, _, name = room.path.partition("/")
    section = HOUSE.read_text(encoding="utf-8").partition(f"\n### {top}/\n")[2].partition("\n### ")[0]
    assert f"| `{name}` | {room.sentence}" in section


def test_what_the_page_names_is_there() -> None:
    page = re.sub(r"```.*?```", "", HOUSE.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(
        re.findall(r"`((?:flows|services|registry|examples|sluicegate|tests|docs|benchmarks|\.ci)/[\w/.]*)`", page)
    )
    assert len(named) > 30
    assert not {name for name in named if not ((ROOT / name).exists() or (ROOT / f"{name}.py").exists())}


def test_a_file_of_a_room_that_a_document_names_is_there() -> None:
    """Such as `flows/stages/tick.py`, in any Markdown page."""
    named = {
        (str(page.relative_to(ROOT)), name)
        for page in files("*.md")
        for name in re.findall(rf"`((?:{'|'.join(TOPS)})/[\w/]+\.py)`", page.read_text(encoding="utf-8"))
    }
    assert named
    assert not {(page, name) for page, name in named if not (ROOT / name).exists()}


def says_pure(path: Path) -> bool:
    return bool(re.search(r"\bpure\b(?! but for| as seen from outside)", first_paragraph(path), re.IGNORECASE))


def test_what_says_that_it_is_pure_stands_in_the_contract_and_the_other_way_round() -> None:
    assert {name_of(path) for path in modules() if says_pure(path)} == set(pure())


def test_nothing_names_a_room_by_its_bare_name() -> None:
    here = Path(__file__)
    bare = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in files()
        if path != here and path.suffix in {".py", ".md", ".yaml", ".toml", ".sh", ".ipynb", ".ini", ".mako", ""}
        for pattern in (BARE_IMPORT, BARE_RUN, BARE_MODULE)
        for found in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not bare, "the name is sluicegate.<room>"


@pytest.mark.parametrize(
    "text",
    [
        "from flows.stages.tick import tick",
        "import registry",
        "    import services.keeper",
        "python -m flows.wiring.processes keeper",
        '"-m", "flows.wiring.processes"',
        "entrypoint: flows.driver.watch.watch",
        "`registry.words.access_log` reads them",
    ],
)
def test_a_bare_name_is_seen(text: str) -> None:
    assert any(pattern.search(text) for pattern in (BARE_IMPORT, BARE_RUN, BARE_MODULE))


@pytest.mark.parametrize(
    "text",
    [
        "from sluicegate.flows.stages.tick import tick",
        "import sluicegate.registry",
        "python -m sluicegate.flows.wiring.processes keeper",
        "what is true belongs to the registry. The plan is such a thing",
        "services.values()",
        "flows/stages/tick.py",
        "from tests.unit.rollouts import examples",
    ],
)
def test_another_name_is_let_be(text: str) -> None:
    assert not any(pattern.search(text) for pattern in (BARE_IMPORT, BARE_RUN, BARE_MODULE))


def declared() -> set[str]:
    """The distributions that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    return {re.match(r"[\w.-]+", name).group().lower().replace("_", "-") for name in named}  # type: ignore[union-attr]


def taken_names() -> set[str]:
    """Rooms, the standard library, and what the declared dependencies claim at the top level."""
    ours = declared()
    theirs = {
        name
        for name, owners in packages_distributions().items()
        if ours & {owner.lower().replace("_", "-") for owner in owners}
    }
    return {*TOPS, "examples", "sluicegate", *sys.stdlib_module_names, *theirs} - {"tests", "docs"}


def names_of_modules() -> Iterator[tuple[str, Path]]:
    for path in files(*(f"{top}/*.py" for top in (*TOPS, "examples", "docs", "benchmarks", "tests"))):
        place = path.parent if path.name == "__init__.py" else path.with_suffix("")
        if place.parent != ROOT and path.name != "__main__.py":
            yield place.name, place.relative_to(ROOT)


def test_no_module_is_named_like_a_room_the_standard_library_or_a_dependency() -> None:
    """A folder of ours at the head of `sys.path`, as a script's is, would hide the real one: style.md 6.4."""
    taken = taken_names()
    assert not {str(place) for name, place in names_of_modules() if name in taken} - VENDORS.keys()


def test_every_module_says_what_it_is() -> None:
    assert not [str(path.relative_to(ROOT)) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
