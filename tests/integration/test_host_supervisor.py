"""The supervisor's promises, with real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sluicegate.registry.words.errors import InvalidSetting, Unreachable
from sluicegate.registry.words.program import Condition
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.ports import choose_ports
from sluicegate.services.host.programs import identity
from sluicegate.services.host.programs.launch import start_ticks
from sluicegate.services.host.programs.replacing import take_over_survivors
from sluicegate.services.host.programs.supervising import Supervisor
from tests.integration.host_rig import (
    ENVIRONMENT,
    SESSION_CHILD,
    eventually,
    is_alive,
    program,
    server,
    state_folder,
    supervised,
)

pytestmark = pytest.mark.slow
SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with supervised() as running:
        yield running


def folder_of(supervisor: Supervisor) -> StateFolder:
    return StateFolder(root=supervisor.definitions.record("x").parent.parent.parent)


def pid_of(supervisor: Supervisor, name: str) -> int:
    found = {state.name: state.pid for state in supervisor.running()}
    pid = found[name]
    assert pid is not None
    return pid


def test_an_added_program_answers_and_is_listed(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    port = choose_ports(folder.run / "p.json", ("a",), in_use=())["a"]
    part = server(folder, "a.v1", port)
    supervisor.add(part.program)
    eventually(lambda: _answers(port) is not None, "an answer")
    [state] = supervisor.running()
    assert state.name == "a.v1"
    assert state.condition in (Condition.STARTING, Condition.RUNNING)
    assert _answers(port) == f"hello {state.pid}"


def _answers(port: int) -> str | None:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
    except OSError:
        return None


def test_adding_the_same_again_changes_nothing_and_a_changed_one_restarts(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    first = program(folder, "a", SLEEP)
    supervisor.add(first)
    before = pid_of(supervisor, "a")
    for _ in range(3):
        supervisor.add(first)
    assert pid_of(supervisor, "a") == before
    supervisor.add(replace(first, env={"COLOUR": "blue"}))
    after = pid_of(supervisor, "a")
    assert after != before
    assert not is_alive(before)
    eventually(lambda: psutil.Process(after).environ().get("COLOUR") == "blue", "the new environment")


def test_no_value_of_a_definition_is_interpreted(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    odd = "a \"b\" 'c' %(here)s ;d $HOME `id`\nnew line = é"
    code = "import os, sys, time; print(repr((sys.argv[1], os.environ['ODD'], os.getcwd()))); time.sleep(600)"
    supervisor.add(program(folder, "odd", code, odd, env={"ODD": odd}))
    eventually(lambda: folder.log("odd").exists() and "\n" in folder.log("odd").read_text(), "its line")
    assert folder.log("odd").read_text().strip() == repr((odd, odd, str(folder.root)))


def test_removing_ends_children_in_sessions_of_their_own(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    supervisor.add(program(folder, "parent", SESSION_CHILD))
    parent = pid_of(supervisor, "parent")
    eventually(lambda: len(identity.tree(parent)) == 2, "the child")
    [child] = [each.pid for each in identity.tree(parent) if each.pid != parent]
    assert os.getsid(child) != os.getsid(parent)
    supervisor.remove("parent")
    assert not is_alive(parent)
    assert not is_alive(child)
    assert supervisor.running() == ()
    assert supervisor.definitions.names() == ()
    supervisor.remove("parent")


def test_one_that_ignores_sigterm_is_killed_after_its_time(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    supervisor.add(replace(program(folder, "deaf", stubborn), stop_seconds=1.0))
    eventually(lambda: folder.log("deaf").exists() and "deaf" in folder.log("deaf").read_text(), "its handler")
    pid = pid_of(supervisor, "deaf")
    supervisor.remove("deaf")
    assert not is_alive(pid)


def test_a_killed_program_comes_back(supervisor: Supervisor) -> None:
    supervisor.add(program(folder_of(supervisor), "a", SLEEP))
    before = pid_of(supervisor, "a")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: _pid_or_none(supervisor, "a") not in (None, before), "another process")


def _pid_or_none(supervisor: Supervisor, name: str) -> int | None:
    return {state.name: state.pid for state in supervisor.running()}.get(name)


def test_one_that_fails_too_often_is_left_failed(supervisor: Supervisor) -> None:
    doomed = replace(program(folder_of(supervisor), "doomed", "raise SystemExit(3)"), retries=1)
    supervisor.add(doomed)
    eventually(lambda: supervisor.running()[0].condition is Condition.FAILED, "failed")
    supervisor.add(doomed)
    assert supervisor.running()[0].condition is not Condition.FAILED


def test_programs_outlive_their_supervisor_and_are_adopted_not_doubled(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    for name in ("a", "b"):
        supervisor.add(program(folder, name, SESSION_CHILD))
    before = {name: pid_of(supervisor, name) for name in ("a", "b")}
    eventually(lambda: all(len(identity.tree(pid)) == 2 for pid in before.values()), "their children")
    trees = {name: [each.pid for each in identity.tree(pid)] for name, pid in before.items()}
    kill_supervisor(supervisor)
    assert all(is_alive(pid) for pids in trees.values() for pid in pids)
    with pytest.raises(Unreachable):
        supervisor.running()

    assert supervisor.start(ENVIRONMENT)
    first = program(folder, "a", SESSION_CHILD)
    for _ in range(2):
        supervisor.add(first)
        supervisor.revive("b")
    eventually(lambda: all(state.condition is Condition.RUNNING for state in supervisor.running()), "both adopted")
    assert all(is_alive(pid) for pids in trees.values() for pid in pids), "and not replaced"

    os.kill(before["a"], signal.SIGKILL)
    eventually(lambda: len(identity.tree(_pid_or_none(supervisor, "a") or 0)) == 2, "an adopted one is followed")
    kill_supervisor(supervisor)
    assert supervisor.start(ENVIRONMENT)
    supervisor.revive("b")
    assert is_alive(before["b"]), "adopted a second time"
    supervisor.remove("b")
    assert not any(is_alive(pid) for pid in trees["b"]), "and ended with all its children"

    supervisor.add(replace(first, env={"COLOUR": "blue"}))
    assert not any(is_alive(pid) for pid in trees["a"]), "one that is to run otherwise is replaced"
    eventually(lambda: len(identity.tree(pid_of(supervisor, "a"))) == 2, "its successor")
    groups = supervisor.processes()
    groups.pop("supervisord")  # a program that it is just starting still looks like itself
    assert {name: len(group) for name, group in groups.items()} == {"a": 2}


LISTENS_LATE = """
import os, socket, sys, time
time.sleep(float(sys.argv[2]))
door = socket.socket(socket.AF_UNIX)
door.bind(sys.argv[1] + ".draft"); door.listen(); os.rename(sys.argv[1] + ".draft", sys.argv[1])
while True:
    line, _ = door.accept()
    line.sendall(str(os.getpid()).encode()); line.close()
