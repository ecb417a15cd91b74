"""The import contracts of pyproject.toml, as the pages on the house tell them: the order of rooms and files, and what is forbidden."""

from __future__ import annotations

import ast
import inspect
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = "sluicegate"
PURE = "Pure modules"


@dataclass(frozen=True)
class Room:
    """A room, or a room inside it; or a file that stands among rooms."""

    path: str
    """As it lies in the repository: `registry/plan`."""
    sentence: str
    layers: tuple[tuple[str, ...], ...]
    """What stands in it, in order: what stands in one layer may import what stands in the later ones."""
    siblings: tuple[str, ...]
    """The rooms beside it that it may import."""
    never: tuple[str, ...]
    """What it may not import although its place would allow it: modules of ours and of others."""
    exceptions: tuple[str, ...]
    """Modules that it may import although `never` covers them."""

    @property
    def module(self) -> str:
        """Its name in Python."""
        return f"{PACKAGE}.{self.path.replace('/', '.')}"

    @property
    def container(self) -> str:
        """The package that it stands in."""
        return self.module.rpartition(".")[0]


@dataclass(frozen=True)
class Forbidden:
    """Imports that are forbidden whatever the order says."""

    name: str
    sources: tuple[str, ...]
    """Modules that may not import; what stands in a package is meant with it."""
    modules: tuple[str, ...]
    """Modules that may not be imported, of ours and of others."""
    exceptions: tuple[str, ...]
    """Modules among these that may be imported all the same."""


@cache
def rooms() -> tuple[Room, ...]:
    """Every room, each after the one that it stands in, from above to below."""
    return tuple(room for [name] in layers_of(PACKAGE) for room in _with_inner_rooms(name, PACKAGE))


def layers_of(container: str) -> tuple[tuple[str, ...], ...]:
    """The layers of a package, from above to below; none where no contract orders it."""
    for contract in _contracts():
        if contract["type"] == "layers" and container in contract["containers"]:
            return tuple(tuple(name.strip() for name in layer.split("|")) for layer in contract["layers"])
    return ()


def forbidden() -> tuple[Forbidden, ...]:
    """Every contract that forbids."""
    return tuple(
        Forbidden(
            name=it["name"],
            sources=tuple(it["source_modules"]),
            modules=tuple(it["forbidden_modules"]),
            exceptions=tuple(sorted({line.partition(" -> ")[2] for line in it.get("ignore_imports", ())})),
        )
        for it in _contracts()
        if it["type"] == "forbidden"
    )


def pure() -> tuple[str, ...]:
    """The modules in the contract of pure modules, by their full names."""
    [contract] = [contract for contract in forbidden() if contract.name.startswith(PURE)]
    return contract.sources


def first_paragraph(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(inspect.cleandoc(docstring).partition("\n\n")[0].split())


def source(module: str) -> Path:
    """The file of a module or package of ours."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _with_inner_rooms(name: str, container: str) -> list[Room]:
    module = f"{container}.{name}"
    layers = layers_of(module)
    room = Room(
        path="/".join(module.split(".")[1:]),
        sentence=first_paragraph(source(module)),
        layers=layers,
        siblings=_below(name, layers_of(container)),
        never=tuple(sorted({name for it in _covering(module) for name in it.modules})),
        exceptions=tuple(sorted({name for it in _covering(module) for name in it.exceptions})),
    )
    among_rooms = container == PACKAGE
    inner = [it for layer in layers for it in sorted(layer) if among_rooms or is_room(f"{module}.{it}")]
    return [room, *(descendant for it in inner for descendant in _with_inner_rooms(it, module))]


def is_room(module: str) -> bool:
    """Whether it is a folder."""
    return source(module).name == "__init__.py"


def _below(name: str, layers: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    [place] = [place for place, layer in enumerate(layers) if name in layer]
    return tuple(each for layer in layers[place + 1 :] for each in sorted(layer))


def _covering(module: str) -> list[Forbidden]:
    """The contracts that forbid something to a whole package."""
    return [it for it in forbidden() if not it.name.startswith(PURE) and _covers(it.sources, module)]


def _covers(sources: tuple[str, ...], module: str) -> bool:
    return any(f"{module}.".startswith(f"{source}.") for source in sources)


@cache
def _contracts() -> tuple[dict[str, Any], ...]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tuple(tomllib.load(file)["tool"]["importlinter"]["contracts"])
