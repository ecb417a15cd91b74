"""Fail when a process of an installation, started after the process named, still runs; and end it."""

# ruff: noqa: INP001

from __future__ import annotations

import sys

import psutil

MARK = "SLUICE_STATE_TOKEN"


def main(since: float) -> int:
    """Zero when nothing is left."""
    left = [process for process in psutil.process_iter() if is_ours(process, since)]
    for process in left:
        sys.stderr.write(f"still running: {process.pid} {' '.join(process.cmdline())[:160]}\n")
        process.kill()
    return 1 if left else 0


def is_ours(process: psutil.Process, since: float) -> bool:
    """Whether it carries the mark of a state folder and is younger than `since`."""
    try:
        return process.create_time() >= since and MARK in process.environ()
    except (psutil.Error, OSError):
        return False


if __name__ == "__main__":
    raise SystemExit(main(psutil.Process(int(sys.argv[1])).create_time()))
