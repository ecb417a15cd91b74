"""Ways in which a model is called, and how often a request of it is tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from sluicegate.services.traffic.envoy.path_spelling import path_of
from sluicegate.services.traffic.envoy.resources import (
    Resource,
    extension,
    header_is,
    host_is,
    literal,
    seconds,
    set_header,
)
from sluicegate.services.traffic.table import ModelRoute, Target

VERBS = ("predict", "invocations")
"""What may be called on a model, and on its service by the same name."""
POST = header_is(":method", "POST")
_SAFE_RETRIES = "connect-failure,refused-stream,reset-before-request"
_RETRIES = "connect-failure,refused-stream,reset"
"""Where predicting has no effects, a request whose worker died is sent once more."""
_FALLBACK_ON = "5xx,reset"
_OF_ONE_REPLICA = "500,502,503"
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


_MOST_MORE = 2
"""So many further replicas are asked at most."""
_PREVIOUS_HOSTS = "envoy.retry_host_predicates.previous_hosts"
_PREVIOUS_HOSTS_KIND = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_SELECTIONS = 128
"""So often another replica is picked when one was asked already. A dead one is idle, and so is picked most."""


def more_replicas(model: ModelRoute, target: Target) -> int:
    """How many further replicas are asked for a request that one did not answer; none where another build is."""
    return 0 if target.others else min(model.replicas_of(target.assigned.build) - 1, _MOST_MORE)


def tries(model: ModelRoute, targets: Iterable[Target]) -> Resource:
    """Where another build or replica is asked next, each try has its own time; else all have one, so that a slow build
    is asked once.

    Envoy takes a try that ran out of its time for one whose worker died. Without another build a try may meet a
    connection of the worker that has just died: then there is a third one, and a moment before each.
    """
    retry_on = _RETRIES if model.retry else _SAFE_RETRIES
    others, more = 0, 0
    for target in targets:
        others, more = max(others, target.others), max(more, more_replicas(model, target))
    if others or more:
        policy = {"retry_on": retry_on, "num_retries": 1, "retry_back_off": _back_off(0.001)}
        policy["per_try_timeout"] = seconds(model.timeout + _LATE_SECONDS)
        if more:
            policy["retry_host_predicate"] = [extension(_PREVIOUS_HOSTS, _PREVIOUS_HOSTS_KIND)]
            policy["host_selection_retry_max_attempts"] = _SELECTIONS
        return {"timeout": seconds((max(others, more) + 1) * model.timeout + 1), "retry_policy": policy}
    policy = {"retry_on": retry_on, "num_retries": 2, "retry_back_off": _back_off(0.01)}
    return {"timeout": seconds(model.timeout + _LATE_SECONDS), "retry_policy": policy}


def asking_again(model: ModelRoute, target: Target) -> list[Resource]:
    """Request headers that say when and how often a request of this target is tried again, beyond its route's rule.

    An error is answered by the build behind; where only further replicas are, by one of these: it may be this one's
    alone. A replica that says itself that it was too slow, 504, is asked once.
    """
    most, headers = target.others, []
    more = more_replicas(model, target)
    if target.fallback is not None or (target.stands_in is not None and target.stands_in.on_errors):
        headers.append(set_header("x-envoy-retry-on", _FALLBACK_ON))
    elif more and model.retry:
        headers.append(set_header("x-envoy-retry-on", "retriable-status-codes"))
        headers.append(set_header("x-envoy-retriable-status-codes", _OF_ONE_REPLICA))
    if max(most, more) > 1:
        headers.append(set_header("x-envoy-max-retries", str(max(most, more))))
    return headers


def answer_header(name: str, value: str) -> Resource:
    """A header of the answer, percent-encoded: names may be in any script."""
    return set_header(name, literal(quote(value, safe="")))


def _back_off(base: float) -> Resource:
    return {"base_interval": seconds(base), "max_interval": seconds(10 * base)}
