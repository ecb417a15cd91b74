"""docs/reference/documents.md: every key of the documents beside plans, from the classes that read them."""

from __future__ import annotations

import sys
from typing import Any

from docs.pages.plan import default_of, type_of
from docs.pages.tables import NOTICE, anchor, code, field_docs, summary, table
from sluicegate.registry.documents.documents import KINDS

_HEAD = """\
# Documents

What `sluice apply` takes beside [plans](plan.md), by its `kind`. `sluice validate -f FILE` checks a document, and `sluice schema KIND` prints the JSON Schema of
its kind for editors. An unknown key is an error with its place and a suggestion. The conditions of an audience are described in
[how to send audiences to variations](../how-to/send-audiences-to-variations.md). [How to keep documents in Git](../how-to/keep-documents-in-git.md).
"""
_TITLES = {
    "Window": "Window of a freeze",
    "Route": "Audience of connections",
    "deployment": "Build of a variation",
    "variation": "Terms of a variation",
}


def page() -> str:
    """The whole page."""
    return "\n".join(
        (NOTICE, _HEAD, *(_kind(name, kind.form) for name, kind in KINDS.items() if kind.form and name != "plan"))
    )


def _kind(name: str, form: type) -> str:
    schema = KINDS[name].schema()
    parts = {key: part for key, part in schema.get("$defs", {}).items() if "properties" in part}
    inner = [
        _section(_title(key), getattr(sys.modules[form.__module__], key), part, schema) for key, part in parts.items()
    ]
    return "\n".join((_section(_title(name), form, schema, schema), *inner))


def _section(title: str, form: type, part: dict[str, Any], schema: dict[str, Any]) -> str:
    docs, required = field_docs(form), set(part.get("required", ()))
    rows = [
        (
            code(key),
            _type(value, schema),
            "required" if key in required else default_of(value),
            docs.get(key) or docs[f"{key}_"],
        )
        for key, value in part["properties"].items()
    ]
    return f"## {title}\n\n{summary(form)}\n\n" + table(("key", "type", "default", "meaning"), rows)


def _type(value: dict[str, Any], schema: dict[str, Any]) -> str:
    ref = value.get("$ref") or value.get("items", {}).get("$ref")
    if ref is None:
        return type_of(value)
    name = ref.rpartition("/")[2]
    part = schema["$defs"][name]
    if "enum" in part:
        return type_of(part)
    return f"list of [{_title(name).lower()}](#{anchor(_title(name))})"


def _title(name: str) -> str:
    return _TITLES.get(name, name.capitalize())
