"""The Python client: `from services.client import Client, AsyncClient`. It imports nothing else of ours, and httpx."""

from services.client.aio import AsyncClient
from services.client.hashing import UnitIgnored
from services.client.outcomes import Receipt, Turned
from services.client.predictions import Prediction, Predictions
from services.client.problems import (
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
from services.client.retrying import Retries
from services.client.sync import Client

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
