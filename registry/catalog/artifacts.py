"""A build's files: over HTTP from MLflow's artifact proxy, or by MLflow's own client in a separate process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from sluicegate.registry.catalog.rest import Rest
from sluicegate.registry.words.errors import CatalogUnavailable

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
MAX_FILES = 100_000
DOWNLOAD_SECONDS = 3600
"""Time limit for all files of a build. With MLflow's proxy, the limit grows by their size."""
FILE_SECONDS = 60.0
"""Time limit for one file, plus more for its size."""
RATE = 128 << 10
"""Bytes a second. A server that sends fewer takes too long."""


def download(rest: Rest, uri: str, into: Path) -> None:
    """Download the files under an artifact URI into a new folder `into`. It appears complete or not at all."""
    draft = into.with_name(f".{into.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        is_proxied = urlsplit(uri).scheme == "mlflow-artifacts"
        whole = _from_proxy(rest, uri, draft) if is_proxied else _by_mlflow(rest, uri, draft)
        shutil.rmtree(into, ignore_errors=True)
        whole.rename(into)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _from_proxy(rest: Rest, uri: str, into: Path) -> Path:
    root = urlsplit(uri).path.strip("/")
    began, came = time.monotonic(), 0
    for name, size in _listing(rest, root):
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        left = DOWNLOAD_SECONDS + came / RATE - (time.monotonic() - began)
        seconds = max(0.0, left if size is None else min(FILE_SECONDS, left) + size / RATE)
        with rest.stream(f"{PROXY}/{quote(f'{root}/{name}')}", seconds) as chunks, target.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        came += target.stat().st_size
        if size is not None and target.stat().st_size != size:
            raise CatalogUnavailable(f"{root}/{name}: MLflow sent {target.stat().st_size:,} bytes instead of {size:,}.")
    return into


def _listing(rest: Rest, root: str) -> Iterator[tuple[str, int | None]]:
    """Every file under `root`, by its path from there, with its size if known."""
    folders, count = [""], 0
    while folders:
        folder = folders.pop()
        page = rest.ask("GET", PROXY, params={"path": f"{root}/{folder}".rstrip("/")})
        for entry in page.get("files", []):
            count += 1
            if count > MAX_FILES:
                raise CatalogUnavailable(f"{root} holds more than {MAX_FILES:,} files.")
            path = str(PurePosixPath(folder) / _contained(str(entry["path"])))
            if entry.get("is_dir"):
                folders.append(path)
            else:
                yield path, int(entry["file_size"]) if "file_size" in entry else None


def _contained(name: str) -> PurePosixPath:
    """A path that stays inside the folder. MLflow checks this too, but we do not rely on it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\x00" in name:
        raise CatalogUnavailable(f"MLflow lists a file outside of the build's folder: {name!r}.")
    return path


_SCRIPT = """
import sys, mlflow
print(mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1], dst_path=sys.argv[2]))
"""


def client_environment(rest: Rest) -> dict[str, str]:
    """The environment in which MLflow's own client reaches this server."""
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": rest.server.url,
        "MLFLOW_TRACKING_USERNAME": rest.server.username,
        "MLFLOW_TRACKING_PASSWORD": rest.server.password,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _by_mlflow(rest: Rest, uri: str, into: Path) -> Path:
    """Download with MLflow's client, which knows every store. A process of its own: the import is slow and large."""
    process = subprocess.run(
        [sys.executable, "-c", _SCRIPT, uri, str(into)],
        env=client_environment(rest),
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_SECONDS,
        check=False,
    )
    if process.returncode != 0:
        reason = process.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise CatalogUnavailable(
            f"{uri} could not be downloaded: {reason[0]}.", fix="check its store and the credentials for it."
        )
    return Path(process.stdout.strip().splitlines()[-1])
