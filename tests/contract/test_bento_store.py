"""What a shared store of bentos promises, on every kind: a folder, a real MLflow server, and S3's protocol (moto)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.errors import NotFound, PackFailed, ServiceFailed, StoreUnavailable
from sluicegate.registry.words.settings import MlflowServer
from sluicegate.services.bento.stores.folder import FolderObjects
from sluicegate.services.bento.stores.objects import Objects
from sluicegate.services.bento.stores.shared import SharedStore
from tests.contract.bento_stores import NOW, SHORT, TAG, Host, Place, aws, bucket, pack

pytestmark = pytest.mark.timeout(300)
LATER = NOW + timedelta(days=15)


@pytest.fixture(scope="session")
def models_bucket() -> Iterator[str]:
    with bucket("models"):
        yield "models"


@pytest.fixture(params=["folder", "s3", pytest.param("mlflow", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    match request.param:
        case "folder":
            return Place(str(tmp_path / "mounted"))
        case "s3":
            return Place(f"s3://{request.getfixturevalue('models_bucket')}/{uuid4().hex}/bentos")
        case _:
            return Place(f"mlflow-artifacts:/{uuid4().hex}/bentos", request.getfixturevalue("server"))


@pytest.fixture
def objects(place: Place) -> Objects:
    return place.objects()


@pytest.fixture
def worker(tmp_path: Path, objects: Objects) -> Host:
    return Host.at(tmp_path / "worker", objects)


@pytest.fixture
def host(tmp_path: Path, objects: Objects) -> Host:
    return Host.at(tmp_path / "host", objects)


@pytest.fixture
def packed(worker: Host) -> Packed:
    """A bento that the worker packed and put."""
    made = pack(worker)
    worker.shared.put(made, worker.store, NOW)
    return made


def archive_of(objects: Objects) -> str:
    (name,) = objects.names("bentos")
    return name


def alter(objects: Objects, tmp_path: Path, change: bytes, into: bytes) -> None:
    name, file = archive_of(objects), tmp_path / "altered"
    with objects.read(name) as pieces:
        file.write_bytes(b"".join(pieces).replace(change, into))
    objects.upload(name, file)


def test_another_machine_gets_what_was_packed_to_the_last_byte(host: Host, packed: Packed) -> None:
    host.shared.get(packed, host.store)
    host.store.verify(TAG, bento_digest=packed.bento_digest, model_digest=packed.model_digest)
    assert host.store.recorded(TAG) == packed
    assert not host.drafts()


def test_put_twice_is_put_once(worker: Host, objects: Objects, packed: Packed) -> None:
    first = archive_of(objects)
    worker.shared.put(packed, worker.store, NOW)
    assert archive_of(objects) == first
    assert len(objects.names("kept")) == 1
    assert not worker.drafts()


def test_what_is_here_and_whole_is_not_fetched(worker: Host, objects: Objects, packed: Packed) -> None:
    objects.remove(archive_of(objects))
    worker.shared.get(packed, worker.store)


def test_what_was_damaged_here_is_fetched_again(host: Host, packed: Packed) -> None:
    host.shared.get(packed, host.store)
    (host.store.model(TAG) / "MLmodel").write_text("something else")
    host.shared.get(packed, host.store)
    host.store.verify(TAG, bento_digest=packed.bento_digest, model_digest=packed.model_digest)


def test_what_is_not_there_is_said_with_what_to_do(host: Host, worker: Host) -> None:
    unknown = pack(worker, "delays:v2-def")
    with pytest.raises(NotFound, match=r"delays:v2-def is not in the store .* pack it again"):
        host.shared.get(unknown, host.store)
    assert not host.store.tags()


def test_what_was_altered_is_refused_and_put_again(
    host: Host, worker: Host, objects: Objects, packed: Packed, tmp_path: Path
) -> None:
    alter(objects, tmp_path, b"x = 1", b"x = 2")
    with pytest.raises(PackFailed, match=r"differs from what was packed.*delays:v1-abc"):
        host.shared.get(packed, host.store)
    assert not host.store.tags()
    assert not host.store.bento(TAG).exists()
    assert not host.drafts()
    objects.remove(archive_of(objects))
    worker.shared.put(packed, worker.store, NOW)
    host.shared.get(packed, host.store)


def test_what_leads_out_of_the_folder_is_refused(host: Host, objects: Objects, packed: Packed, tmp_path: Path) -> None:
    inside = b"bentos/delays/v1-abc/src/service.py"
    alter(objects, tmp_path, inside, b"../../../evil/x".ljust(len(inside), b"\0"))
    with pytest.raises(PackFailed, match="differs from what was packed"):
        host.shared.get(packed, host.store)
    assert not list(tmp_path.rglob("evil"))


def test_an_archive_that_ends_early_is_refused(host: Host, objects: Objects, packed: Packed, tmp_path: Path) -> None:
    name, file = archive_of(objects), tmp_path / "half"
    with objects.read(name) as pieces:
        file.write_bytes(b"".join(pieces)[:2000])
    objects.upload(name, file)
    with pytest.raises(PackFailed, match="differs from what was packed, so it is not used"):
        host.shared.get(packed, host.store)
    assert not host.drafts()


def test_who_is_killed_in_mid_upload_leaves_nothing_visible(place: Place, objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(24 << 20))
    name = "bentos/delays/v1-abc.tar"
    command = (
        sys.executable, "-m", "tests.contract.bento_stores",
        "half", place.address, place.mlflow.url, place.mlflow.password, name, str(source),
    )  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as uploading:
        assert uploading.stdout is not None
        assert uploading.stdout.readline() == "half\n"
        uploading.send_signal(signal.SIGKILL)
    assert objects.size(name) is None
    assert objects.names("bentos") == ()
    with pytest.raises(NotFound), objects.read(name) as pieces:
        next(pieces)
    objects.sweep(datetime.now(UTC) + timedelta(hours=1))
    objects.upload(name, source)
    assert objects.size(name) == 24 << 20


def test_machines_that_get_at_the_same_moment_each_have_it_whole(
    objects: Objects, tmp_path: Path, packed: Packed
) -> None:
    machines = [Host.at(tmp_path / name, objects) for name in ("one", "one", "two")]
    together, failures = threading.Barrier(len(machines)), []

    def get(machine: Host) -> None:
        together.wait()
        try:
            machine.shared.get(packed, machine.store)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=get, args=(machine,)) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for machine in machines:
        machine.store.verify(TAG, bento_digest=packed.bento_digest, model_digest=packed.model_digest)


def test_what_no_rollout_needs_and_nobody_wanted_lately_goes(worker: Host, objects: Objects, packed: Packed) -> None:
    needed = pack(worker, "delays:v2-def")
    worker.shared.put(needed, worker.store, NOW)
    assert worker.shared.clean([needed.bento], NOW + timedelta(days=13)) == ()
    assert worker.shared.clean([needed.bento], LATER) == (packed.bento,)
    assert worker.shared.clean([needed.bento], LATER) == ()
    assert [name for name in objects.names("bentos") if "v1-abc" in name] == []
    assert len(objects.names("bentos")) == len(objects.names("kept")) == 1


def test_what_is_put_again_is_wanted_again(worker: Host, packed: Packed) -> None:
    worker.shared.put(packed, worker.store, LATER - timedelta(days=1))
    assert worker.shared.clean([], LATER) == ()


def test_a_ledger_deletes_nothing_that_another_one_put(
    worker: Host, tmp_path: Path, objects: Objects, packed: Packed
) -> None:
    other = Host.at(tmp_path / "other", objects, owner="theirs")
    theirs, both = pack(other, "prices:v1-123"), pack(other)
    other.shared.put(theirs, other.store, NOW)
    other.shared.put(both, other.store, NOW)
    assert both == packed
    assert worker.shared.clean([], LATER) == (TAG,)
    assert len(objects.names("bentos")) == 2
    fresh = Host.at(tmp_path / "fresh", objects, owner="theirs")
    fresh.shared.get(both, fresh.store)
    assert set(other.shared.clean([], LATER)) == {TAG, "prices:v1-123"}
    assert objects.names("bentos") == objects.names("kept") == ()


def test_a_check_leaves_nothing(worker: Host, objects: Objects) -> None:
    worker.shared.check()
    assert objects.names("checks") == ()


@contextmanager
def silent_server(drips: bool) -> Iterator[str]:
    """Takes every connection and says nothing, or a byte now and then."""
    stop, taken = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    taken.append(listener.accept()[0])
                for each in taken if drips else ():
                    with suppress(OSError):
                        each.sendall(b"H" if len(taken) < 2 else b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()
            for each in taken:
                each.close()


@pytest.mark.parametrize("kind", ["s3", "mlflow"])
@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_a_store_that_hangs_is_given_up(
    kind: str, drips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent_server(drips) as url:
        for key, value in aws(url).items():
            monkeypatch.setenv(key, value)
        address = {"s3": "s3://models/bentos", "mlflow": "mlflow-artifacts:/bentos"}[kind]
        hanging = Host.at(tmp_path, Place(address, MlflowServer(url=url)).objects(SHORT))
        packed = pack(hanging)
        with pytest.raises(StoreUnavailable, match=r"the bento store .* cannot be used"):
            hanging.shared.put(packed, hanging.store, NOW)
        with pytest.raises(StoreUnavailable):
            hanging.shared.check()
        hanging.store.forget(TAG)
        with pytest.raises(StoreUnavailable):
            hanging.shared.get(packed, hanging.store)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounts a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("files", [1_200, 4_000], ids=["while it comes", "before it comes"])
def test_a_disk_that_is_full_keeps_nothing_of_it(small: Path, worker: Host, objects: Objects, files: int) -> None:
    """An archive has half a block for a small file, the disk a whole one."""
    packed = pack(worker, files=files)
    worker.shared.put(packed, worker.store, NOW)
    host = Host.at(small, objects)
    with pytest.raises(ServiceFailed, match=r"the disk is full\. Fix: free space"):
        host.shared.get(packed, host.store)
    assert not host.drafts()
    assert not host.store.tags()
    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
    host.shared.get(packed, host.store)


def test_a_folder_on_the_same_disk_holds_no_second_copy_while_it_is_put(tmp_path: Path) -> None:
    source = tmp_path / "archive"
    source.write_bytes(b"x" * 1000)
    FolderObjects(tmp_path / "mounted").upload("bentos/a.tar", source)
    assert (tmp_path / "mounted" / "bentos" / "a.tar").samefile(source)


def test_a_folder_that_is_not_mounted_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SharedStore(FolderObjects(tmp_path / "file" / "below"), home=tmp_path, owner=lambda: "ours")
    with pytest.raises(StoreUnavailable, match=r"cannot be used: Not a directory.*check that the folder is mounted"):
        store.check()


def test_a_bucket_that_is_not_there_is_said(models_bucket: str, tmp_path: Path) -> None:
    assert models_bucket
    objects = Place("s3://nobodys/bentos").objects()
    store = SharedStore(objects, home=tmp_path, owner=lambda: "ours")
    with pytest.raises(
        StoreUnavailable, match=r"s3://nobodys/bentos cannot be used.*bucket.*check that the bucket exists"
    ):
        store.check()
