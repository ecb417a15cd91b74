"""Resolve pyproject.toml into requirements.lock: hashes, no index, no URL; readable by uv and by old pips alike."""

# ruff: noqa: INP001

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path("requirements.lock")
COMPILE = (
    "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes",
    "--no-header", "--no-annotate", "--no-strip-extras", "--no-emit-index-url", "--no-emit-find-links",
    "--all-extras", "pyproject.toml", "--output-file", str(LOCK),
)  # fmt: skip


def with_bare_names(text: str) -> str:
    """Each `name[extra]==…` is preceded by `name==…`: pip 23, as in Debian 12, takes these for two requirements."""
    blocks = re.split(r"\n(?=[a-z0-9])", text.rstrip("\n"))
    doubled = [
        part for block in blocks for part in dict.fromkeys((re.sub(r"^([^\[\s]+)\[[^\]]*\]", r"\1", block), block))
    ]
    return "\n".join(doubled) + "\n"


def main() -> int:
    """Zero when the lock was written and names no place of this machine."""
    subprocess.run((sys.executable, "-m", *COMPILE, *sys.argv[1:]), check=True)
    LOCK.write_text(with_bare_names(LOCK.read_text()))
    return 1 if re.search(r"://|^--|^\s*#", LOCK.read_text(), re.MULTILINE) else 0


if __name__ == "__main__":
    raise SystemExit(main())
