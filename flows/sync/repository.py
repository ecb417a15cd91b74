"""A repository at one commit, through the git command: reads its files, and writes by pushing branches.

Git finds credentials by itself: helpers, ssh, or a URL that contains them. It never prompts at a terminal.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sluicegate.registry.words.errors import Unreachable, UsageError
from sluicegate.registry.words.urls import without_credentials

SECONDS = 60.0
"""Time limit of one call of git."""
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"}
_AUTHOR = ("-c", "user.name=sluicegate", "-c", "user.email=sluicegate@localhost")


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The files of one commit in a temporary folder."""

    url: str
    folder: Path
    commit: str

    def has_branch(self, branch: str) -> bool:
        """Whether the repository has this branch now. Raises Unreachable."""
        return bool(self._git("ls-remote", "--heads", "--", self.url, f"refs/heads/{branch}").strip())

    def push(self, files: Mapping[Path, str], branch: str, message: str) -> None:
        """Push a new branch with one commit on top of this one that writes these files. Raises Unreachable."""
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        try:
            self._git("add", "--", *(str(path) for path in files))
            self._git(*_AUTHOR, "commit", "--quiet", "--message", message)
            self._git("push", "--quiet", "--", self.url, f"HEAD:refs/heads/{branch}")
        finally:
            self._git("reset", "--hard", "--quiet", self.commit)

    def _git(self, *words: str) -> str:
        return _run(self.url, ("-C", str(self.folder), *words))


@contextmanager
def checkout(url: str, branch: str) -> Iterator[Checkout]:
    """Check out the newest commit of a branch during the block. Raises UsageError, Unreachable.

    Symbolic links become plain files that contain a path, so that no document is read from outside the repository.
    """
    if branch.startswith("-") or not branch:
        raise UsageError(f"{branch!r} is not the name of a branch.")
    with tempfile.TemporaryDirectory(prefix="sluice-git-") as folder:
        clone = ("clone", "--quiet", "--depth", "1", "--single-branch", "--branch", branch)
        _run(url, (*clone, "--config", "core.symlinks=false", "--", url, folder))
        commit = _run(url, ("-C", folder, "rev-parse", "HEAD")).strip()
        yield Checkout(url=url, folder=Path(folder).resolve(), commit=commit)


def _run(url: str, words: Sequence[str]) -> str:
    shown = without_credentials(url)
    try:
        done = subprocess.run(
            ("git", *words), env={**os.environ, **_ENVIRONMENT}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise UsageError("git is not installed here.", fix="install git: sync reads documents with it") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"git did not finish with {shown} within {SECONDS:g} s.") from None
    if done.returncode != 0:
        lines = (line for line in done.stderr.splitlines() if not line.startswith("warning:"))
        output = " ".join(" ".join(lines).replace(url, shown).split()) or f"exit code {done.returncode}"
        raise Unreachable(f"git cannot use {shown}: {output}", fix="check the URL, the branch and git's credentials")
    return done.stdout
