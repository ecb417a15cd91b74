"""gate replay: judge recorded or synthetic data, or a rollout's own record, without a running system."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def replay(
    file: Annotated[Path | None, Parameter(help="JSON lines; standard input when left out.")] = None,
    /,
    *,
    rollout: Annotated[str | None, Parameter(help="Judge this rollout's recorded looks again instead.")] = None,
) -> int:
    """JSON lines in, one verdict per look out. With --rollout: exit code 1 when a recorded verdict differs."""
    if rollout is not None:
        return _rollout(rollout)
    from flows.replay import replay as answers

    with file.open(encoding="utf-8") if file is not None else sys.stdin as lines:
        for answer in answers(lines):
            print(answer, flush=True)
    return 0


def _rollout(rollout: str) -> int:
    from flows.rejudge import is_same, rejudge
    from flows.wiring import parts

    ledger = parts().ledger
    lines = rejudge(ledger.rollout(rollout).plan, lambda metric: ledger.looks(rollout, metric))
    same = True
    for line in lines:
        print(line)
        same = same and is_same(line)
    return 0 if same else 1
