"""The Python client, which the `sluicegate` package exports; it depends only on httpx."""

from sluicegate.services.client.aio import AsyncClient
from sluicegate.services.client.hashing import UnitIgnored
from sluicegate.services.client.outcomes import Receipt, Turned
from sluicegate.services.client.predictions import Prediction, Predictions
from sluicegate.services.client.problems import (
    Answered,
    CannotBeSent,
    ClientError,
    Failed,
    FeedbackFull,
    NoSuchModel,
    NotAllowed,
    Refused,
    TimedOut,
    Unreachable,
)
from sluicegate.services.client.retrying import Retries
from sluicegate.services.client.sync import Client

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
