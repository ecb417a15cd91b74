"""sluice logs: of a rollout, what keeper, drivers and its service wrote about it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sluicegate.flows.views.logs import Line, file_lines, files, rollout_lines, tail
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound
from tests.acceptance.given import Given


@pytest.fixture
def rollout() -> Rollout:
    return Given().rollout


@pytest.fixture
def root(tmp_path: Path, rollout: Rollout) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "services" / "logs").mkdir(parents=True)
    lines = [f"event=looked rollout={rollout.id} n={n}\nevent=looked rollout=other" for n in range(3)]
    (tmp_path / "logs" / "keeper.log").write_text("\n".join(lines) + "\n")
    (tmp_path / "services" / "logs" / "delays.v2.log").write_text("up\nserving\n")
    return tmp_path


def test_a_rollout_has_the_lines_that_are_about_it(root: Path, rollout: Rollout) -> None:
    found = list(rollout_lines(rollout, root, None, 2))
    assert [(line.source, line.text.rpartition(" ")[2]) for line in found] == [
        ("keeper", "n=1"), ("keeper", "n=2"), ("delays.v2", "up"), ("delays.v2", "serving"),
    ]  # fmt: skip


def test_a_prefect_that_is_away_is_said_and_stops_nothing(root: Path, rollout: Rollout) -> None:
    away = httpx.Client(base_url="http://127.0.0.1:9/api", trust_env=False)
    found = list(rollout_lines(rollout, root, away, 1))
    assert [line.source for line in found] == ["keeper", "driver", "delays.v2"]
    assert "does not answer" in found[1].text


def test_a_part_is_read_by_name_and_an_unknown_one_names_what_there_is(root: Path) -> None:
    assert list(files(root)) == ["keeper", "delays.v2"]
    assert list(file_lines(root, "delays.v2", 1)) == [Line(source="delays.v2", text="serving")]
    with pytest.raises(NotFound, match="keeper, delays"):
        list(file_lines(root, "envoi", 1))


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert list(tail(tmp_path / "nothing.log")) == []
