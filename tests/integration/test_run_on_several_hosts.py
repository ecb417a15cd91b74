"""docs/how-to/run-on-several-hosts.md word by word: its commands, read from the page, on hosts that are network
namespaces. Then rollouts across them, while hosts are cut off, hang, lose power and come back. `-s`: figures.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from sluicegate.flows.wiring.runtime import Runtime, now
from sluicegate.registry.ledger.keeper_notes import gateway_states
from sluicegate.registry.words.access_log import LogLine, parse
from sluicegate.registry.words.settings import Settings
from sluicegate.services.telemetry.store import schema
from tests.clean_environment import clean_environment
from tests.integration.namespaces import Hosts, hosts
from tests.integration.registering import Registrar
from tests.integration.stack_rig import Stack
from tests.integration.traffic_rig import eventually

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-on-several-hosts.md"
LOAD = Path(__file__).with_name("hosts_load.py")
FIRST, LAPTOP, EDGES = "first", "laptop", ("edge-1", "edge-2")
ADDRESS = {FIRST: "10.0.0.5", "edge-1": "10.0.0.6", "edge-2": "10.0.0.7", LAPTOP: "10.0.0.8"}
GATEWAYS = (FIRST, *EDGES)
MODEL, ROW = "delays", '{"distance": 500.0}'
CALLERS, PAUSE = 2, 0.1
PATIENCE = 600.0
URLS = re.compile(r"^([a-z]+(?: [a-z]+)*) +(https?://\S+)$", re.MULTILINE)


def block(part: str) -> str:
    """The block of code of the page that has this in it."""
    (found,) = [each for each in re.findall(r"```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL) if part in each]
    return str(found)


def exports(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith("export "))


COMMANDS = exports(block("sluice rollout list"))
"""What commands of another host begin with."""


class Load:
    """Callers of one gateway, by the client and the variables that the page has them set."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def now(self) -> dict[str, Any]:
        """What they got so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def end(self) -> dict[str, Any]:
        told, _ = self._process.communicate("", timeout=60)
        return dict(json.loads(told))


class Installation:
    """The hosts of the page."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self.folder, self.stack = hosts, folder, Stack(folder / FIRST)
        self.registrar = Registrar(self.stack.python)
        self.runtime = Runtime(Settings.read({"SLUICE_STATE": str(self.stack.state)}), now)
        self.joined: dict[str, subprocess.Popen[bytes]] = {}
        self._loads: dict[str, Load] = {}
        self.answered = {name: Counter[str]() for name in GATEWAYS}
        """By gateway, answers that callers got of each build."""
        self.failed = {name: list[tuple[float, str]]() for name in GATEWAYS}
        """By gateway, when requests came to nothing, and how."""
        self._ports: dict[str, str] = {}
        """As the page has them, and as they are here: they follow from the state folder."""
        self._tokens: dict[str, str] = {}

    def up(self) -> None:
        """The first host, as the page begins."""
        printed = self.type(FIRST, block("sluice up"))
        urls, written = (dict(URLS.findall(text)) for text in (printed, block("gateway for others")))
        assert [*urls][: len(written)] == [*written]
        self._ports = {url.rpartition(":")[2]: urls[name].rpartition(":")[2] for name, url in written.items()}
        self._tokens = {LAPTOP: printed.split()[-1], "callers": self.stack.clients()["SLUICE_GATEWAY_TOKEN"]}
        for name in (*EDGES, LAPTOP):
            self._copy(FIRST, "tls/ca.pem", name, "ca.pem")

    def join(self) -> None:
        """The gateways of the other hosts."""
        self._tokens |= dict(zip(EDGES, self.type(FIRST, block("--role gateway")).split(), strict=True))
        for name in EDGES:
            self.start(name)
        self.wait_for(dict.fromkeys(EDGES, "confirmed"))
        for name in EDGES:
            self._copy(name, "joined/tls/ca.pem", LAPTOP, f"{name}.pem")

    def start(self, edge: str) -> None:
        text = block("sluice gateway --port").replace("sluice gateway", "exec sluice gateway")
        with (self.folder / f"{edge}.log").open("ab") as log:
            self.joined[edge] = self.run(edge, text, edge, stdout=log, stderr=log, start_new_session=True)

    def register(self) -> str:
        known = self.stack.env | self.stack.clients()
        return self.registrar.register(MODEL, 0.0, known, self.stack.state, ["distance"])

    def type(self, host: str, text: str, *, code: int = 0, about: str = "") -> str:
        """Type this on a host; what is printed."""
        done = self.run(host, text, about, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        told, remarks = done.communicate(timeout=PATIENCE)
        assert done.returncode == code, f"{text}\n-> {done.returncode}\n{told}\n{remarks}"
        return str(told)

    def load(self, gateway: str) -> None:
        """Have callers ask a gateway; those of edge-2 are on its own host, so a cut does not part them from it."""
        host = gateway if gateway == "edge-2" else LAPTOP
        if host != LAPTOP:
            self._copy(LAPTOP, f"{gateway}.pem", host, f"{gateway}.pem")
        text = COMMANDS if gateway == FIRST else exports(block("edge-1.pem"))
        words = f"exec {sys.executable} {LOAD} {MODEL} '{ROW}' {CALLERS} {PAUSE}"
        process = self.run(host, f"{text}{words}", gateway, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._loads[gateway] = Load(process)

    def seen(self, gateway: str) -> dict[str, Any]:
        """What its callers got so far."""
        return self._loads[gateway].now()

    def end_load(self, gateway: str) -> dict[str, Any]:
        got = self._loads.pop(gateway).end()
        self.answered[gateway].update(got["builds"])
        self.failed[gateway] += [(at, how) for at, how in got["failed"]]
        return got

    def states(self) -> dict[str, str]:
        """What the keeper knows of each gateway."""
        return {each.name: each.confirmation.value for each in gateway_states(self.runtime.ledger).noted}

    def wait_for(self, wanted: dict[str, str]) -> None:
        """Wait until these gateways are so."""
        eventually(lambda: wanted.items() <= self.states().items(), seconds=PATIENCE)

    def all_answer(self, build: str) -> bool:
        return all(load.now()["builds"].get(build) for load in self._loads.values())

    def serves_stable_only(self, edge: str) -> bool:
        envoy = self.folder / edge / "joined" / "envoy"
        return (envoy / "rds.json").read_text() == (envoy / "unwatched.json").read_text()

    def lose_power(self, edge: str) -> None:
        """Kill every process there at once."""
        for process in self._processes(self.folder / edge):
            process.kill()
        self.joined[edge].kill()
        self.joined[edge].wait()

    def lines(self, gateway: str) -> list[LogLine]:
        """The requests in a gateway's log, on its host."""
        logs = self.folder / gateway / ("joined" if gateway in EDGES else "") / "envoy" / "logs"
        return [parse(line) for path in logs.glob("live*.jsonl") for line in path.read_bytes().splitlines()]

    def counted(self, gateway: str) -> int:
        """Lines of its log that the first host has counted."""
        state, table = self.folder / FIRST, schema.logs
        logs = (state / "gateways" / gateway if gateway in EDGES else state / "envoy") / "logs"
        lines = sa.select(table.c.lines).where(table.c.log == str(logs / "live.jsonl"))
        with self.runtime.store.read() as connection:
            return connection.scalar(lines) or 0

    def end(self) -> None:
        """Leave nothing running, and say what the gateways logged: pytest shows it when a test fails."""
        for process in (*self.joined.values(), *(load._process for load in self._loads.values())):
            process.kill()
            process.wait()
        self.registrar.end()
        for name in EDGES:
            with suppress(OSError):
                print(f"{name}:\n{(self.folder / f'{name}.log').read_text()}")
        self.stack.run("down", code=None)
        for process in self._processes(self.folder):
            process.kill()

    @staticmethod
    def _processes(folder: Path) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(folder) in " ".join((*process.cmdline(), process.environ().get("SLUICE_STATE", ""))):
                    found.append(process)
        return found

    def _copy(self, source: str, path: str, to: str, name: str) -> None:
        (self.folder / to).mkdir(exist_ok=True)
        shutil.copy(self.folder / source / path, self.folder / to / name)

    def run(self, host: str, typed: str, about: str, **more: Any) -> subprocess.Popen[Any]:
        """Type this on a host; `about`: which gateway the page's edge-1 stands for."""
        (self.folder / host).mkdir(exist_ok=True)
        token, callers = (self._tokens.get(each, "") for each in (host, "callers"))
        here = self._ports | {
            " SLUICE_TOKEN=…": f" SLUICE_TOKEN={token}", "SLUICE_GATEWAY_TOKEN=…": f"SLUICE_GATEWAY_TOKEN={callers}",
            "/etc/sluice/ca.pem": "ca.pem",
        }  # fmt: skip
        if about == "edge-2":
            here |= {ADDRESS["edge-1"]: ADDRESS["edge-2"], "edge-1": "edge-2"}
        for written, meant in here.items():
            typed = typed.replace(written, meant)
        assert "…" not in typed, typed
        environment = clean_environment() | {"SLUICE_STATE": str(self.folder / host)}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        within = () if host == FIRST else self.hosts.within(host)
        return subprocess.Popen([*within, "bash", "-ec", typed], env=environment, cwd=self.folder / host, **more)


@pytest.fixture(scope="module")
def whole() -> Iterator[Installation]:
    """Three hosts from nothing, as the page has it, and a laptop that gives the commands."""
    with hosts(ADDRESS) as made, made.on(FIRST), tempfile.TemporaryDirectory(prefix="sluice-", dir="/tmp") as folder:
        installation = Installation(made, Path(folder))
        try:
            installation.up()
            (installation.folder / LAPTOP / "delays.yaml").write_text(block("kind: plan"))
            assert [installation.register() for _ in range(3)] == ["1", "2", "3"]
            listed = installation.type(LAPTOP, block("sluice rollout list"))
            installation.answered[FIRST]["1"] += 1
            assert "established" in listed
            installation.join()
            for name in EDGES:
                installation.type(LAPTOP, block("edge-1.pem"), about=name)
                installation.answered[name]["1"] += 1
            yield installation
        finally:
            installation.end()


def start(whole: Installation, candidate: str) -> tuple[str, subprocess.Popen[Any]]:
    """Type the page's command, for this build; the rollout, once its first weight is in force, with load on all, and
    the command, which watches it."""
    typed = COMMANDS + block("rollout start").replace("--build 2", f"--build {candidate}")
    watching = whole.run(LAPTOP, typed, "", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    known = eventually(
        lambda: [each.id for each in whole.runtime.ledger.current() if each.candidate.version == candidate]
    )
    (rollout,) = known
    whole.stack.until(rollout, lambda view: view["weight"] == 20 and view["observed"], PATIENCE)
    for name in GATEWAYS:
        whole.load(name)
    eventually(lambda: whole.all_answer(candidate), seconds=PATIENCE)
    return rollout, watching


def end_loads(whole: Installation) -> dict[str, dict[str, Any]]:
    """Once each gateway has answered somebody from now on."""
    began = time.time()

    def answers(gateway: str) -> bool:
        return max(whole.seen(gateway)["last"].values(), default=0.0) > began + 1

    eventually(lambda: all(map(answers, GATEWAYS)), seconds=PATIENCE)
    return {name: whole.end_load(name) for name in GATEWAYS}


def test_a_ramp_goes_on_over_a_host_that_is_cut_off_one_that_hangs_and_one_without_power(whole: Installation) -> None:
    stack, cut, hung = whole.stack, "edge-2", "edge-1"
    rollout, watching = start(whole, "2")
    whole.hosts.cut(cut)
    began = time.time()
    psutil.Process(whole.joined[hung].pid).suspend()  # its Envoy goes on, and reaches every service
    eventually(lambda: {whole.states()[name] for name in (cut, hung)} <= {"silent", "away"}, seconds=PATIENCE)
    told = stack.run("status", code=None).stdout
    assert re.search(f"^{cut} is (silent|away) since", told, re.MULTILINE), told
    eventually(lambda: all(whole.serves_stable_only(name) for name in (cut, hung)), seconds=PATIENCE)
    stable_only = time.time()
    stack.until(rollout, lambda view: view["weight"] == 50 and view["observed"], PATIENCE)
    assert {name: whole.states()[name] for name in (cut, hung)} == {cut: "away", hung: "away"}
    ramps_on = time.time()
    assert whole.joined[hung].wait(PATIENCE) == -signal.SIGKILL, "the guard ends a process that hangs"
    assert whole.seen(hung)["last"]["2"] < stable_only + 0.5
    whole.start(hung)  # as systemd does
    whole.hosts.mend(cut)
    whole.wait_for({cut: "confirmed", hung: "confirmed"})
    back = time.time()
    got = whole.seen(hung)
    print(
        f"\ncut off and hung: stable alone after {stable_only - began:.1f} s, the ramp went on after "
        f"{ramps_on - began:.1f} s; the one that hung answered {got['builds']}, {len(got['failed'])} failed"
    )

    stack.until(rollout, lambda view: view["needs_person"], PATIENCE)
    assert watching.wait(PATIENCE) == 4, "as the page says: it waits for a person"
    whole.end_load(hung)
    whole.hosts.cut(cut)
    again = time.time()
    whole.lose_power(hung)
    whole.type(LAPTOP, COMMANDS + block("rollout approve"))
    view = stack.until(rollout, lambda view: view["ending"] is not None and view["observed"], PATIENCE)
    assert view["ending"] == "promoted", view
    promoted = time.time()
    whole.start(hung)
    whole.hosts.mend(cut)
    whole.wait_for({cut: "confirmed", hung: "confirmed"})
    present = time.time()
    whole.load(hung)
    answers = end_loads(whole)
    print(f"promoted {promoted - again:.1f} s after the second cut; {present - promoted:.1f} s later all serve it")
    for name, each in answers.items():
        print(f"{name}: answered {whole.answered[name]}, {len(whole.failed[name])} failed")
        until = present if name == cut else promoted
        assert each["last"].get("1", 0.0) < until + 0.5, "only the promoted build answers"
    assert whole.failed[FIRST] == whole.failed[hung] == [], "who is not cut off has no failed request"
    assert all(began < at < back or again < at < present for at, _ in whole.failed[cut]), whole.failed[cut]


def test_an_abort_while_a_gateway_is_cut_off(whole: Installation) -> None:
    stack, cut = whole.stack, "edge-2"
    failed_before = {name: len(each) for name, each in whole.failed.items()}
    rollout, watching = start(whole, "3")
    whole.hosts.cut(cut)
    began = time.time()
    whole.type(LAPTOP, COMMANDS + block("rollout abort"))
    aborted = datetime.fromisoformat(stack.until(rollout, lambda view: view["ending"] == "aborted")["ended_at"])
    eventually(lambda: whole.serves_stable_only(cut), seconds=PATIENCE)
    stable_only = time.time()
    stack.until(rollout, lambda view: view["observed"], PATIENCE)
    done = time.time()
    assert watching.wait(PATIENCE) == 3, "it was aborted"
    whole.hosts.mend(cut)
    whole.wait_for({cut: "confirmed"})
    back = time.time()
    answers = end_loads(whole)
    print(f"\nabort during a cut: {cut} on stable alone {stable_only - began:.1f} s after the cut; done after "
          f"{done - aborted.timestamp():.1f} s")  # fmt: skip
    for name, each in answers.items():
        last = each["last"]["3"] - aborted.timestamp()
        print(f"{name}: the candidate answered last {last:+.2f} s after the abort; {each['builds']}")
        assert each["last"]["3"] < done, "not once the abort counts as done, nor when the host is back"
    failed = {name: each[failed_before[name] :] for name, each in whole.failed.items()}
    assert failed[FIRST] == failed["edge-1"] == []
    assert all(began < at < back for at, _ in failed[cut]), failed[cut]


def test_each_request_counts_once_by_gateway_and_build(whole: Installation) -> None:
    for name in EDGES:
        whole.joined[name].terminate()
        assert whole.joined[name].wait(PATIENCE) == 0
    lines = {name: whole.lines(name) for name in GATEWAYS}
    eventually(lambda: {name: whole.counted(name) for name in GATEWAYS} == {n: len(lines[n]) for n in lines})
    assert {box.name for box in whole.runtime.mailboxes if box.is_retired} == set(EDGES)
    seen = schema.seen
    by_arm = sa.select(seen.c.rollout, seen.c.arm, sa.func.sum(seen.c.requests)).group_by(seen.c.rollout, seen.c.arm)
    with whole.runtime.store.read() as connection:
        tallied = {(rollout, arm): count for rollout, arm, count in connection.execute(by_arm)}
    requests = {name: [each for each in lines[name] if each.model == MODEL] for name in GATEWAYS}
    whole_ones = {name: [each for each in requests[name] if each.status == 200 and each.served] for name in GATEWAYS}
    answered = {name: Counter(each.served for each in whole_ones[name]) for name in GATEWAYS}
    failed = {name: len(requests[name]) - len(whole_ones[name]) for name in GATEWAYS}  # a cut may break an answer off
    print(f"\nlogged {answered}, and failed {failed}; callers got {whole.answered}; tallied {tallied}")
    unlogged = {name: whole.answered[name] - answered[name] for name in GATEWAYS}
    assert unlogged[FIRST] == unlogged["edge-2"] == Counter()
    assert unlogged["edge-1"].total() <= 40, "what Envoy had not written yet when the power went: 100 ms"
    assert not any(answered[name] - whole.answered[name] for name in GATEWAYS), "nothing counts twice"
    assert failed == {name: len(each) for name, each in whole.failed.items()}
    logged = Counter(
        (each.assigned.rollout, each.assigned.arm.value) for name in GATEWAYS for each in requests[name]
        if each.assigned is not None and each.assigned.rollout is not None
    )  # fmt: skip
    assert tallied == logged
