"""The client's exceptions, in one hierarchy, with messages that say what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ClientError(Exception):
    """Base of the client's exceptions. `fix` says what to do, if that is known."""

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        self.message = message
        self.fix = fix
        super().__init__(f"{message} {fix}" if fix else message)


class CannotBeSent(ClientError, ValueError):
    """Input, metadata, a unit or an outcome cannot be sent unchanged. Nothing was sent."""


class Unreachable(ClientError):
    """The server did not answer. `was_sent` says whether it may have served the request."""

    def __init__(self, message: str, *, fix: str | None = None, was_sent: bool) -> None:
        self.was_sent = was_sent
        super().__init__(message, fix=fix)


class TimedOut(Unreachable):
    """The server took longer than the timeout."""


class Answered(ClientError):
    """The server answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        request_id: str | None = None,
        problems: Sequence[Mapping[str, str]] = (),
        fix: str | None = None,
    ) -> None:
        self.status = status
        self.request_id = request_id
        self.problems = tuple(problems)
        """Each with `where`, `what` and `fix`."""
        super().__init__(message, fix=fix)


class Refused(Answered):
    """4xx: the request is wrong, and sending it again will not help."""


class NoSuchModel(Refused):
    """404: there is no route to this model, or to this variation of it."""


class NotAllowed(Refused):
    """401 or 403: the token is missing, wrong or lacks the role; or callers may not address the variation by name."""


class Failed(Answered):
    """5xx: the service failed. The reason is in the service's log."""


class FeedbackFull(ClientError):
    """Too many outcomes are pending to accept another. None was dropped."""
