"""Sluicegate: progressive delivery for ML models.

What applications use stands here; everything else is internal and may change with any version.

    from sluicegate import Client

The rooms `sluicegate.registry`, `sluicegate.services` and `sluicegate.flows` are the folders of the same names at the
top of the repository.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.services.client import (
        Answered,
        AsyncClient,
        CannotBeSent,
        Client,
        ClientError,
        Failed,
        FeedbackFull,
        NoSuchModel,
        NotAllowed,
        Prediction,
        Predictions,
        Receipt,
        Refused,
        Retries,
        TimedOut,
        Turned,
        UnitIgnored,
        Unreachable,
    )

__all__ = [
    "Answered",
    "AsyncClient",
    "CannotBeSent",
    "Client",
    "ClientError",
    "Failed",
    "FeedbackFull",
    "NoSuchModel",
    "NotAllowed",
    "Prediction",
    "Predictions",
    "Receipt",
    "Refused",
    "Retries",
    "TimedOut",
    "Turned",
    "UnitIgnored",
    "Unreachable",
]


def __getattr__(name: str) -> object:
    """The client is imported when it is first used, so that commands do not pay for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sluicegate.services.client"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
