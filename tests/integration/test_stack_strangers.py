"""Another user of the machine at every listener of a whole stack: nothing can be had, and nothing be done."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.integration.stack_rig import MODEL, Stack, serving_stack

STRANGER = 65534
pytestmark = [
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user"),
]

AS_A_STRANGER = r"""
import http.client, json, os, socket, sys
asked = json.load(sys.stdin)
assert os.getuid() == os.geteuid() == 65534
answers = {"tcp": [], "unix": [], "greets": [], "files": [], "environ": []}
for port in asked["ports"]:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            link.settimeout(1)
            answers["greets"].append([port, link.recv(64).hex()])  # ZeroMQ speaks first; HTTP does not
    except (TimeoutError, ConnectionError):
        pass
    for method, path, body in asked["requests"]:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            link.request(method, path, body, {"content-type": "application/json"} if body else {})
            answers["tcp"].append([port, method, path, link.getresponse().status])
        except (OSError, http.client.HTTPException) as error:
            answers["tcp"].append([port, method, path, type(error).__name__])
        finally:
            link.close()
for name in asked["sockets"]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as link:
            try:
                link.connect("\0" + name[1:] if name.startswith("@") else name)
                answers["unix"].append(name)
            except OSError:
                pass
for name in asked["files"]:
    try:
        os.close(os.open(name, os.O_RDONLY))
        answers["files"].append(name)
    except OSError:
        pass
for pid in asked["pids"]:
    try:
        answers["environ"].append([pid, bool(open(f"/proc/{pid}/environ").read())])
    except OSError:
        pass
print(json.dumps(answers))
"""

REQUESTS = [
    *(("GET", path, None) for path in (
        "/", "/metrics", "/stats", "/config_dump", "/counts", "/api/v1/rollouts", "/api/v1/tokens", "/api/v1/events",
        "/api/v1/openapi.json", "/api/2.0/mlflow/experiments/search?max_results=5",
        "/ajax-api/2.0/mlflow/users/current", "/api/admin/settings", "/api/work_pools/sluice", "/docs.json",
        "/schema.json", "/readyz", "/-/ready",
    )),
    *(("POST", path, "{}") for path in (
        "/quitquitquit", "/healthcheck/fail", "/reopen_logs", "/RPC2", "/outcomes", "/api/v1/outcomes", "/login",
        "/api/v1/rollouts", f"/api/v1/rollouts/{MODEL}/abort", f"/api/v1/models/{MODEL}/deploy", "/api/v1/tokens",
        "/webhooks/mlflow", "/predict", "/invocations", "/api/2.0/mlflow/registered-models/create", "/graphql",
        "/api/2.0/mlflow/users/create", "/ajax-api/3.0/jobs/", "/api/flows/", "/api/flow_runs/filter",
        "/api/deployments/filter", "/api/admin/database/clear", "/api/work_pools/sluice/get_scheduled_flow_runs",
    )),
]  # fmt: skip
OPEN_PAGES = {"/", "/-/ready"}
"""Read without a credential: a page that is filled by calls which ask for one, and whether the gateway is up."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        yield running


@pytest.fixture(scope="module")
def processes(stack: Stack) -> list[psutil.Process]:
    roots = {process.pid: process for process in stack.processes()}
    roots |= {each["pid"]: psutil.Process(each["pid"]) for each in stack.ask("status")["programs"]}
    whole = dict(roots)
    for root in roots.values():
        with suppress(psutil.NoSuchProcess):
            whole |= {child.pid: child for child in root.children(recursive=True)}
    return list(whole.values())


@pytest.fixture(scope="module")
def tried(stack: Stack, processes: list[psutil.Process]) -> dict[str, Any]:
    """What a stranger got at every listener of every process."""
    connections, files = [], set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # short-lived ones, such as a flow run that has ended
            connections += process.net_connections(kind="all")
            files |= {each.path for each in process.open_files()}
    asked = {
        "ports": sorted({each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}),
        "sockets": sorted({str(each.laddr) for each in connections if each.family == socket.AF_UNIX and each.laddr}),
        "files": sorted({*files, *(str(path) for path in stack.state.rglob("*"))}),
        "pids": [process.pid for process in processes],
        "requests": REQUESTS,
    }
    assert len(asked["sockets"]) >= 4, "supervisor, Envoy's admin, its second listener, the service"
    assert len(asked["ports"]) >= 4, "console, gateway, MLflow, Prefect"
    done = subprocess.run(
        [str(shutil.which("python3", path="/usr/local/bin:/usr/bin")), "-I", "-c", AS_A_STRANGER],
        input=json.dumps(asked), cwd="/", user=STRANGER, group=STRANGER, extra_groups=[], env={},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)) | {"connections": connections}


def test_no_call_of_a_stranger_is_carried_out(tried: dict[str, Any]) -> None:
    carried_out = [
        (port, method, path, status)
        for port, method, path, status in tried["tcp"]
        if isinstance(status, int) and status < 300 and path not in OPEN_PAGES
    ]
    assert not carried_out
    assert not tried["greets"], "no port speaks the protocol of a process arbiter"


def test_no_socket_can_be_opened(tried: dict[str, Any]) -> None:
    assert not tried["unix"]
    datagrams = [each for each in tried["connections"] if each.type == socket.SOCK_DGRAM]
    assert all(each.family == socket.AF_UNIX for each in datagrams)


def test_no_file_of_the_installation_can_be_read(stack: Stack, tried: dict[str, Any]) -> None:
    temporary = (str(stack.state), "/tmp/", "/var/tmp/", "/dev/shm/")
    assert not [name for name in tried["files"] if name.startswith(temporary)]


def test_no_secret_stands_in_a_command_line_or_in_a_readable_environment(
    stack: Stack, processes: list[psutil.Process], tried: dict[str, Any]
) -> None:
    secrets = [path.read_text().strip() for path in (stack.state / "secrets").iterdir() if path.is_file()]
    assert len(secrets) >= 6
    commands = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            commands.append(" ".join(process.cmdline()))
    assert not [command for command in commands if any(secret in command for secret in secrets)]
    assert not tried["environ"]
