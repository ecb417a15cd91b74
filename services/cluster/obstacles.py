"""Why pods do not run, in plain words, from what Kubernetes says of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.objects import FETCH

_PULLING = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed")
"""The kubelet tries these again: a registry that was away for a moment is no failure of a build."""
_NOT_PULLED = ("InvalidImageName", "ErrImageNeverPull")
_MAKING = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_ENDING = "CrashLoopBackOff"
_LAST_WORDS = 600
"""The number of characters that are kept of a process's last words."""


def given_up(pods: Iterable[Object], deployment: Object, unpulled: Collection[str] = ()) -> str | None:
    """Why a replica cannot run, when that does not pass by itself; None if it may.

    `unpulled` names the pods whose image has long not been pulled.
    """
    for pod in pods:
        if (why := _pod_given_up(pod, unpulled)) is not None:
            return why
    return waiting(pods, deployment) if _is_late(deployment) else None


def is_given_up(pod: Object, unpulled: Collection[str] = ()) -> bool:
    """Whether a pod cannot run as it is."""
    return _pod_given_up(pod, unpulled) is not None


def unpulled_image(pod: Object) -> str | None:
    """Why an image of a pod could not be pulled at the last try; None if none is being retried."""
    for status in _containers(pod):
        waiting_state = _waiting_state(status)
        if waiting_state.get("reason") in _PULLING:
            return _unpulled(status, waiting_state)
    return None


def waiting(pods: Iterable[Object], deployment: Object) -> str | None:
    """What a Deployment waits for, as far as Kubernetes says it."""
    for pod in pods:
        if (why := unpulled_image(pod)) is not None:
            return why
        scheduled = _condition(pod, "PodScheduled")
        if scheduled is not None and scheduled.get("status") == "False":
            return f"no node has room for the pod {_name(pod)}: {said_of(scheduled)}"
    failed = _condition(deployment, "ReplicaFailure")
    if failed is not None and failed.get("status") == "True":
        return f"Kubernetes creates no pod for it: {said_of(failed)}"
    return None


def lost_to(pod: Object) -> tuple[str, str] | None:
    """Why Kubernetes ends, or has ended, a pod that would have kept running: its reason as one word, and in words; or
    None."""
    status = pod.get("status", {})
    for each in _containers(pod):
        ended = (each.get("state") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return "OOMKilled", "it was killed because it used more memory than its limit"
    if status.get("phase") == "Failed" and status.get("reason"):
        return status["reason"], said_of(status)
    disrupted = _condition(pod, "DisruptionTarget")
    if disrupted is None or disrupted.get("status") != "True":
        return None
    return str(disrupted.get("reason")), said_of(disrupted)


def said_of(thing: Object) -> str:
    """The message of a condition, status or event, else its reason; without a full stop, because it ends a clause."""
    return str(thing.get("message") or thing.get("reason") or "no reason given").strip().rstrip(".")


def last_words(pod: Object) -> str:
    """The last words of the containers of a pod that has ended."""
    ended = [(each.get("state") or {}).get("terminated") for each in _containers(pod)]
    return next((_last_words(each) for each in ended if each and each.get("exitCode")), "no reason given")


def _pod_given_up(pod: Object, unpulled: Collection[str]) -> str | None:
    stuck = (why for status in _containers(pod) if (why := _stuck(pod, status)) is not None)
    return next(stuck, unpulled_image(pod) if _name(pod) in unpulled else None)


def _waiting_state(status: Object) -> Object:
    waiting_state: Object = (status.get("state") or {}).get("waiting") or {}
    return waiting_state


def _unpulled(status: Object, waiting_state: Object) -> str:
    return f"the image {status.get('image')} cannot be pulled: {said_of(waiting_state)}"


def _stuck(pod: Object, status: Object) -> str | None:
    waiting_state = _waiting_state(status)
    reason = waiting_state.get("reason", "")
    if reason in _NOT_PULLED:
        return _unpulled(status, waiting_state)
    if reason in _MAKING:
        return f"the container {status.get('name')} of {_name(pod)} cannot be created: {said_of(waiting_state)}"
    ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    if reason != _ENDING and not _failed_again(status):
        return None
    if status.get("name") == FETCH:
        return f"the bento cannot be fetched: {_last_words(ended)}"
    if ended.get("reason") == "OOMKilled":
        return "it was killed because it used more memory than its plan allows by serve: {resources: {memory: …}}"
    return f"its process keeps ending: {_last_words(ended)}"


def _failed_again(status: Object) -> bool:
    """Whether a container has just ended with an error, and not for the first time."""
    ended = (status.get("state") or {}).get("terminated") or {}
    return bool(ended.get("exitCode")) and bool(status.get("restartCount"))


def _last_words(ended: Object) -> str:
    words = str(ended.get("message") or "").strip().rstrip(".")
    return words[-_LAST_WORDS:] or f"exit code {ended.get('exitCode', 'unknown')}, without a message"


def _is_late(deployment: Object) -> bool:
    """Whether Kubernetes has waited for longer than the Deployment may take."""
    progressing = _condition(deployment, "Progressing")
    return progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded"


def _condition(thing: Object, kind: str) -> Object | None:
    for each in thing.get("status", {}).get("conditions") or ():
        if each.get("type") == kind:
            condition: Object = each
            return condition
    return None


def _containers(pod: Object) -> Iterator[Object]:
    status = pod.get("status", {})
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or ()


def _name(thing: Object) -> str:
    return str(thing["metadata"]["name"])