"""


def test_of_services_on_unix_sockets_no_two_are_away_at_once(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    doors = {name: folder.run / f"{name}.s" for name in ("a", "b")}
    for name, door in doors.items():
        supervisor.add(program(folder, name, LISTENS_LATE, str(door), "0"))
    eventually(lambda: all(map(_who, doors.values())), "both answer")
    before = {name: _who(door) for name, door in doors.items()}
    kill_supervisor(supervisor)
    for name, door in doors.items():
        supervisor.definitions.write(program(folder, name, LISTENS_LATE, str(door), "2"))
    survivors = supervisor.processes()
    assert supervisor.start(ENVIRONMENT)
    answered: list[set[str]] = []

    def note(text: str) -> None:
        answered.append({name for name, door in doors.items() if _who(door)})

    take_over_survivors(supervisor, survivors, but=(), note=note)
    assert answered == [{"a", "b"}, {"a", "b"}], "the first one's successor answers before the second is ended"
    after = {name: _who(door) for name, door in doors.items()}
    assert all(after.values())
    assert not set(after.values()) & set(before.values())


def _who(door: Path) -> str | None:
    """The process that answers there."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        try:
            line.connect(str(door))
            return line.recv(100).decode() or None
        except OSError:
            return None


def kill_supervisor(supervisor: Supervisor) -> None:
    own = supervisor.pid()
    assert own is not None
    os.kill(own, signal.SIGKILL)
    eventually(lambda: supervisor.pid() is None, "its end")


