"""The ConfigMap that holds the routes: one sheet, which gateways watch, and which a pod finds mounted when it starts.

A large sheet is compressed. One that is too large even so is refused, and the former one stays.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from pathlib import Path

from sluicegate.registry.words.errors import RoutesRejected, UsageError
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import Component, labels

TABLE = "sluicegate-table"
PLAIN, PACKED = "table.json", "table.json.gz"
PLAIN_UP_TO = 200_000
"""Bytes up to which a sheet is not compressed. A larger one would send much to every gateway at each change."""
LARGEST = 1_000_000
"""Bytes. Kubernetes takes 1 MiB of data in a ConfigMap."""
_LARGEST_UNPACKED = 64 << 20


def table_map(sheet: str, version: str | None = None) -> Object:
    """The ConfigMap of a sheet, to replace the one of this version. Raises RoutesRejected if it is too large."""
    metadata = {"name": TABLE, "labels": labels(Component.GATEWAY)}
    if version is not None:
        metadata["resourceVersion"] = version
    raw = sheet.encode()
    if len(raw) <= PLAIN_UP_TO:
        return {"metadata": metadata, "data": {PLAIN: sheet}}
    packed = gzip.compress(raw, 6, mtime=0)
    if len(packed) > LARGEST:
        raise RoutesRejected(
            f"the routes take {len(packed):,} bytes, compressed, and a ConfigMap holds at most {LARGEST:,}. "
            "The former routes stay in force.",
            fix="undeploy models that get no requests, simplify audiences with long lists, or install Sluicegate "
            "a second time, in another namespace.",
        )
    return {"metadata": metadata, "binaryData": {PACKED: base64.b64encode(packed).decode()}}


def sheet_of(thing: Object) -> str | None:
    """The sheet that a ConfigMap holds; None if it holds none yet. Raises UsageError."""
    if PLAIN in (thing.get("data") or {}):
        return str(thing["data"][PLAIN])
    packed = (thing.get("binaryData") or {}).get(PACKED)
    return None if packed is None else _unpacked(base64.b64decode(packed))


def mounted_sheet(folder: Path) -> str | None:
    """The sheet of the ConfigMap that is mounted here; None if there is none. Raises UsageError."""
    try:
        if (folder / PACKED).exists():
            return _unpacked((folder / PACKED).read_bytes())
        return (folder / PLAIN).read_text(encoding="utf-8")
    except OSError:
        return None


def _unpacked(data: bytes) -> str:
    reading = zlib.decompressobj(wbits=31)
    try:
        text = reading.decompress(data, _LARGEST_UNPACKED)
        if not reading.eof:
            raise UsageError(f"the routes in the ConfigMap {TABLE} are incomplete, or far too large.", fix=_FIX)
        return text.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise UsageError(f"the routes in the ConfigMap {TABLE} cannot be read: {error}.", fix=_FIX) from None


_FIX = "delete that ConfigMap: the keeper writes it again at its next look."
