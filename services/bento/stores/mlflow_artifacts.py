"""MLflow's artifacts as the store, through the tracking server's artifact proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import httpx

from sluicegate.registry.catalog.artifacts import PROXY
from sluicegate.registry.catalog.rest import Rest
from sluicegate.registry.words.errors import CatalogUnavailable, NotFound, StoreUnavailable
from sluicegate.registry.words.settings import MlflowServer
from sluicegate.services.bento.stores.objects import Limits, pieces_of


class MlflowObjects:
    """Files below one path of an MLflow server's artifacts."""

    def __init__(self, server: Callable[[], MlflowServer], root: str, limits: Limits) -> None:
        self._server = server
        self._root = root.strip("/")
        self._limits = limits

    @property
    def where(self) -> str:
        return f"mlflow-artifacts:/{self._root}"

    @cached_property
    def _rest(self) -> Rest:
        timeout = httpx.Timeout(self._limits.silence, connect=self._limits.connect)
        return Rest(self._server(), timeout=timeout, deadline=self._limits.whole)

    def size(self, name: str) -> int | None:
        folder, _, last = name.rpartition("/")
        return next((size for each, is_folder, size in self._listed(folder) if each == last and not is_folder), None)

    def upload(self, name: str, source: Path) -> None:
        """Store a file. The server shows it only when it is complete."""
        size = source.stat().st_size
        seconds = self._limits.seconds(size)
        with self._reached():
            self._rest.upload(self._path(name), pieces_of(source), size, seconds)

    @contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes]]:
        size = self.size(name)
        if size is None:
            raise NotFound(f"{name} is not in {self.where}.")
        with self._reached(), self._rest.stream(self._path(name), self._limits.seconds(size)) as pieces:
            yield pieces

    def names(self, under: str) -> tuple[str, ...]:
        files: list[str] = []
        folders = [under]
        while folders:
            folder = folders.pop()
            for each, is_folder, _ in self._listed(folder):
                (folders if is_folder else files).append(f"{folder}/{each}")
        return tuple(sorted(files))

    def remove(self, name: str) -> None:
        with self._reached(), contextlib.suppress(NotFound):
            self._rest.ask("DELETE", self._path(name))

    def sweep(self, before: datetime) -> None:
        """Do nothing: the server itself deletes what killed uploads left."""

    def _listed(self, folder: str) -> list[tuple[str, bool, int]]:
        with self._reached():
            try:
                files = self._rest.ask("GET", PROXY, params={"path": f"{self._root}/{folder}"}).get("files", [])
            except NotFound:
                return []
        return [
            (str(each["path"]).rpartition("/")[2], bool(each.get("is_dir")), int(each.get("file_size") or 0))
            for each in files
        ]

    def _path(self, name: str) -> str:
        return f"{PROXY}/{quote(f'{self._root}/{name}')}"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except CatalogUnavailable as error:
            raise StoreUnavailable(
                f"the bento store {self.where} cannot be used: {error.message}",
                fix="check that MLflow runs with --serve-artifacts, has free space and lets this user write: "
                "sluice doctor.",
            ) from error
