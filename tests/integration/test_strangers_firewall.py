"""The firewall rules of docs/how-to/run-on-several-hosts.md, on hosts that are network namespaces."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess

import pytest

from tests.integration.namespaces import Hosts, hosts
from tests.integration.test_run_on_several_hosts import block

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

GATEWAY, CALLER, STRANGER, OTHER = "gateway", "caller", "stranger", "other"
ADDRESS = {GATEWAY: "10.0.0.6", CALLER: "10.0.0.8", STRANGER: "10.0.0.66", OTHER: "10.0.0.67"}
PORT, LIMIT = 8443, 20


def opened(made: Hosts, host: str, many: int, held: contextlib.ExitStack) -> int:
    """How many of so many connections of a host are let in. They stay open."""
    let_in = 0
    with made.on(host):
        for _ in range(many):
            with contextlib.suppress(ConnectionRefusedError):
                held.enter_context(socket.create_connection((ADDRESS[GATEWAY], PORT), timeout=60))
                let_in += 1
    return let_in


def test_strangers_hold_few_connections_each_and_callers_as_many_as_they_need() -> None:
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed: the firewall rules were NOT tested")
    with hosts(ADDRESS) as made, contextlib.ExitStack() as held:
        rules = subprocess.run(
            [*made.within(GATEWAY), "nft", "-f", "-"], input=block("ct count"), capture_output=True, text=True
        )
        if "not supported" in rules.stderr or "not permitted" in rules.stderr:
            pytest.skip(f"this kernel has no such rules, they were NOT tested: {rules.stderr}")
        assert rules.returncode == 0, rules.stderr
        with made.on(GATEWAY):
            listener = held.enter_context(socket.create_server((ADDRESS[GATEWAY], PORT), backlog=1024))
        assert listener.fileno() >= 0
        assert opened(made, STRANGER, 3 * LIMIT, held) == LIMIT
        assert opened(made, CALLER, 3 * LIMIT, held) == 3 * LIMIT
        assert opened(made, OTHER, 1, held) == 1
