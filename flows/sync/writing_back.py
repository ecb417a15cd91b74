"""Writing back: pushes the build that serves to a branch, so that Git does not stay wrong about production."""

from __future__ import annotations

import re
from pathlib import Path

from sluicegate.flows.sync.merging import Departure
from sluicegate.flows.sync.repository import Checkout
from sluicegate.registry.documents.documents import ReadDocument
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import UsageError

_SCALAR = re.compile(r"""("[^"]*"|'[^']*'|[^\s,}#]+)""")


def write_back(checkout: Checkout, departure: Departure) -> str | None:
    """Push a branch on which the deployment names the build that serves. Returns the branch, or None if it exists."""
    branch, build = f"sluice/{departure.rollout.id}", departure.serves
    title = f"{departure.document.name} serves v{build}"
    message = f"{title}\n\n{departure.rollout.reason}\n\nRollout: {departure.rollout.id}"
    return propose(checkout, departure.document, build, branch, message)


def hand_on(checkout: Checkout, document: ReadDocument, rollout: Rollout, environment: str) -> str | None:
    """Push a branch on which a deployment of the next environment names a build that was promoted here.

    The commit message gives the verdicts. Returns the branch, or None if it exists.
    """
    build = rollout.requested.version
    verdicts = (f"{name}: {each.answer}: {each.reason}" for name, each in rollout.judgements.items())
    message = "\n\n".join((
        f"{document.name} in {environment}: v{build}", f"It was promoted as {rollout.id}: {rollout.reason}", *verdicts,
    ))  # fmt: skip
    return propose(checkout, document, build, f"sluice/{environment}-{rollout.id}", message)


def propose(checkout: Checkout, document: ReadDocument, build: str, branch: str, message: str) -> str | None:
    """Push a branch on which a deployment names this build. Returns the branch, or None if it exists."""
    if checkout.has_branch(branch):
        return None
    file, text = _with_build(document, build)
    checkout.push({file: text}, branch, message)
    return branch


def _with_build(document: ReadDocument, build: str) -> tuple[Path, str]:
    """The file that names the deployment's build, and its text with the build replaced and nothing else changed."""
    source = document.text
    if source is None:
        raise UsageError(f"{document.name} is not written in {document.where}.")
    home = source.home(("build",))
    line, column = home.place(("build",), on_value=True)
    file = Path(home.where)
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    before, after = lines[line - 1][: column - 1], lines[line - 1][column - 1 :]
    lines[line - 1] = before + _SCALAR.sub(f'"{build}"', after, count=1)
    return file, "".join(lines)
