"""What hangs: calls that end in time, work that nobody waits for, loops that end their process, silent programs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from sluicegate.flows.wiring.loops import ENDED, LineLogger, Loops, Turns
from sluicegate.registry.catalog import artifacts
from sluicegate.registry.catalog.mlflow_http import MlflowCatalog
from sluicegate.registry.catalog.rest import Rest
from sluicegate.registry.deadline import SECONDS, bounded
from sluicegate.registry.words.errors import CatalogUnavailable, Unreachable
from sluicegate.registry.words.program import Condition, ProgramState
from sluicegate.registry.words.settings import MlflowServer
from sluicegate.services.beside import SLOW, Beside
from sluicegate.services.heartbeat import SILENT, Heartbeats
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.programs.launch import boot_id, start_ticks
from sluicegate.services.host.programs.supervising import Supervisor
from sluicegate.services.host.programs.watching import PATIENCE, PERIOD, STARTING, Watch, silent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n" + b" " * 398 + b"{}"


@contextmanager
def dripping(gap: float, answer: bytes = ANSWER, *, at_once: int = 0) -> Iterator[str]:
    """A server that sends one byte each `gap` seconds, after the first `at_once`."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    line, _ = door.accept()
                except OSError:
                    return
                threading.Thread(target=drip, args=(line,), daemon=True).start()

        def drip(line: socket.socket) -> None:
            try:
                with line:
                    line.recv(65_536)
                    line.sendall(answer[:at_once])
                    for byte in answer[at_once:]:
                        if over.wait(gap):
                            return
                        line.sendall(bytes([byte]))
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            over.set()


@pytest.mark.parametrize("at_once", [0, len(ANSWER) - 100], ids=["head", "body"])
def test_a_server_that_drips_is_given_up_as_a_whole(at_once: int) -> None:
    with dripping(0.02, at_once=at_once) as url, bounded(httpx.Client(timeout=5.0), 0.3) as http:
        for _ in range(2):  # each request has the whole time
            with pytest.raises(httpx.ReadTimeout):
                http.get(url)
        assert http.get(url, extensions={SECONDS: 60.0}).json() == {}


def test_one_who_does_not_read_what_is_sent_is_given_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as door,
        bounded(httpx.Client(timeout=5.0), 0.3) as http,
        pytest.raises((httpx.WriteTimeout, httpx.WriteError)),
    ):
        http.post(f"http://127.0.0.1:{door.getsockname()[1]}", content=b"x" * (64 << 20))


def test_an_mlflow_that_drips_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.registry.catalog.rest.DEADLINE", 0.3)
    with dripping(0.02) as url, pytest.raises(CatalogUnavailable):
        MlflowCatalog(MlflowServer(url=url)).builds("m")


