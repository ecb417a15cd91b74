"""docs/reference: facts.md, errors.md and settings.md, from the registry."""

from __future__ import annotations

import inspect

from docs.pages.tables import NOTICE, code, field_docs, field_types, summary, table
from sluicegate.registry.rollout.facts import FACTS
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words import errors
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.obstacle import FIXES, Obstacle
from sluicegate.registry.words.settings import SETTINGS
from sluicegate.services.console.api import problem

_ENDINGS = {
    Ending.PROMOTED: "The candidate is stable. This ending comes after the bake, during which it has all traffic already.",
    Ending.ESTABLISHED: "The first build of an empty variation has all its traffic.",
    Ending.ABORTED: "Stable has all traffic: a gate or guardrail failed, a deadline passed, or somebody aborted it.",
    Ending.CONCLUDED: "It ended, and the stable build did not change.",
    Ending.FAILED: "The candidate could not be packed or started. It had no traffic.",
    Ending.SUPERSEDED: "A newer candidate took its place.",
}


def facts_page() -> str:
    """Phases, endings, and every fact with its fields."""
    phases = [(code(phase.value), field_docs(Phase)[phase.name] or "It is over.") for phase in Phase]
    endings = [(code(ending.value), _ENDINGS[ending]) for ending in Ending]
    head = (
        f"{NOTICE}\n# Facts\n\n"
        "A rollout's record is its facts: entries `(rollout, seq, at, fact, fields)` of the ledger, in the past tense, never "
        "changed. `sluice rollout history ID` tells them in sentences, and lists them with `-o json`; "
        "[states](rollout-states.md) says where each is possible.\n\n"
        f"{table(('phase', 'meaning'), phases)}\n{table(('ending', 'meaning'), endings)}"
    )
    parts = [head]
    for name, kind in FACTS.items():
        rows = [(code(field), code(field_types(kind)[field]), meaning) for field, meaning in field_docs(kind).items()]
        parts.append(f"## {name}\n\n{summary(kind)}\n\n{table(('field', 'type', 'meaning'), rows)}")
    return "\n".join(parts)


def errors_page() -> str:
    """The tree, and what each error is to a shell and to HTTP."""
    tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].rpartition("\n\n")[0]
    rows = [(kind.__name__, kind.exit_code, problem(_example(kind)).status_code, summary(kind)) for kind in kinds()]
    obstacles = [(code(each.value), field_docs(Obstacle)[each.name], FIXES[each]) for each in Obstacle]
    return f"""{NOTICE}
# Errors

Every error says what is wrong, where and why, and what to do. On the command line it is one line and its fix; over
HTTP an RFC 9457 problem: `title` (the class), `detail`, `status`, `fix`, and for documents `errors`.

```text
{inspect.cleandoc(tree)}
```

{table(("error", "exit code", "HTTP status", "means"), rows)}
## Why no driver is at work

A Prefect run drives each rollout. If none can be made, or its pod does not run, `sluice rollout show`, `sluice explain`, the console and the
keeper's log say so: why, since when, and what to do. Guardrails, aborts and pauses work meanwhile.

{table(("obstacle", "means", "what to do"), obstacles)}"""


def settings_page() -> str:
    """Every environment variable."""
    rows = [(code(each.name), code(each.default) or "not set", each.help) for each in SETTINGS]
    return f"""{NOTICE}
# Settings

A process reads its settings from the environment when it starts. `sluice env` prints those that other tools need. A value that
cannot be used is an error that names the variable and says what to write. What `sluice up` was given it hands on to
the processes that it starts: after a change, `sluice up` again.

{table(("variable", "default", "meaning"), rows)}
Besides: `SLUICE_DEBUG`, when set to anything, shows the traceback of an error on the command line.
"""


def kinds() -> list[type[SluiceError]]:
    """Every error, each after its parent."""
    classes = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, SluiceError)]
    return sorted(classes, key=lambda kind: [each.__name__ for each in reversed(kind.__mro__)])


def _example(kind: type[SluiceError]) -> SluiceError:
    return errors.InvalidDocument(()) if kind is errors.InvalidDocument else kind("")
