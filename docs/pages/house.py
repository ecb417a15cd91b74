"""docs/why/house.md, its middle: every room with its sentence, its files in order and what it may import, from the contracts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from docs.pages.contracts import PACKAGE, Room, forbidden, is_room, layers_of, pure, rooms
from docs.pages.tables import code, table

PAGE = Path(__file__).parents[1] / "why" / "house.md"
_BEGIN, _END = (
    "<!-- From here on written by `make docs`, from the contracts of pyproject.toml. -->\n",
    "<!-- So far. -->\n",
)
_ROOMS = {room.module: room for room in rooms()}


def page() -> str:
    """The page as it stands, with its middle written again."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{_middle()}\n{_END}{after}"


def _middle() -> str:
    return "\n".join((f"```mermaid\n{_picture()}\n```\n", *(_section(name) for name in _tops()), _forbidden()))


def _tops() -> list[str]:
    return [name for layer in layers_of(PACKAGE) for name in layer]


def _picture() -> str:
    """One box a layer, from above to below; a box may import every box below it."""
    lines = ["flowchart LR"]
    for top in _tops():
        layers = layers_of(f"{PACKAGE}.{top}")
        lines += [f'    subgraph {top}["{top}/"]', "        direction TB"]
        lines += [f'        {top}{place}["{"<br>".join(sorted(layer))}"]' for place, layer in enumerate(layers)]
        lines += [f"        {top}{above} --> {top}{below}" for above, below in pairwise(range(len(layers)))]
        lines += ["    end"]
    return "\n".join(lines + [f"    {above} --> {below}" for above, below in pairwise(_tops())])


def _section(top: str) -> str:
    [whole, *inner] = [room for room in rooms() if room.path.split("/")[0] == top]
    rows = [(code(room.path.removeprefix(f"{top}/")), _content(room), _imports(room)) for room in inner]
    return f"### {top}/\n\n{whole.sentence}\n\n{table(('room', 'what is in it, and its files in order', 'may import'), rows)}"


def _content(room: Room) -> str:
    return room.sentence + (f"<br>{_order(room)}" if room.layers else "")


def _order(room: Room) -> str:
    return " › ".join(", ".join(_file(room, name) for name in sorted(layer)) for layer in room.layers)


def _file(room: Room, name: str) -> str:
    module = f"{room.module}.{name}"
    return code(f"{name}/") if is_room(module) else code(name) + "°" * (module in pure())


def _imports(room: Room) -> str:
    """What its place allows, without what a contract forbids all the same."""
    top, *outer = room.path.split("/")[:-1]
    beside = [name for name in room.siblings if f"{room.container}.{name}" not in room.never]
    if outer:
        around = _ROOMS[room.container]
        may = [f"what `{'/'.join(outer)}` may", *map(code, beside)]
        never = [name for name in room.never if name not in around.never]
    else:
        lower = _tops()[_tops().index(top) + 1 :]
        may = [code(name) for name in beside] + [
            code(f"{name}/") for name in lower if f"{PACKAGE}.{name}" not in room.never
        ]
        never = list(room.never)
    but = f" except {', '.join(map(_path, room.exceptions))}" if room.exceptions else ""
    return (", ".join(may) or "nothing of ours") + but + (f"; never {', '.join(map(_path, never))}" if never else "")


def _forbidden() -> str:
    rows = [
        ("Pure files (°) have no store, no vendor, no network, no clock, no chance" if it.sources == pure() else it.name,
         "every file with °" if it.sources == pure() else _by_room(it.sources),
         ", ".join(map(_path, it.modules)))
        for it in forbidden()
    ]  # fmt: skip
    return f"### Besides the order\n\n{table(('rule', 'holds for', 'never imports'), rows)}"


def _by_room(modules: tuple[str, ...]) -> str:
    return ", ".join(_path(module) for module in modules)


def _path(module: str) -> str:
    """A module of ours as it lies in the repository, a room with its slash; another package by its name."""
    if not module.startswith(f"{PACKAGE}."):
        return code(module)
    return code(module.removeprefix(f"{PACKAGE}.").replace(".", "/") + "/" * is_room(module))
