"""What can go wrong for who asks: one tree of exceptions, each with a message that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ClientError(Exception):
    """Something went wrong. `fix` says what to do about it, where that is known."""

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        self.message = message
        self.fix = fix
        super().__init__(f"{message} {fix}" if fix else message)


class CannotBeSent(ClientError, ValueError):
    """Input, metadata, a unit or an outcome that cannot be carried as it is. Nothing was sent."""


class Unreachable(ClientError):
    """Nobody could be reached. Nothing was answered; `was_sent` says whether the request may have been served."""

    def __init__(self, message: str, *, fix: str | None = None, was_sent: bool) -> None:
        self.was_sent = was_sent
        super().__init__(message, fix=fix)


class TimedOut(Unreachable):
    """It took longer than the caller wants to wait."""


class Answered(ClientError):
    """The server answered, but not with what was asked for."""

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
    """4xx: the request is wrong, and will be the next time."""


class NoSuchModel(Refused):
    """404: no route leads to this model, or to this variation of it."""


class NotAllowed(Refused):
    """401 or 403: the token is missing, wrong, or may not do this; or the variation may not be asked for by name."""


class Failed(Answered):
    """5xx: the service failed. Nothing is known about why until somebody looks."""


class FeedbackFull(ClientError):
    """So many outcomes wait to be sent that no more are taken; none was dropped."""
