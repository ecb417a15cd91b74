"""A writer in a process of its own: appends to r1 and says which seqs it was told are stored."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.errors import LedgerConflict


def main(url: str, name: str, last: int) -> None:
    ledger = SqlLedger(url)
    first = ledger.rollout("r1").seq + 1
    print("open", flush=True)
    sys.stdin.readline()
    for seq in range(first, last + 1):
        try:
            ledger.append("r1", seq, Packed(bento=name, bento_digest="b", model_digest="m"), datetime.now(UTC))
        except LedgerConflict:
            continue
        print(seq, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
