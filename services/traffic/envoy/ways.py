"""Ways in which a model is called, and how often a request of it is tried. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from sluicegate.services.traffic.envoy.path_spelling import path_of
from sluicegate.services.traffic.envoy.resources import Resource, header_is, host_is, literal, seconds, set_header
from sluicegate.services.traffic.table import ModelRoute

VERBS = ("predict", "invocations")
"""What may be called on a model, and on its service by the same name."""
POST = header_is(":method", "POST")
_SAFE_RETRIES = "connect-failure,refused-stream,reset-before-request"
_RETRIES = "connect-failure,refused-stream,reset"
"""Where predicting has no effects, a request whose worker died is sent once more."""
_LATE_SECONDS = 0.1
"""A service that says itself that it was too slow is heard first: an answer, 504, is not asked for again."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way in which a model is called."""

    verb: str
    by: str
    path: Resource
    """What its path matches."""
    headers: tuple[Resource, ...]


def ways(model: str, below: str = "") -> Iterator[Way]:
    """By path `/{model}{below}/predict` and by host name; by path first: the longer match is the surer one."""
    for verb in VERBS:
        yield Way(verb=verb, by="path", path=path_of(model, f"{below}/{verb}"), headers=(POST,))
        yield Way(verb=verb, by="host", path={"path": f"{below}/{verb}"}, headers=(POST, host_is(model)))


def tries(model: ModelRoute, *, others: int) -> Resource:
    """Where another build stands in, each try has its own time; else all have one, so that a slow build is asked once.

    Envoy takes a try that ran out of its time for one whose worker died. Without another build a try may meet a
    connection of the worker that has just died: then there is a third one, and a moment before each.
    """
    retry_on = _RETRIES if model.retry else _SAFE_RETRIES
    if others:
        policy = {"retry_on": retry_on, "num_retries": 1, "retry_back_off": _back_off(0.001)}
        policy["per_try_timeout"] = seconds(model.timeout + _LATE_SECONDS)
        return {"timeout": seconds((others + 1) * model.timeout + 1), "retry_policy": policy}
    policy = {"retry_on": retry_on, "num_retries": 2, "retry_back_off": _back_off(0.01)}
    return {"timeout": seconds(model.timeout + _LATE_SECONDS), "retry_policy": policy}


def tell(name: str, value: str) -> Resource:
    """A header of the answer, percent-encoded: names may be in any script."""
    return set_header(name, literal(quote(value, safe="")))


def _back_off(base: float) -> Resource:
    return {"base_interval": seconds(base), "max_interval": seconds(10 * base)}
