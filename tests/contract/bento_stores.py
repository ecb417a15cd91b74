"""Stores of bentos for contract tests: a folder, a real MLflow server's artifacts, a bucket of moto's server."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.flows.wiring.bentos import objects_at
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.settings import MlflowServer
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.bento.stores import folder, mlflow_artifacts, s3
from sluicegate.services.bento.stores.objects import Limits, Objects, pieces_of
from sluicegate.services.bento.stores.shared import SharedStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHORT = Limits(connect=0.5, silence=0.5, whole=1.0, rate=1 << 30)
PATIENT = Limits(connect=20, silence=60, whole=120)
"""Longer than a machine under load takes."""
NO_SERVER = MlflowServer(url="http://127.0.0.1:1")
TAG = "delays:v1-abc"


@dataclass(frozen=True)
class Place:
    """Where a store is, and what one must know to reach it."""

    address: str
    mlflow: MlflowServer = NO_SERVER

    def objects(self, limits: Limits = PATIENT) -> Objects:
        return objects_at(self.address, lambda: self.mlflow, limits)


@dataclass(frozen=True)
class Host:
    """A machine: its folder, and the shared store as it sees it."""

    home: Path
    shared: SharedStore

    @classmethod
    def at(cls, home: Path, objects: Objects, owner: str = "ours") -> Host:
        return cls(home, SharedStore(objects, home=home, owner=lambda: owner))

    @property
    def store(self) -> BentoStore:
        return BentoStore(self.home / "store")

    def drafts(self) -> list[Path]:
        return list((self.home / "drafts").glob("*"))


def pack(host: Host, tag: str = TAG, files: int = 3) -> Packed:
    """A bento as the packer leaves it; what is in it is the test's own."""
    store = host.store
    content = {
        store.bento(tag) / "bento.yaml": f"name: {tag}",
        store.bento(tag) / "src" / "service.py": "x = 1",
        store.model(tag) / "MLmodel": "flavors: {python_function: {}}",
        store.model(tag).parent / "model.yaml": f"name: {tag}",
        **{store.model(tag) / "data" / f"{number}.bin": str(number) for number in range(files)},
    }
    for path, text in content.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    digests = store.digests(tag)
    packed = Packed(bento=tag, env="project", bento_digest=digests[0], model_digest=digests[1])
    store.record(packed)
    return packed


@contextmanager
def bucket(name: str) -> Iterator[None]:
    """Moto's S3 server on loopback, with a bucket of this name and the environment that leads to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for key, value in aws(f"http://{host}:{port}").items():
            environment.setenv(key, value)
        boto3.session.Session().client("s3").create_bucket(Bucket=name)
        try:
            yield
        finally:
            server.stop()


def aws(endpoint: str) -> dict[str, str]:
    """What boto3 reads."""
    keys = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**keys, "AWS_ENDPOINT_URL_S3": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}


def upload_half(kind: str, address: str, url: str, password: str, name: str, source: str) -> None:
    """Begin an upload, say so, and wait to be killed. Runs in a process of its own."""
    stalling: Callable[[Path], Iterator[bytes]] = _half_of
    for module in (folder, mlflow_artifacts, s3):
        module.pieces_of = stalling  # type: ignore[attr-defined]
    folder._linked_or_copied = _half_copied
    place = Place(address, MlflowServer(url=url, username="admin", password=password))
    place.objects().upload(name, Path(source))
    sys.exit(f"{kind} was uploaded whole")


def _half_of(source: Path) -> Iterator[bytes]:
    pieces = list(pieces_of(source))
    yield from pieces[: len(pieces) * 3 // 4]
    _wait()


def _half_copied(source: Path, draft: Path) -> None:
    draft.write_bytes(source.read_bytes()[:100])
    _wait()


def _wait() -> None:
    print("half", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    os.umask(0o077)
    upload_half(*sys.argv[1:])
