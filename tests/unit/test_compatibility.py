"""A candidate that would refuse stable's callers is refused itself, before it gets traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.flows.stages.launch import launch
from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed, Ready
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.compatibility import check_inputs
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.unit.test_orders import BY_NAME, NOW, plan


def build(version: str, *columns: dict[str, object] | str) -> Build:
    inputs = [{"name": each, "type": "double"} if isinstance(each, str) else each for each in columns]
    signature = {"inputs": inputs} if inputs else None
    return Build(ref=BuildRef(model="m", version=version), source="x", signature=signature)


@pytest.mark.parametrize(
    ("stable", "candidate", "expected"),
    [
        (("a", "b"), ("a", "b"), []),
        (("a",), ("a", "b"), ["needs b"]),
        (("a", "b"), ("a",), ["does not accept b"]),
        (("a",), ("b",), ["needs b", "does not accept a"]),
        (("a",), ("a", {"name": "b", "type": "double", "required": False}), []),
        ((), ("a",), []),
        (("a",), (), []),
        (("a",), ({"type": "tensor"},), []),
    ],
)
def test_columns_are_compared(stable: tuple, candidate: tuple, expected: list[str]) -> None:
    found = check_inputs(build("2", *candidate), build("1", *stable))
    assert len(found) == len(expected)
    assert all(words in problem for words, problem in zip(expected, found, strict=True))


class Source:
    """Two builds whose inputs differ."""

    def build(self, ref: BuildRef) -> Build:
        return build(ref.version, *(("a",) if ref.version == "1" else ("a", "b")))

    def fetch(self, ref: BuildRef, into: Path) -> Path:
        return into


class Packing:
    def pack(self, build: Build, model_path: Path, *, serve: Serve, note: object) -> Packed:
        return Packed(bento="b", bento_digest="b", model_digest="m")


def test_a_rollout_of_such_a_candidate_fails_with_the_reason_and_a_first_build_does_not(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    first = orders.deploy(ledger, plan=plan(), version="1", request=BY_NAME, now=NOW).rollout
    packed = launch(ledger, Source(), Packing(), first, tmp_path, lambda: NOW)
    assert packed.packed is not None
    ledger.append(first.id, packed.seq + 1, Ready(version="1"), NOW)
    orders.complete(ledger, first.id, NOW)
    second = orders.start(ledger, plan=plan(), version="2", request=BY_NAME, now=NOW).rollout
    failed = launch(ledger, Source(), Packing(), second, tmp_path, lambda: NOW)
    assert (failed.phase, failed.ending) == (Phase.ENDED, Ending.FAILED)
    assert "needs b" in failed.reason


def test_a_rollout_that_was_aborted_while_it_was_packed_stays_aborted(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    first = orders.deploy(ledger, plan=plan(), version="1", request=BY_NAME, now=NOW).rollout
    orders.abort(ledger, first.id, actor="ada", reason="no", now=NOW)
    assert launch(ledger, Source(), Packing(), first, tmp_path, lambda: NOW).ending is Ending.ABORTED