@pytest.mark.parametrize("size", [400, None], ids=["a size", "no size"])
def test_a_file_of_a_build_that_drips_is_given_up_and_leaves_nothing(
    size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes keep coming, one each 20 ms: no limit for silence would ever end it."""
    monkeypatch.setattr(artifacts, "FILE_SECONDS", 0.3)
    monkeypatch.setattr(artifacts, "DOWNLOAD_SECONDS", 0.6)
    monkeypatch.setattr(artifacts, "_listing", lambda rest, root: iter([("model.bin", size)]))
    with dripping(0.02, at_once=len(ANSWER) - 300) as url, pytest.raises(CatalogUnavailable, match="does not answer"):
        artifacts.download(Rest(MlflowServer(url=url)), "mlflow-artifacts:/0/m", tmp_path / "into")
    assert list(tmp_path.iterdir()) == []


def eventually(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_work_that_hangs_keeps_its_own_kind_waiting_and_no_other() -> None:
    now, hold, done = [0.0], threading.Event(), list[str]()
    beside = Beside(elapsed=lambda: now[0])
    beside("slow", hold.wait)
    beside("slow", lambda: done.append("a second of its kind"))
    beside("quick", lambda: done.append("quick"))
    eventually(lambda: done == ["quick"])
    now[0] = SLOW + 1
    assert (beside.longest("slow"), beside.longest("quick")) == (SLOW + 1, 0.0)
    hold.set()
    eventually(lambda: "slow" not in beside._since)
    beside("slow", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    eventually(lambda: "slow" not in beside._since)
    beside("slow", lambda: done.append("again"))
    eventually(lambda: done == ["quick", "again"])


def test_what_cannot_be_done_now_is_said_once_in_a_line_and_again_after_it_could() -> None:
    beside = Beside()

    def away() -> None:
        raise Unreachable("the cluster's API is away.")

    def rounds(*works: Callable[[], None]) -> None:
        for work in works:
            beside("readiness", work)
            eventually(lambda: beside.longest("readiness") == 0.0)

    with capture_logs() as told:
        rounds(away, away, lambda: None, away)
    assert [(each["log_level"], each["why"]) for each in told] == [("warning", "the cluster's API is away.")] * 2


@pytest.mark.parametrize("how", ["raises", "returns"])
@pytest.mark.parametrize("where", ["main", "beside"])
def test_a_loop_that_ends_ends_its_process(tmp_path: Path, how: str, where: str) -> None:
    code = f"""
import sys, threading, time
from pathlib import Path
from sluicegate.flows.wiring.loops import Loops, log_plainly, run_process
from sluicegate.services.heartbeat import Heartbeats
def ends(stop):
    if {how!r} == "raises": raise OSError(28, "No space left on device")
def goes(stop):
    while not stop.wait(0.05): pass
def work():
    loops = Loops("keeper", Heartbeats(folder=Path({str(tmp_path)!r})))
    main, other = (ends, goes) if {where!r} == "main" else (goes, ends)
    loops.beside("other", other)
    loops.run("main", main)
log_plainly()
run_process(work)
"""
    with Path("/dev/full").open("w") as full:  # and nothing can be logged
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=full, timeout=60, check=False)
    assert done.returncode == ENDED


def test_a_process_that_lacks_what_it_needs_says_so_in_one_line() -> None:
    code = """
from sluicegate.flows.wiring.loops import log_plainly, run_process
from sluicegate.registry.words.errors import Unreachable
def work():
    raise Unreachable("the ledger cannot be used: connection timeout expired.", fix="sluice doctor")
log_plainly()
run_process(work)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    [line] = done.stdout.splitlines()
    assert "the ledger cannot be used: connection timeout expired. Fix: sluice doctor" in line
    assert (done.returncode, done.stderr) == (ENDED, "")


def test_a_process_that_is_asked_to_end_does_so_although_a_thread_of_it_hangs(tmp_path: Path) -> None:
    code = f"""
import os, signal, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sluicegate.flows.wiring.loops import Loops, run_process
from sluicegate.services.heartbeat import Heartbeats
def work():
    ThreadPoolExecutor(1).submit(threading.Event().wait)
    def main(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        stop.wait()
    Loops("keeper", Heartbeats(folder=Path({str(tmp_path)!r}))).run("main", main)
run_process(work)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    with Path("/dev/full").open("w") as full:
        LineLogger(full.fileno()).info("a line")
    read, write = os.pipe()
    LineLogger(write).warning("a line")
    assert os.read(read, 100) == b"a line\n"
    os.close(read)
    os.close(write)


def test_a_process_that_nobody_watches_ends_itself_where_a_loop_of_it_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.flows.wiring.loops.BEAT_SECONDS", 0.02)
    now, ended, stop = [0.0], list[int](), threading.Event()

    def end(code: int) -> None:
        ended.append(code)
        stop.set()

    loops = Loops("gateway", Heartbeats(folder=tmp_path), elapsed=lambda: now[0], end=end)
    hanging = threading.Event()
    loops.beside("routes", lambda _: hanging.wait(60), 60.0)
    watching = threading.Thread(target=loops.end_where_one_hangs, args=(stop,), daemon=True)
    watching.start()
    now[0] = 59.0
    watching.join(0.2)
    assert ended == [], "it has been busy for a while and may be for a minute"
    now[0] = 61.0
    watching.join(30)
    assert ended == [ENDED]
    loops.stop.set()
    hanging.set()


def test_a_loop_that_hangs_stops_the_heartbeat_and_one_that_waits_does_not(tmp_path: Path) -> None:
    now = [0.0]
    turns = Turns(threading.Event(), lambda: now[0])
    now[0] = 50.0
    assert turns.busy() == 50.0
    turns.is_set()
    assert turns.busy() == 0.0
    waiting = threading.Thread(target=turns.wait, args=(30,), daemon=True)
    waiting.start()
    eventually(lambda: turns._looked is None)
    now[0] = 500.0
    assert turns.busy() == 0.0

    loops = Loops("keeper", Heartbeats(folder=tmp_path), elapsed=lambda: now[0])
    hold = threading.Event()
    loops.beside("hangs", lambda stop: hold.wait(), patience=60.0)
    assert loops.is_well()
    now[0] += 61
    assert not loops.is_well()
    loops.stop.set()
    hold.set()


def test_a_beat_needs_no_space_and_no_wall_clock(tmp_path: Path) -> None:
    now = [1000.0]
    beats = Heartbeats(folder=tmp_path / "beats", elapsed=lambda: now[0])
    assert beats.silence("keeper") is None
    beats.beat("keeper")
    size = (tmp_path / "beats" / "keeper").stat().st_size
    now[0] += 12.5
    assert (beats.silence("keeper"), size) == (12.5, 0)
    now[0] = 3.0  # another boot
    assert beats.silence("keeper") is None


class Sleeper:
    """A process that a record tells of, and that may be stopped."""

    def __init__(self, folder: StateFolder, name: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pid = self.process.pid
        record = f'{{"pid": {pid}, "ticks": {start_ticks(pid)}, "boot": "{boot_id()}", "began": 100, "digest": ""}}'
        (folder.records / name).write_text(record)


class Up(Supervisor):
    """A supervisor that only says whether it is there."""

    alive = True

    def pid(self) -> int | None:
        return 1 if self.alive else None


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Watch, Sleeper, list[float], Callable[[int], bool]]]:
    folder, now = StateFolder(root=tmp_path), [100.0]
    folder.prepare()
    sleeper = Sleeper(folder, "collector")
    beats = Heartbeats(folder=folder.beats, elapsed=lambda: now[0])
    watch = Watch(own="keeper", supervisor=Up(folder, "t"), beats=beats, elapsed=lambda: now[0])

    def looks(seconds: int) -> bool:
        """Look for so long; whether the sleeper was killed."""
        killed = ()
        for _ in range(int(seconds / PERIOD)):
            now[0] += PERIOD
            killed += watch.look()
        return killed == ("collector",)

    try:
        yield watch, sleeper, now, looks
    finally:
        sleeper.process.kill()
        sleeper.process.wait()


def test_a_program_that_does_not_beat_any_more_is_killed_and_only_then(watched) -> None:  # type: ignore[no-untyped-def]
    watch, sleeper, now, looks = watched
    assert not looks(STARTING - 2 * PERIOD), "it may be starting still"
    for _ in range(20):
        watch.beats.beat("collector")
        assert not looks(PATIENCE)
    watch.beats.beat("collector")
    assert not looks(PERIOD)
    now[0] += 3600  # the machine slept
    assert not looks(PERIOD)
    sleeper.process.send_signal(signal.SIGSTOP)
    assert looks(PATIENCE + 2 * PERIOD)
    assert sleeper.process.wait(timeout=30) == -signal.SIGKILL


def test_who_fell_silent_before_anybody_watched_is_given_no_time_to_start(watched) -> None:  # type: ignore[no-untyped-def]
    """Watchers that were killed together are back after the one that hung meanwhile has beaten for the last time."""
    watch, sleeper, now, looks = watched
    now[0] += PERIOD
    watch.beats.beat("collector")
    sleeper.process.send_signal(signal.SIGSTOP)
    assert not looks(PATIENCE)
    assert looks(2 * PERIOD)


def test_a_beat_of_its_predecessor_is_none_of_its_own(watched) -> None:  # type: ignore[no-untyped-def]
    watch, _, now, looks = watched
    now[0] -= PERIOD
    watch.beats.beat("collector")
    assert not looks(STARTING)
    assert looks(2 * PERIOD)


def test_nothing_is_killed_that_nobody_would_start_anew(watched) -> None:  # type: ignore[no-untyped-def]
    watch, sleeper, _, looks = watched
    watch.supervisor.alive = False
    watch.beats.beat("collector")
    assert not looks(10 * STARTING)
    assert sleeper.process.poll() is None
    watch.supervisor.alive = True
    assert looks(PERIOD)


def test_who_is_silent_is_told_once_it_had_time_to_start(tmp_path: Path) -> None:
    now = [1000.0]
    beats = Heartbeats(folder=tmp_path, elapsed=lambda: now[0])
    beats.beat("keeper")
    now[0] += SILENT + 5

    def state(name: str, seconds: float) -> ProgramState:
        since = NOW - timedelta(seconds=seconds)
        return ProgramState(name=name, condition=Condition.RUNNING, pid=1, since=since, log=tmp_path)

    states = [state("keeper", 500), state("collector", 3), state("envoy", 500), state("console", -86_000)]
    assert silent(beats, states, NOW) == {"keeper": SILENT + 5}
    states = [state("keeper", 3)]
    assert silent(beats, states, NOW) == {}, "it was restarted and has not beaten yet"