def test_an_adopted_program_is_told_signals_and_stopped_in_its_time(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    polite = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('farewell', flush=True), sys.exit(0)))\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    deaf = polite.replace("lambda *_: (print('farewell', flush=True), sys.exit(0))", "signal.SIG_IGN")
    programs = {"polite": program(folder, "polite", polite), "deaf": program(folder, "deaf", deaf)}
    programs["deaf"] = replace(programs["deaf"], stop_seconds=1.0)
    for each in programs.values():
        supervisor.add(each)
    pids = {name: pid_of(supervisor, name) for name in programs}
    logs = [folder.log(name) for name in programs]
    eventually(lambda: all(log.exists() and "ready" in log.read_text() for log in logs), "both")
    kill_supervisor(supervisor)
    assert supervisor.start(ENVIRONMENT)
    for name in programs:
        supervisor.revive(name)
        supervisor.remove(name)
        assert not is_alive(pids[name])
    assert "farewell" in folder.log("polite").read_text()


def test_a_program_that_hides_its_environment_is_known_by_its_record(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    hiding = f"import os, sys; os.execve(sys.executable, [sys.executable, '-c', {SLEEP!r}], {{}})"
    supervisor.add(program(folder, "hidden", hiding))
    pid = pid_of(supervisor, "hidden")
    eventually(lambda: not psutil.Process(pid).environ() and SLEEP in psutil.Process(pid).cmdline(), "it")
    kill_supervisor(supervisor)
    assert [each.pid for each in supervisor.processes()["hidden"]] == [pid]
    supervisor.stop()
    assert not is_alive(pid)


def test_a_record_whose_pid_another_process_has_now_hurts_nobody(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as stranger:
        try:
            ticks = start_ticks(stranger.pid)
            assert ticks is not None
            boot = identity.boot_id()
            record = f'{{"pid": {stranger.pid}, "ticks": {ticks - 1}, "boot": "{boot}", "began": 0, "digest": ""}}'
            (folder.records / "stale").write_text(record)
            assert supervisor.processes().keys() <= {"supervisord"}
            supervisor.stop()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_stop_leaves_nothing_behind_and_nothing_else_is_touched(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    with supervised() as other:
        other.add(program(folder_of(other), "a", SLEEP))
        for name in ("a", "b"):
            supervisor.add(program(folder, name, SESSION_CHILD))
        supervisor.stop()
        assert supervisor.processes() == {}
        assert supervisor.pid() is None
        assert is_alive(pid_of(other, "a"))


def test_the_socket_is_for_its_owner_alone_and_nothing_listens_on_tcp(supervisor: Supervisor) -> None:
    folder = folder_of(supervisor)
    assert folder.socket.stat().st_mode & 0o077 == 0
    own = supervisor.pid()
    assert psutil.Process(own).net_connections(kind="inet") == []


def test_programs_get_every_signal_also_when_who_started_the_supervisor_did_not() -> None:
    code = (
        "import signal, sys; sys.path[:0] = sys.argv[3:]; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "from pathlib import Path; from sluicegate.services.host.folder import StateFolder\n"
        "from sluicegate.services.host.programs.supervising import Supervisor\n"
        f"Supervisor(StateFolder(root=Path(sys.argv[1])), sys.argv[2]).start({ENVIRONMENT!r})"
    )
    with state_folder() as folder:
        token = f"token-of-{folder.root.name}"
        supervisor = Supervisor(folder, token)
        try:
            here = str(Path(__file__).resolve().parents[2])
            subprocess.run([sys.executable, "-c", code, str(folder.root), token, here], check=True)
            supervisor.add(program(folder, "a", SLEEP))
            eventually(lambda: SLEEP in psutil.Process(pid_of(supervisor, "a")).cmdline(), "it")
            status = Path(f"/proc/{pid_of(supervisor, 'a')}/status").read_text()
            blocked, ignored = (int(status.split(word)[1].split()[0], 16) for word in ("SigBlk:", "SigIgn:"))
            assert not ignored & (1 << (signal.SIGINT - 1))
            assert blocked == 0
        finally:
            supervisor.stop()


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a:b", "../x", "supervisord", "-a"])
def test_names_that_could_not_be_files_are_refused(supervisor: Supervisor, name: str) -> None:
    with pytest.raises(InvalidSetting):
        supervisor.add(program(folder_of(supervisor), name, SLEEP))
