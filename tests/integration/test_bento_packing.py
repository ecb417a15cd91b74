"""Packing real models: what goes in, what is used again, what is refused, what is cleaned up."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from sluicegate.registry.plan.fields import Serve, ServeEnv
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import PackFailed
from sluicegate.services.bento.packer import PREDICTOR, Packer
from tests.integration.bento_models import save_tiny

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ONE, TWO = (Build(ref=BuildRef(model="Tiny Model", version=version), source="models:/m") for version in "12")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models that differ."""
    folder = tmp_path_factory.mktemp("tiny")
    return save_tiny(folder / "one", 1.0), save_tiny(folder / "two", 2.0)


@pytest.fixture(scope="module")
def packer(tmp_path_factory: pytest.TempPathFactory) -> Packer:
    return Packer(tmp_path_factory.mktemp("bento"), clock=lambda: NOW)


@pytest.fixture
def fresh(tmp_path: Path) -> Packer:
    return Packer(tmp_path / "bento", clock=lambda: NOW)


def test_two_builds_hold_their_own_models(packer: Packer, tiny: tuple[Path, Path]) -> None:
    packed = [packer.pack(build, path, serve=Serve()) for build, path in zip((ONE, TWO), tiny, strict=True)]
    assert len({bento.bento for bento in packed}) == 2
    for bento, path in zip(packed, tiny, strict=True):
        manifest = YAML(typ="safe").load(packer.store.bento(bento.bento) / "bento.yaml")
        assert [model["tag"] for model in manifest["services"][0]["models"]] == [bento.bento]
        assert (packer.store.model(bento.bento) / "MLmodel").read_bytes() == (path / "MLmodel").read_bytes()


def test_a_bento_holds_the_predictor_and_nothing_else(packer: Packer, tiny: tuple[Path, Path]) -> None:
    tag = packer.pack(ONE, tiny[0], serve=Serve()).bento
    source = packer.store.bento(tag) / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    own = {f"predictor/{path.name}" for path in PREDICTOR.glob("*.py")}
    assert files - {"bentofile.yaml"} == own | {"predictor/bento.json"}


def test_the_same_content_is_packed_once(packer: Packer, tiny: tuple[Path, Path]) -> None:
    first = packer.pack(ONE, tiny[0], serve=Serve())
    made = packer.store.bento(first.bento).stat().st_ino
    assert packer.pack(ONE, tiny[0], serve=Serve()) == first
    assert packer.store.bento(first.bento).stat().st_ino == made


def test_another_predictor_gives_another_bento(
    packer: Packer, tiny: tuple[Path, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    edited = tmp_path / "predictor"
    shutil.copytree(PREDICTOR, edited)
    (edited / "answer.py").write_text((edited / "answer.py").read_text() + "\n# edited\n")
    other = Packer(tmp_path_factory.mktemp("edited"), clock=lambda: NOW, predictor=edited)
    assert other.pack(ONE, tiny[0], serve=Serve()).bento != packer.pack(ONE, tiny[0], serve=Serve()).bento


def test_a_damaged_bento_is_refused_and_mended_by_packing_again(packer: Packer, tiny: tuple[Path, Path]) -> None:
    packed = packer.pack(ONE, tiny[0], serve=Serve())
    damaged = packer.store.model(packed.bento) / "python_model.pkl"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(PackFailed, match=r"the model of .* was changed after it was packed"):
        packer.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)
    assert packer.pack(ONE, tiny[0], serve=Serve()) == packed
    packer.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)


def test_an_interrupted_packing_is_done_again(fresh: Packer, tiny: tuple[Path, Path]) -> None:
    packed = fresh.pack(ONE, tiny[0], serve=Serve())
    fresh.store.forget(packed.bento)
    shutil.rmtree(fresh.store.bento(packed.bento) / "src")
    assert fresh.pack(ONE, tiny[0], serve=Serve()) == packed
    fresh.verify(packed.bento, bento_digest=packed.bento_digest, model_digest=packed.model_digest)


def test_conflicts_are_refused_with_the_list(fresh: Packer, tiny: tuple[Path, Path], tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(tiny[0], old)
    (old / "requirements.txt").write_text("pandas==1.5.3\nno-such-package==1.0\nmlflow>=3\n")
    with pytest.raises(PackFailed) as refused:
        fresh.pack(ONE, old, serve=Serve())
    assert "pandas: the model needs ==1.5.3" in refused.value.message
    assert "no-such-package: the model needs ==1.0, installed is none" in refused.value.message
    assert "mlflow" not in refused.value.message
    assert "serve.env: isolated" in str(refused.value.fix)


def test_an_environment_that_cannot_be_built_is_told(fresh: Packer, tiny: tuple[Path, Path], tmp_path: Path) -> None:
    impossible = tmp_path / "impossible"
    shutil.copytree(tiny[0], impossible)
    (impossible / "requirements.txt").write_text("pandas==3.1.1,<1\n")
    with pytest.raises(PackFailed, match="isolated environment could not be built"):
        fresh.pack(ONE, impossible, serve=Serve(env=ServeEnv.ISOLATED))
    assert fresh.environments.names() == ()


@pytest.mark.parametrize(
    "spoil", [lambda path: (path / "MLmodel").unlink(), lambda path: (path / "MLmodel").write_text("a: [")]
)
def test_what_is_no_model_is_refused(fresh: Packer, tiny: tuple[Path, Path], tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    spoilt = tmp_path / "spoilt"
    shutil.copytree(tiny[0], spoilt)
    spoil(spoilt)
    with pytest.raises(PackFailed, match="is not an MLflow model"):
        fresh.pack(ONE, spoilt, serve=Serve())


def test_cleaning_keeps_what_is_named_and_what_is_recent(fresh: Packer, tiny: tuple[Path, Path]) -> None:
    one, two = (fresh.pack(build, path, serve=Serve()) for build, path in zip((ONE, TWO), tiny, strict=True))
    begun = fresh.store.home / "bentos" / "tiny" / "v9-begun"
    begun.mkdir(parents=True)
    old = (NOW - timedelta(days=1)).timestamp()
    os.utime(begun, (old, old))
    assert fresh.clean([], NOW + timedelta(days=13)) == ()
    assert set(fresh.clean([two.bento], NOW + timedelta(days=15))) == {one.bento, "tiny:v9-begun"}
    assert fresh.store.tags() == (two.bento,)
    assert not fresh.store.bento(one.bento).exists()
    assert not fresh.store.model(one.bento).exists()
    assert not begun.exists()
    fresh.verify(two.bento, bento_digest=two.bento_digest, model_digest=two.model_digest)
