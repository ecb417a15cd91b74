"""Tables of Markdown, and the docstrings below fields, which Python itself does not keep."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Sequence
from types import ModuleType

NOTICE = "<!-- Written by `make docs`. Do not edit: change what it is written from. -->\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells are text on one line."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def code(text: object) -> str:
    """Inline code; nothing for nothing."""
    return f"`{text}`" if text not in (None, "") else ""


def anchor(heading: str) -> str:
    """The fragment by which GitHub links to a heading."""
    letters = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return letters.strip().replace(" ", "-")


def field_docs(kind: type) -> dict[str, str]:
    """The docstring below each field of a class, in the order of the fields; empty where there is none."""
    ours = [base for base in reversed(kind.__mro__) if base.__module__.startswith("sluicegate.")]
    docs = {name: meaning for base in ours for name, meaning in _own_field_docs(base).items()}
    return {name: meaning for name, meaning in docs.items() if name != "model_config"}


def _own_field_docs(kind: type) -> dict[str, str]:
    [body] = [node for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)]
    docs: dict[str, str] = {}
    last = ""
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            docs[last] = ""
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            last = node.targets[0].id
            docs[last] = ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last:
            docs[last] = inspect.cleandoc(str(node.value.value))
        else:
            last = ""
    return docs


def field_types(kind: type) -> dict[str, str]:
    """The annotation of each field of a class, as it is written."""
    ours = [base for base in reversed(kind.__mro__) if base.__module__.startswith("sluicegate.")]
    return {name: written for base in ours for name, written in _own_field_types(base).items()}


def _own_field_types(kind: type) -> dict[str, str]:
    [body] = [node for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)]
    fields = (node for node in body.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name))
    return {node.target.id: ast.unparse(node.annotation) for node in fields if isinstance(node.target, ast.Name)}


def fields(kind: type) -> str:
    """A table of a class's fields."""
    types, docs = field_types(kind), field_docs(kind)
    return table(
        ("field", "type", "meaning"), [(code(name), code(types[name]), meaning) for name, meaning in docs.items()]
    )


def summary(thing: type | ModuleType) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def _cell(cell: object) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|")
