"""Our deployments at a Prefect server: which are wrong, and what the doctor says of them and of the work pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.host.doctor.deployed import deployments_finding, pool_finding
from sluicegate.services.host.doctor.finding import CheckStatus
from sluicegate.services.host.prefect_setup import server
from sluicegate.services.host.prefect_setup.deployments import Packaged, Registered, WorkPool
from sluicegate.services.host.wire import Answer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packaged(tmp_path: Path) -> Packaged:
    code = tmp_path / "code"
    code.mkdir()
    (code / "flow.py").write_text("x = 1\n")
    (tmp_path / "prefect.yaml").write_text("deployments: [{name: canary}, {name: shadow}]\n")
    return Packaged(prefect_file=tmp_path / "prefect.yaml", code=(code,))


def registered(packaged: Packaged) -> list[Registered]:
    return [Registered(name=name, version=packaged.version, pool="sluice", paused=False) for name in packaged.names]


def test_what_is_registered_as_packaged_passes(packaged: Packaged) -> None:
    assert deployments_finding(packaged, registered(packaged)).status is CheckStatus.PASS


def test_what_is_missing_is_named_with_its_fix(packaged: Packaged) -> None:
    finding = deployments_finding(packaged, registered(packaged)[1:])
    assert finding.status is CheckStatus.FAIL
    assert finding.found.endswith(": canary")
    assert "sluice up" in str(finding.fix)


def test_what_belongs_to_no_work_pool_is_as_good_as_missing(packaged: Packaged) -> None:
    there = registered(packaged)
    assert packaged.missing([replace(there[0], pool=None), there[1]]) == ("canary",)


def test_what_is_of_another_version_or_paused_warns(packaged: Packaged) -> None:
    there = registered(packaged)
    stale = deployments_finding(packaged, [there[0], replace(there[1], version="sluicegate-0")])
    assert (stale.status, stale.fix) == (CheckStatus.WARN, "sluice up")
    assert stale.found.endswith(": shadow")
    paused = deployments_finding(packaged, [there[0], replace(there[1], paused=True)])
    assert paused.status is CheckStatus.WARN
    assert "shadow" in paused.found


def test_the_version_changes_with_file_and_source_and_not_with_the_place(packaged: Packaged, tmp_path: Path) -> None:
    before, moved = packaged.version, tmp_path / "elsewhere"
    (tmp_path / "code").rename(moved)
    assert Packaged(prefect_file=packaged.prefect_file, code=(moved,)).version == before
    (moved / "flow.py").write_text("x = 2\n")
    assert Packaged(prefect_file=packaged.prefect_file, code=(moved,)).version != before
    packaged.prefect_file.write_text("deployments: [{name: canary}]\n")
    assert Packaged(prefect_file=packaged.prefect_file, code=()).names == ("canary",)


def test_the_packaged_file_takes_its_version_from_the_variable() -> None:
    text = (ROOT / "prefect.yaml").read_text()
    packaged = Packaged(prefect_file=ROOT / "sluicegate" / "prefect.yaml", code=())
    assert {"canary", "shadow", "watch"} <= set(packaged.names)
    assert text.count('version: "{{ $SLUICE_DEPLOYMENT_VERSION }}"') == 2


@pytest.mark.parametrize(
    ("pool", "status", "words"),
    [
        (WorkPool(name="p", type="process", paused=False, workers=2), CheckStatus.PASS, "p, polled by 2 workers"),
        (WorkPool(name="p", type="process", paused=True, workers=2), CheckStatus.FAIL, "paused"),
        (WorkPool(name="p", type="process", paused=False, workers=0), CheckStatus.FAIL, "no worker polls p"),
    ],
)
def test_a_work_pool_that_starts_no_run_fails(pool: WorkPool, status: CheckStatus, words: str) -> None:
    finding = pool_finding(pool)
    assert finding.status is status
    assert words in finding.found
    assert (finding.fix is None) == (status is CheckStatus.PASS)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "does not answer"),
        (Answer(status=401, text="Unauthorized"), "refuses the credentials"),
        (Answer(status=500, text="boom"), "Prefect answers 500 boom"),
    ],
)
def test_a_server_that_does_not_say_is_told_apart(
    answer: Answer | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ask", lambda probe, *, seconds, method: answer)
    with pytest.raises(Unreachable, match=words) as caught:
        server.registered({"PREFECT_API_URL": "http://prefect/api"}, ["canary"])
    assert caught.value.fix
