"""docs/reference/cli.md: every command with its help, as cyclopts has it, and what its docstring adds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from cyclopts import App

from docs.pages.tables import NOTICE, anchor, table
from sluicegate.flows.cli.app import app

_CODES = (
    (0, "Done. With `--watch`: promoted, or ended without changing what is trusted (`concluded`)."),
    (1, "Failed: the act could not be done, or what was watched `failed` or was `superseded`."),
    (2, "Bad usage, setting or document; every problem of a document is listed."),
    (3, "Aborted: by a gate, a guardrail, a deadline or a person."),
    (4, "Paused: waits for a person."),
    (5, "Timed out; what was begun goes on."),
    (6, "The control plane cannot be reached. `sluice status` exits with it when nothing runs."),
    (130, "Interrupted by Ctrl-C, or the reader of the output left."),
)


def page() -> str:
    """The whole page."""
    sections = _sections()
    listed = "\n".join(f"- [`{name}`](#{anchor(name)}): {sub.help}" for name, sub in commands() if not _is_group(sub))
    head = (
        f"{NOTICE}\n# Command line\n\n{app.help}\n\n"
        "Data goes to standard output, messages to standard error. `-o json` and `-o yaml` give the data to programs. "
        "An error is one line and its fix; `SLUICE_DEBUG=1` adds the traceback.\n\n"
        "A command asks the console's API where one answers (`SLUICE_API` and `SLUICE_TOKEN`, or what `sluice up` "
        "recorded), else it does the same on the ledger itself. So an abort needs no console.\n\n"
        f"{listed}\n\n## Exit codes\n\n{table(('code', 'meaning'), _CODES)}"
    )
    described = (_section(name, sub, sections[name]) for name, sub in commands())
    return "\n".join(part.rstrip() + "\n" for part in (head, *described))


def commands(parent: App = app, prefix: str = "sluice") -> Iterator[tuple[str, App]]:
    """Every group and command by its full name, in order of name."""
    for name in sorted(name for name in parent if not name.startswith("-")):
        sub = parent[name]
        full = f"{prefix} {name}"
        yield full, sub
        yield from commands(sub, full)


def _is_group(sub: App) -> bool:
    return sub.default_command is None


def _sections() -> dict[str, str]:
    """What cyclopts writes about each group and command, without its heading."""
    pieces = re.split(r"^#{2,3} (sluice [^\n]+)\n", app.generate_docs(), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def _section(name: str, sub: App, written: str) -> str:
    """Usage, help, what the docstring says beyond the help, and the options."""
    if _is_group(sub):
        return f"## {name}\n\n{sub.help}\n"
    docstring = inspect.cleandoc(sub.default_command.__doc__ or "")
    head, parameters, options = written.strip().partition("**Parameters**")
    if docstring and docstring.rstrip(".") not in head:
        head = head.replace(sub.help, docstring)
    return f"## {name}\n\n{head.strip()}\n\n{parameters}{options}"
