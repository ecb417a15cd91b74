"""Digests, records, and the environment that services get."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.errors import PackFailed
from sluicegate.services.bento.digests import tree_digest
from sluicegate.services.bento.process_environment import bare_environment, install_environment
from sluicegate.services.bento.store import BentoStore

TAG = "delays:v1-abc"


@pytest.fixture
def store(tmp_path: Path) -> BentoStore:
    store = BentoStore(tmp_path)
    files = {
        store.bento(TAG) / "bento.yaml": "name: delays",
        store.bento(TAG) / "src" / "service.py": "x = 1",
        store.model(TAG) / "MLmodel": "flavors: {}",
        store.model(TAG) / "model.skops": "0101",
        store.model(TAG).parent / "model.yaml": "name: delays",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return store


def verify(store: BentoStore, digests: tuple[str, str]) -> None:
    store.verify(TAG, bento_digest=digests[0], model_digest=digests[1])


def test_what_was_packed_verifies(store: BentoStore) -> None:
    verify(store, store.digests(TAG))


@pytest.mark.parametrize("name", ["bento.yaml", "src/service.py"])
def test_a_flipped_byte_in_the_bento_is_refused(store: BentoStore, name: str) -> None:
    digests = store.digests(TAG)
    path = store.bento(TAG) / name
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackFailed, match="the bento of delays:v1-abc was changed"):
        verify(store, digests)


@pytest.mark.parametrize("name", ["mlflow/model.skops", "mlflow/MLmodel", "model.yaml"])
def test_a_flipped_byte_in_the_model_is_refused(store: BentoStore, name: str) -> None:
    digests = store.digests(TAG)
    path = store.model(TAG).parent / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 128
    path.write_bytes(content)
    with pytest.raises(PackFailed, match="was changed"):
        verify(store, digests)


def test_a_missing_part_is_refused(store: BentoStore) -> None:
    digests = store.digests(TAG)
    (store.model(TAG).parent / "model.yaml").unlink()
    with pytest.raises(PackFailed, match="is incomplete"):
        verify(store, digests)


def test_an_added_or_moved_file_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = tree_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    moved = tree_digest(tmp_path)
    (tmp_path / "c").write_text("")
    assert len({first, moved, tree_digest(tmp_path)}) == 3


def test_compiled_python_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    first = tree_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled")
    assert tree_digest(tmp_path) == first


def test_records_are_read_back(store: BentoStore) -> None:
    packed = Packed(bento=TAG, bento_digest="b", model_digest="m", env="project")
    assert store.recorded(TAG) is None
    store.record(packed)
    assert store.recorded(TAG) == packed
    assert store.tags() == (TAG,)
    store.forget(TAG)
    assert store.tags() == ()


def test_no_secret_reaches_a_service() -> None:
    told = {"PATH": "/bin", "HOME": "/home/x", "AWS_SECRET_ACCESS_KEY": "s", "SLUICE_TOKEN": "s", "PIP_INDEX_URL": "u"}
    assert bare_environment(told).keys() == {
        "PATH",
        "HOME",
        "DO_NOT_TRACK",
        "BENTOML_DO_NOT_TRACK",
        "MLFLOW_DISABLE_TELEMETRY",
    }
    assert install_environment(told).keys() - bare_environment(told).keys() == {"PIP_INDEX_URL"}
