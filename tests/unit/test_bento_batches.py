"""Batches: requests that wait for a busy model are asked together, and nobody notices but by the time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.services.bento.predictor.contract import Contract
from sluicegate.services.bento.predictor.lane import Lane, Reply
from sluicegate.services.bento.predictor.merging import form, merged, parts
from sluicegate.services.bento.predictor.model import Model, Signature, reader

SIGNATURE = Signature(
    inputs=[
        {"name": "x", "type": "double"},
        {"name": "is_new", "type": "boolean", "required": False},
    ],
    outputs=None,
    params=[{"name": "add", "type": "double", "default": 0.0, "shape": None}],
)
BAD = -1.0


class Summing:
    """A model whose answer to a row is told by the row alone, that remembers how it was called, and fails for BAD."""

    def __init__(self, answer: Callable[[Any], Any] = lambda values: values) -> None:
        self.calls: list[int] = []
        self._answer = answer

    def __call__(self, data: Any, params: dict[str, Any] | None) -> Any:
        self.calls.append(len(data))
        if (data["x"] == BAD).any():
            raise ValueError("a bad row")
        kind = data["is_new"].dtype if "is_new" in data else None
        add = (params or {})["add"]
        labels = isinstance(data.index[0], str)
        return self._answer([f"{x + add} {kind} {label if labels else None}" for label, x in data["x"].items()])


def lane(predict: Any, batch: int, signature: Signature = SIGNATURE) -> Lane:
    made = Lane("delays/2", batch=batch)
    made.model = Model(reader(signature), predict, Contract(None), signature.has_rows)
    return made


def body(values: list[float], **others: Any) -> bytes:
    return json.dumps({"inputs": [{"x": value} for value in values]} | others).encode()


def ask_all(of: Lane, bodies: list[bytes]) -> list[Reply]:
    """Everybody at once."""

    async def asked() -> list[Reply]:
        waiting = [of.reply(each, {b"x-request-id": b"%d" % n}, wrapped=False) for n, each in enumerate(bodies)]
        return list(await asyncio.gather(*waiting))

    return asyncio.run(asked())


REQUESTS = st.one_of(
    st.builds(body, st.lists(st.sampled_from([0.0, 1.5, 2.0, BAD]), min_size=1, max_size=9)),
    st.builds(lambda x, add: body([x], params={"add": add}), st.floats(0, 9), st.sampled_from([0.0, -0.0, 1.0, None])),
    st.builds(lambda new: body([3.0]).replace(b"}]", b', "is_new": %s}]' % new), st.sampled_from([b"true", b"null"])),
    st.just(b'{"inputs": [{"y": 1}]}'),
    st.just(b'{"dataframe_split": {"index": ["own"], "columns": ["x"], "data": [[7]]}}'),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=25), st.integers(2, 12))
def test_everybody_gets_the_same_bytes_as_without_batches(bodies: list[bytes], most: int) -> None:
    model = Summing()
    batched, alone = ask_all(lane(model, most), bodies), [ask_all(lane(Summing(), 1), [each])[0] for each in bodies]
    assert [(status, content) for status, content, _ in batched] == [(status, content) for status, content, _ in alone]
    for number, ((_, _, told), (_, _, wanted)) in enumerate(zip(batched, alone, strict=True)):
        assert {**dict(told), b"x-request-id": b"0"} == dict(wanted), number
        assert dict(told)[b"x-request-id"] == b"%d" % number


@pytest.mark.parametrize(
    "answer",
    [list, np.array, lambda texts: pd.DataFrame({"a": texts, "b": texts}), lambda texts: {"a": texts, "b": texts},
     pd.Series],
)  # fmt: skip
def test_answers_of_any_form_are_taken_apart(answer: Any) -> None:
    model = Summing(answer)
    bodies = [body([float(n)] * (1 + n % 3)) for n in range(20)]
    assert [each[1] for each in ask_all(lane(model, 100), bodies)] == [
        ask_all(lane(Summing(answer), 1), [each])[0][1] for each in bodies
    ]
    assert len(model.calls) < len(bodies)


def test_who_makes_the_model_fail_fails_alone_and_is_found_in_halves() -> None:
    model = Summing()
    answers = ask_all(lane(model, 64), [body([BAD if n == 37 else 1.0]) for n in range(64)])
    assert [status for status, _, _ in answers] == [500 if n == 37 else 200 for n in range(64)]
    assert json.loads(answers[37][1]) == {"error": "the model raised ValueError: a bad row"}
    assert len(model.calls) == 13  # 64, and six times two halves


def test_a_batch_holds_no_more_rows_than_it_may_and_a_larger_request_is_asked_alone() -> None:
    model = Summing()
    ask_all(lane(model, 8), [body([1.0] * n) for n in (3, 3, 9, 3, 2)])
    assert model.calls == [8, 9, 3]


def test_params_that_differ_are_asked_apart() -> None:
    model = Summing()
    ask_all(lane(model, 8), [body([1.0], params={"add": n % 2}) for n in range(4)])
    assert model.calls == [2, 2]


def test_who_gives_up_is_left_out_and_keeps_nobody_waiting() -> None:
    model = Summing()

    async def asked() -> list[Any]:
        of = lane(model, 64)
        tasks = [asyncio.create_task(of.reply(body([float(n)]), {}, wrapped=False)) for n in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[3].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(asked())
    assert [isinstance(each, asyncio.CancelledError) for each in answers] == [True, False, False, True, False]
    assert [json.loads(each[1]) for each in answers if isinstance(each, tuple)] == [
        [f"{float(n)} None None"] for n in (1, 2, 4)
    ]
    assert sum(model.calls) == 3


def test_a_model_that_answers_a_request_as_a_whole_is_asked_alone(caplog: pytest.LogCaptureFixture) -> None:
    model = Summing(lambda texts: [" and ".join(texts), len(texts), "whole"])
    of = lane(model, 64)
    first, second = ask_all(of, [body([1.0])]), ask_all(of, [body([2.0]), body([3.0]), body([4.0])])
    assert [json.loads(content)[0] for _, content, _ in first + second] == [f"{n}.0 None None" for n in range(1, 5)]
    assert model.calls == [1, 1, 1, 1]
    assert "cannot be batched" in caplog.text


@pytest.mark.parametrize(("length", "calls"), [(-1, [4]), (2, [2, 2])])
def test_an_array_of_a_fixed_length_is_not_made_longer(length: int, calls: list[int]) -> None:
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [length, 1]}}
    signature, seen = Signature(inputs=[tensor], outputs=None, params=[]), []

    def predict(data: Any, _: Any) -> Any:
        seen.append(len(data))
        return data[:, 0]

    of = lane(predict, 64, signature)
    answers = ask_all(of, [b'{"inputs": [[1], [2]]}', b'{"inputs": [[3], [4]]}'])
    assert [json.loads(content) for _, content, _ in answers] == [[1.0, 2.0], [3.0, 4.0]]
    assert seen == calls


def test_named_arrays_are_joined_row_by_row() -> None:
    one = {"a": np.ones((2, 3)), "b": np.zeros(2)}
    joined = merged([one, one])
    assert (joined["a"].shape, joined["b"].shape) == ((4, 3), (4,))
    assert form(one) == form({"a": np.ones((5, 3)), "b": np.zeros(5)})
    assert form(one) != form({"a": np.ones((2, 4)), "b": np.zeros(2)})
    assert form({"a": np.ones(2), "b": np.ones(3)}) is None
    assert parts({"n": 3, "l": [1, 2]}, [1, 1]) is None
