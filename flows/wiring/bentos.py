"""The shared store of bentos: the one that the settings name, the owner of its bentos, and whether it works."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.settings import MlflowServer
from sluicegate.services.host.doctor.finding import Finding, failed, passed

if TYPE_CHECKING:
    from sluicegate.services.bento.stores.objects import Limits, Objects
    from sluicegate.services.bento.stores.shared import SharedStore

_OWNER = "bento store"


def objects_at(address: str, mlflow: Callable[[], MlflowServer], limits: Limits) -> Objects:
    """The store at the address in the settings. Does not contact it yet."""
    parts = urlsplit(address)
    match parts.scheme:
        case "s3":
            from sluicegate.services.bento.stores.s3 import S3Objects

            return S3Objects(parts.netloc, parts.path, limits)
        case "mlflow-artifacts":
            from sluicegate.services.bento.stores.mlflow_artifacts import MlflowObjects

            return MlflowObjects(mlflow, parts.path, limits)
        case _:
            from sluicegate.services.bento.stores.folder import FolderObjects

            return FolderObjects(Path(address))


def owner_of(ledger: Ledger) -> str:
    """The name that marks this ledger's bentos in a store that several ledgers share. Drawn once.

    A ledger that lost its name gets a new one. Bentos under the former name stay until somebody deletes them.
    """
    note = ledger.recall(_OWNER)
    if note is None:
        ledger.remember(_OWNER, {"owner": secrets.token_hex(8)})
        note = ledger.recall(_OWNER)
    assert note is not None
    return str(note["owner"])


def store_finding(store: SharedStore) -> Finding:
    """Whether the store can be written to and read."""
    try:
        store.check()
    except SluiceError as error:
        return failed("bento store", error.message, error.fix or "sluice status")
    return passed("bento store", f"{store.where} was written to and read")
