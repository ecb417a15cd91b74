"""Ways to call a model, and how often a request is tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from sluicegate.services.traffic.envoy.names import chain
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
"""The endpoints of a model; its service has the same."""
POST = header_is(":method", "POST")
_SAFE_RETRIES = "connect-failure,refused-stream,reset-before-request"
_RETRIES = "connect-failure,refused-stream,reset"
"""If predicting has no side effects, a request whose worker died is sent once more."""
_FALLBACK_ON = "5xx,reset"
_OF_ONE_REPLICA = "500,502,503"
_LATE_SECONDS = 0.1
"""Extra time in which a service can report its own timeout: its answer, 504, is not retried."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to call a model."""

    verb: str
    by: str
    path: Resource
    """The matcher of its path."""
    headers: tuple[Resource, ...]


def ways(model: str, below: str = "") -> Iterator[Way]:
    """By path `/{model}{below}/predict`, and by host name. The path comes first, because it is more specific."""
    for verb in VERBS:
        yield Way(verb=verb, by="path", path=path_of(model, f"{below}/{verb}"), headers=(POST,))
        yield Way(verb=verb, by="host", path={"path": f"{below}/{verb}"}, headers=(POST, host_is(model)))


_MOST_MORE = 2
"""Most further replicas to try."""
_PREVIOUS_HOSTS = "envoy.retry_host_predicates.previous_hosts"
_PREVIOUS_HOSTS_KIND = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_SELECTIONS = 128
"""How often to pick again if the replica was tried already. A dead replica is idle, and so is picked most often."""


def retries(model: ModelRoute, target: Target) -> int:
    """How often a request is sent again after failures: to what is behind the target's build, or else to its further
    replicas."""
    if target.others:
        return len(chain(model, target)) - 1
    return min(model.replicas_of(target.assigned.build) - 1, _MOST_MORE)


def tries(model: ModelRoute, targets: Iterable[Target]) -> Resource:
    """Timeouts and retries. With another build or replica to try, each attempt has its own time; otherwise all attempts
    share one, so that a slow build gets a request only once.

    Envoy treats an attempt that timed out like one whose worker died. Without another build, a retry may meet a
    connection of the worker that has just died, so there is a third attempt, and a short pause before each.
    """
    retry_on = _RETRIES if model.retry else _SAFE_RETRIES
    most = max((retries(model, target) for target in targets), default=0)
    if most:
        policy = {"retry_on": retry_on, "num_retries": 1, "retry_back_off": _back_off(0.001)}
        policy["per_try_timeout"] = seconds(model.timeout + _LATE_SECONDS)
        if model.replicas:
            policy["retry_host_predicate"] = [extension(_PREVIOUS_HOSTS, _PREVIOUS_HOSTS_KIND)]
            policy["host_selection_retry_max_attempts"] = _SELECTIONS
        return {"timeout": seconds((most + 1) * model.timeout + 1), "retry_policy": policy}
    policy = {"retry_on": retry_on, "num_retries": 2, "retry_back_off": _back_off(0.01)}
    return {"timeout": seconds(model.timeout + _LATE_SECONDS), "retry_policy": policy}


def asking_again(model: ModelRoute, target: Target) -> list[Resource]:
    """Request headers that set when and how often to retry a request of this target, beyond its route's policy.

    After an error the build behind answers. With only further replicas, one of these does, since the error may be that
    of one replica. A replica's own timeout, 504, is not retried.
    """
    most, headers = retries(model, target), []
    if target.fallback is not None or (target.stands_in is not None and target.stands_in.on_errors):
        headers.append(set_header("x-envoy-retry-on", _FALLBACK_ON))
    elif most and not target.others and model.retry:
        headers.append(set_header("x-envoy-retry-on", "retriable-status-codes"))
        headers.append(set_header("x-envoy-retriable-status-codes", _OF_ONE_REPLICA))
    if most > 1:
        headers.append(set_header("x-envoy-max-retries", str(most)))
    return headers


def answer_header(name: str, value: str) -> Resource:
    """Sets a response header, percent-encoded because names may be in any script."""
    return set_header(name, literal(quote(value, safe="")))


def _back_off(base: float) -> Resource:
    return {"base_interval": seconds(base), "max_interval": seconds(10 * base)}
