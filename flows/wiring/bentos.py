"""The shared store of bentos: which one the settings name, whose bentos are in it, and whether it can be used."""

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
    """The store of an address, as the settings name it. Nothing is asked of it yet."""
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
    """The name by which this ledger's bentos are kept in a store that several share; made once.

    A ledger that lost it keeps what it put under a new name. What the former one kept stays, until somebody deletes it.
    """
    known = ledger.recall(_OWNER)
    if known is None:
        ledger.remember(_OWNER, {"owner": secrets.token_hex(8)})
        known = ledger.recall(_OWNER)
    assert known is not None
    return str(known["owner"])


def store_finding(store: SharedStore) -> Finding:
    """Whether the store can be written and read."""
    try:
        store.check()
    except SluiceError as error:
        return failed("bento store", error.message, error.fix or "sluice status")
    return passed("bento store", f"{store.where} was written to and read")
