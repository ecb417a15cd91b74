"""A repository at one commit, by the git command: read as files, written to by pushing branches.

Credentials are git's own business: its helpers, ssh, or a URL that holds them. Nothing is asked at a terminal.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sluicegate.flows.sync.remembered import without_secret
from sluicegate.registry.words.errors import Unreachable, UsageError

SECONDS = 60.0
"""Time that one call of git may take as a whole."""
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"}
_AUTHOR = ("-c", "user.name=sluicegate", "-c", "user.email=sluicegate@localhost")


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The files of one commit, in a folder that is ours."""

    url: str
    folder: Path
    commit: str

    def has_branch(self, branch: str) -> bool:
        """Whether the repository has it now. Raises Unreachable."""
        return bool(self._git("ls-remote", "--heads", "--", self.url, f"refs/heads/{branch}").strip())

    def push(self, files: Mapping[Path, str], branch: str, message: str) -> None:
        """Put a commit with these texts, on top of this one, on a new branch. Raises Unreachable."""
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
    """The newest commit of a branch; gone afterwards. Raises UsageError, and Unreachable.

    Links are files with a path in them here, so that no document is read from outside of the repository.
    """
    if branch.startswith("-") or not branch:
        raise UsageError(f"{branch!r} is not the name of a branch.")
    with tempfile.TemporaryDirectory(prefix="sluice-git-") as folder:
        clone = ("clone", "--quiet", "--depth", "1", "--single-branch", "--branch", branch)
        _run(url, (*clone, "--config", "core.symlinks=false", "--", url, folder))
        commit = _run(url, ("-C", folder, "rev-parse", "HEAD")).strip()
        yield Checkout(url=url, folder=Path(folder).resolve(), commit=commit)


def _run(url: str, words: Sequence[str]) -> str:
    shown = without_secret(url)
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
        said = " ".join(" ".join(lines).replace(url, shown).split()) or f"exit code {done.returncode}"
        raise Unreachable(f"git cannot use {shown}: {said}", fix="check the URL, the branch and git's credentials")
    return done.stdout
