"""Bodies: a share of requests and answers, appended as JSON lines to files that the collector reads.

Nothing is written unless the plan asks for it. Each process writes its own file, `bodies.jsonl.<pid>-<n>.open`, and
removes `.open` from the name when it begins the next one. If the files of a folder become too large together, because
nobody reads them, bodies are left out, and the next line says how many.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zlib import crc32

log = logging.getLogger("bentoml.predictor")

GENERATED = b"x-sluice-generated"
"""The header of a request that no caller sent. Such requests are not captured."""
STEM, OPEN = "bodies.jsonl", ".open"
_BODIES = ("hashed", "full")
_BODY_BYTES = 64 << 10
"""For a longer body only its length is written."""
_HEADER_LENGTH = 256
_FILE_BYTES = 8 << 20
_FILE_SECONDS = 60.0
_FOLDER_BYTES = 256 << 20
_SLOTS = 10_000


@dataclass(kw_only=True)
class Capture:
    """Captures bodies. One for each process."""

    folder: Path
    build: str
    share: float
    features: str
    """off, hashed or full."""
    predictions: str
    """off, summary, hashed or full; with off and summary no bodies are written."""
    headers: tuple[bytes, ...] = ()
    """Names of request headers to write as well."""
    key: bytes
    """The key of the hashes. Without it, nobody can find values by trying candidates."""
    clock: Callable[[], float] = time.time
    _file: IO[bytes] | None = None
    _path: Path = Path()
    _began: float = 0.0
    _files: int = 0
    _left_out: int = 0

    @classmethod
    def from_environment(cls, environment: dict[str, str] | os._Environ[str], build: str) -> Capture | None:
        """The capture that `BENTO_CAPTURE` describes; None if it is not set."""
        text = environment.get("BENTO_CAPTURE")
        if not text:
            return None
        settings = json.loads(text)
        return cls(
            folder=Path(settings["folder"]), build=build, share=settings["share"], features=settings["features"],
            predictions=settings["predictions"],
            headers=tuple(name.encode() for name in settings["headers"]), key=Path(settings["key"]).read_bytes(),
        )  # fmt: skip

    @property
    def has_summary(self) -> bool:
        """Whether the log may contain summaries of answers."""
        return self.predictions != "off"

    def take(
        self, request_id: str, request: bytes, answer: bytes, headers: Mapping[bytes, bytes] | None = None
    ) -> None:  # fmt: skip
        """Capture a request and its answer if it is in the share. Counts what cannot be written.

        The request's id decides whether it is in the share, so that another service that gets a copy decides alike.
        """
        has_bodies = self.features != "off" or self.predictions in _BODIES
        if has_bodies and crc32(request_id.encode()) % _SLOTS < self.share * _SLOTS:
            self._write(request_id, request, answer, headers or {})

    def _write(self, request_id: str, request: bytes, answer: bytes, headers: Mapping[bytes, bytes]) -> None:
        line: dict[str, Any] = {"v": 1, "rid": request_id, "at": round(self.clock() * 1e6), "build": self.build}
        if self.features != "off":
            line["features"] = self._kept(self.features, request)
        if self.predictions in _BODIES:
            line["predictions"] = self._kept(self.predictions, answer)
        named = {name.decode(): headers[name].decode("latin-1") for name in self.headers if name in headers}
        if named:
            short = {name: value[:_HEADER_LENGTH] for name, value in named.items()}
            is_hidden = self.features == "hashed" or self.predictions == "hashed"
            line["headers"] = self._hashed(short) if is_hidden else short
        if self._left_out:
            line["left_out"] = self._left_out
        try:
            is_written = self._append(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            is_written = False
            log.warning("a body was not written: %s", error)
        self._left_out = 0 if is_written else self._left_out + 1

    def _append(self, line: bytes) -> bool:
        """Append a whole line or nothing. Returns False if the folder is full; raises OSError if the disk is."""
        file = self._open()
        if file is None:
            return False
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) == len(line):
                return True
        finally:
            if file.tell() != end + len(line):
                file.truncate(end)
        return False

    def _kept(self, how: str, body: bytes) -> Any:
        if len(body) > _BODY_BYTES:
            return {"bytes": len(body)}
        document = json.loads(body)
        return document if how == "full" else self._hashed(document)

    def _hashed(self, value: Any) -> Any:
        """The value with each leaf replaced by 16 hex digits, equal for equal values. Names stay."""
        match value:
            case dict():
                return {name: self._hashed(each) for name, each in value.items()}
            case list():
                return [self._hashed(each) for each in value]
            case _:
                return hashlib.blake2b(json.dumps(value).encode(), key=self.key, digest_size=8).hexdigest()

    def _open(self) -> IO[bytes] | None:
        """The file to append to; None if the folder is full."""
        now = self.clock()
        if self._file is not None and (self._file.tell() > _FILE_BYTES or now - self._began > _FILE_SECONDS):
            self.close()
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if sum(path.stat().st_size for path in self.folder.glob(f"{STEM}.*")) > _FOLDER_BYTES:
                return None
            self._files += 1
            self._path = self.folder / f"{STEM}.{os.getpid()}-{round(now * 1e3)}-{self._files}{OPEN}"
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._file, self._began = os.fdopen(descriptor, "ab", buffering=0), now
        return self._file

    def close(self) -> None:
        """Close the present file and remove `.open` from its name."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.rename(self._path.with_name(self._path.name.removesuffix(OPEN)))
