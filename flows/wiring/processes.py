"""The long-lived processes: `python -m sluicegate.flows.wiring.processes keeper | collector | console`."""

from __future__ import annotations

import sys

from sluicegate.flows.wiring.loops import log_plainly, run_process


def keeper() -> None:
    """Make the world follow the ledger until stopped."""
    from sluicegate.flows.wiring import keeper_process

    keeper_process.run()


def collector() -> None:
    """Turn Envoy's access logs into tallies until stopped."""
    from sluicegate.flows.wiring import collector_process

    collector_process.run()


def console() -> None:
    """Serve the API, the pages and the intakes until stopped."""
    from sluicegate.flows.wiring import console_process

    console_process.run()


PROCESSES = {"keeper": keeper, "collector": collector, "console": console}

if __name__ == "__main__":
    log_plainly()
    run_process(PROCESSES[sys.argv[1]])
