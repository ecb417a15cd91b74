"""up, down and status of one machine, with tiny servers as its parts."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sluicegate.registry.words.errors import InvalidSetting, NotFound, Refused, ServiceFailed, TimedOut
from sluicegate.registry.words.program import Condition
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.machine import Machine
from sluicegate.services.host.parts import Part
from sluicegate.services.host.ports import choose_ports
from sluicegate.services.host.raising import Mark
from sluicegate.services.loopback import is_free
from tests.integration.host_rig import ENVIRONMENT, Tiny, eventually, is_alive, program, server, state_folder

pytestmark = pytest.mark.slow
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def tiny() -> Iterator[Tiny]:
    with state_folder() as folder:
        yield Tiny(folder)


def test_up_returns_when_all_answer_and_a_second_up_changes_nothing(tiny: Tiny) -> None:
    tiny.up()
    status = tiny.machine().status(NOW)
    assert status.is_up
    assert {state.name for state in status.programs} == {"alpha", "beta"}
    before, ports = tiny.pids(), (tiny.folder.run / "ports.json").read_bytes()
    tiny.up()
    assert tiny.pids() == before
    assert (tiny.folder.run / "ports.json").read_bytes() == ports


def test_down_drains_once_and_leaves_no_process(tiny: Tiny) -> None:
    tiny.up()
    pids = [pid for group in tiny.pids().values() for pid in group]
    own = tiny.supervisor().pid()
    assert own is not None
    assert tiny.down()
    assert tiny.drained == 1
    assert not any(is_alive(pid) for pid in (*pids, own))
    assert tiny.supervisor().processes() == {}
    assert not tiny.down(), "a second one finds nothing"
    assert tiny.machine().status(NOW).supervisor is None


def test_down_stops_everything_also_when_draining_fails(tiny: Tiny) -> None:
    tiny.up()

    def broken(_: object) -> None:
        raise RuntimeError("no drain")

    recipe = replace(tiny.recipe(), drain=broken)
    with pytest.raises(RuntimeError, match="no drain"):
        Machine(recipe).down(tiny.said.append)
    assert tiny.supervisor().processes() == {}


def test_up_after_a_killed_supervisor_runs_nothing_twice(tiny: Tiny) -> None:
    tiny.up()
    extra = server(tiny.folder, "dynamic", choose_ports(tiny.folder.run / "d.json", ("d",), in_use=())["d"])
    tiny.supervisor().add(extra.program)
    eventually(lambda: "dynamic" in tiny.pids(), "the third")
    before = tiny.pids()
    own = tiny.supervisor().pid()
    assert own is not None
    os.kill(own, signal.SIGKILL)
    eventually(lambda: tiny.supervisor().pid() is None, "its end")
    assert tiny.machine().status(NOW).survivors == ("alpha", "beta", "dynamic")
    tiny.up()
    assert all(is_alive(pid) for group in before.values() for pid in group), "all are adopted"
    both = {"alpha": 2, "beta": 2, "dynamic": 2}  # the program and who minds it
    eventually(lambda: {name: len(group) for name, group in tiny.pids().items()} == both, "their minders")
    assert tiny.machine().status(NOW).is_up
    tiny.down()
    assert tiny.pids() == {}


def test_two_ups_at_once_start_everything_once(tiny: Tiny) -> None:
    errors: list[BaseException] = []

    def up() -> None:
        try:
            tiny.machine().up(tiny.said.append, seconds=60)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {name: len(group) for name, group in tiny.pids().items()} == {"alpha": 1, "beta": 1}
    starts = (tiny.folder.logs / "supervisord.log").read_text().count("spawned: 'alpha'")
    assert starts == 1
    assert any(said.mark is Mark.NOTE and "waiting for process" in said.text for said in tiny.said)


def test_ports_are_kept_over_down_and_given_up_when_another_took_them(tiny: Tiny) -> None:
    tiny.up()
    before = json.loads((tiny.folder.run / "ports.json").read_text())
    tiny.down()
    tiny.up()
    assert json.loads((tiny.folder.run / "ports.json").read_text()) == before
    tiny.down()
    with socket.create_server(("127.0.0.1", before["console"])):
        tiny.up()
        after = json.loads((tiny.folder.run / "ports.json").read_text())
    assert after["console"] != before["console"]
    assert {**after, "console": 0} == {**before, "console": 0}


def test_a_port_that_a_program_of_ours_holds_is_kept(tiny: Tiny) -> None:
    path = tiny.folder.run / "p.json"
    first = choose_ports(path, ("a",), in_use=())
    with socket.create_server(("127.0.0.1", first["a"])):
        assert choose_ports(path, ("a",), in_use=("a",)) == first
    assert is_free(first["a"])


def test_a_part_that_keeps_ending_is_told_with_its_log(tiny: Tiny) -> None:
    broken = Part(program=program(tiny.folder, "broken", "raise SystemExit('the reason it gives')"))
    recipe = replace(tiny.recipe(), parts=lambda site, keys: [broken])
    with pytest.raises(ServiceFailed, match="the reason it gives") as caught:
        Machine(recipe).up(tiny.said.append, seconds=60)
    assert str(tiny.folder.log("broken")) in (caught.value.fix or "")
    assert tiny.down(), "what was started can be stopped"


def test_a_part_that_never_answers_is_told_with_its_log(tiny: Tiny) -> None:
    silent = Part(
        program=program(tiny.folder, "silent", "import time; print('still thinking'); time.sleep(600)"),
        probe=server(tiny.folder, "x", tiny.ports["alpha"]).probe,
    )
    recipe = replace(tiny.recipe(), parts=lambda site, keys: [silent])
    with pytest.raises(TimedOut, match="still thinking"):
        Machine(recipe).up(tiny.said.append, seconds=1.5)


def test_a_part_waits_for_what_must_be_ready_before_it(tiny: Tiny) -> None:
    alpha, beta = (server(tiny.folder, name, tiny.ports[name]) for name in ("alpha", "beta"))
    recipe = replace(tiny.recipe(), parts=lambda site, keys: [replace(beta, after=("alpha", "not here")), alpha])
    Machine(recipe).up(tiny.said.append, seconds=60)
    marks = [(said.mark, said.name) for said in tiny.said if said.mark is not Mark.NOTE]
    assert marks.index((Mark.READY, "alpha")) < marks.index((Mark.STARTING, "beta"))


def test_a_part_that_is_wanted_no_more_is_ended_and_programs_of_others_are_not(tiny: Tiny) -> None:
    tiny.up()
    tiny.supervisor().add(program(tiny.folder, "dynamic", "import time; time.sleep(600)"))
    tiny.names = ("beta",)
    tiny.up()
    assert set(tiny.pids()) == {"beta", "dynamic"}


def test_secrets_are_drawn_once_and_for_the_owner_alone(tiny: Tiny) -> None:
    tiny.up()
    secrets = {path.name: path.read_text() for path in tiny.folder.secrets.iterdir()}
    assert "admin_token" in secrets
    assert len(set(secrets.values())) == len(secrets)
    for path in (tiny.folder.root, tiny.folder.secrets, tiny.folder.run, tiny.folder.logs):
        assert path.stat().st_mode & 0o777 == 0o700, path
    for path in (*tiny.folder.secrets.iterdir(), *tiny.folder.programs.iterdir()):
        assert path.stat().st_mode & 0o777 == 0o600, path
    tiny.up()
    assert {path.name: path.read_text() for path in tiny.folder.secrets.iterdir()} == secrets


def test_a_secret_that_others_can_read_is_refused(tiny: Tiny) -> None:
    tiny.up()
    (tiny.folder.secrets / "admin_token").chmod(0o644)
    with pytest.raises(Refused, match="can be read by others"):
        tiny.up()
    (tiny.folder.secrets / "admin_token").chmod(0o600)


def test_no_secret_is_in_a_command_line_a_log_or_a_definition(tiny: Tiny) -> None:
    tiny.up()
    secrets = [path.read_text().strip() for path in tiny.folder.secrets.iterdir()]
    written = [
        path.read_text() for path in tiny.folder.root.rglob("*") if path.is_file() and path.parent.name != "secrets"
    ]
    lines = [" ".join(each.cmdline()) for group in tiny.supervisor().processes().values() for each in group]
    assert lines
    assert written
    assert [secret for secret in secrets for text in (*written, *lines) if secret in text] == []


def test_status_before_any_up_says_so() -> None:
    with state_folder() as folder, pytest.raises(NotFound, match="nothing was started"):
        Tiny(folder).machine().status(NOW)


def test_a_program_that_fails_shows_in_status(tiny: Tiny) -> None:
    tiny.up()
    tiny.supervisor().add(replace(program(tiny.folder, "doomed", "raise SystemExit(1)"), retries=0))
    eventually(
        lambda: any(state.condition is Condition.FAILED for state in tiny.machine().status(NOW).programs), "failed"
    )
    assert not tiny.machine().status(NOW).is_up


def test_a_program_that_somebody_is_withdrawing_is_well_and_one_that_stays_stopped_is_not(tiny: Tiny) -> None:
    tiny.up()
    supervisor, status = tiny.supervisor(), tiny.machine().status
    with tiny.folder.locked("programs", seconds=10):  # as whoever removes a program holds it
        supervisor._rpc.call("stopProcess", "beta", True)
        at_work = status(NOW)
        assert {state.name: state.condition for state in at_work.programs}["beta"] is Condition.STOPPING
        assert at_work.is_up
    left = status(NOW)
    assert {state.name: state.condition for state in left.programs}["beta"] is Condition.STOPPED
    assert not left.is_up
    supervisor.remove("beta")
    assert status(NOW).is_up


def test_status_while_services_come_and_go_is_never_anything_but_up(tiny: Tiny) -> None:
    tiny.up()
    done = threading.Event()
    seen: list[bool] = []

    def look() -> None:
        while not done.is_set():
            seen.append(tiny.machine().status(NOW).is_up)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(5):
            extra = program(tiny.folder, f"extra{number}", "import time; time.sleep(600)")
            tiny.supervisor().add(extra)
            tiny.supervisor().remove(extra.name)
    finally:
        done.set()
        looking.join()
    assert set(seen) == {True}


@pytest.mark.parametrize("root", ["/tmp/a%b", "relative", "/tmp/a;b", '/tmp/"a"', "/tmp/" + "x" * 90])
def test_folders_that_cannot_hold_the_state_are_refused(root: str) -> None:
    from pathlib import Path

    with pytest.raises(InvalidSetting):
        StateFolder(root=Path(root)).prepare()


def test_what_the_shell_passes_on_is_only_what_programs_need(tiny: Tiny) -> None:
    from sluicegate.services.host.stack import base_environment

    given = {**ENVIRONMENT, "LC_ALL": "C.UTF-8", "https_proxy": "http://p", "AWS_PROFILE": "x", "PYTHONPATH": "/x"}
    kept = base_environment({**given, "SSH_AUTH_SOCK": "/s", "GITHUB_TOKEN": "t"})
    assert {"LC_ALL", "https_proxy", "AWS_PROFILE", "PATH", "HOME"} <= kept.keys()
    assert not {"PYTHONPATH", "SSH_AUTH_SOCK", "GITHUB_TOKEN"} & kept.keys()
    assert kept["DO_NOT_TRACK"] == "true"
