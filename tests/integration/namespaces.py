"""Hosts as network namespaces, each with an address of its own, on a bridge that is in a namespace of its own as well:
they may have any address, and nothing of this machine is reached or hidden."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Namespaces by name, and their addresses."""

    def __init__(self, address: Mapping[str, str]) -> None:
        self._tag, self.address = f"sl{secrets.token_hex(3)}", dict(address)

    def start(self) -> None:
        switch = self.space("switch")
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for name, address in self.address.items():
            space = self.space(name)
            ip("netns", "add", space)
            ip("-n", switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", switch, "link", "set", name, "master", "bridge", "up")
            ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            for each in ("lo", "eth0"):
                ip("-n", space, "link", "set", each, "up")

    def end(self) -> None:
        for name in ("switch", *self.address):
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", self.space(name))

    def space(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def within(self, name: str) -> tuple[str, ...]:
        """Begins a command that runs on this host."""
        return ("ip", "netns", "exec", self.space(name))

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """This thread, and what it starts, are on this host meanwhile."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(os.open(Path("/run/netns") / self.space(name), os.O_RDONLY))
            try:
                yield
            finally:
                _enter(os.dup(own))
        finally:
            os.close(own)

    def cut(self, name: str) -> None:
        self._link(name, "down")

    def mend(self, name: str) -> None:
        self._link(name, "up")

    def _link(self, name: str, state: str) -> None:
        ip("-n", self.space("switch"), "link", "set", name, state)


def _enter(space: int) -> None:
    try:
        if _libc.setns(space, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
    finally:
        os.close(space)


@contextmanager
def hosts(address: Mapping[str, str]) -> Iterator[Hosts]:
    """Hosts with these addresses. Without namespaces the test is skipped, and says so."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2: several hosts were NOT tested")
    made = Hosts(address)
    try:
        made.start()
    except subprocess.CalledProcessError as error:
        made.end()
        pytest.skip(f"no network namespaces here, several hosts were NOT tested: {error.stderr.decode()}")
    try:
        yield made
    finally:
        made.end()
