"""The whole image: written from what is installed here, unpacked, and run as nobody in a root of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.soak,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root"),
]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A command in the image, with its environment."""
    from sluicegate.services.cluster.install.image import write_image

    folder = tmp_path_factory.mktemp("image")
    layout, root = folder / "layout", folder / "root"
    write_image(layout, name="sluicegate:test", base=None, progress=lambda *_: None)

    def blob(described: dict[str, Any]) -> Path:
        return layout / "blobs" / "sha256" / described["digest"].removeprefix("sha256:")

    manifest = json.loads(blob(json.loads((layout / "index.json").read_text())["manifests"][0]).read_text())
    told = json.loads(blob(manifest["config"]).read_text())["config"]
    for layer in manifest["layers"]:
        with tarfile.open(blob(layer)) as tar:
            tar.extractall(root, filter="fully_trusted")
    (root / "dev").mkdir()
    (root / "dev" / "null").touch(mode=0o666)

    def inside(*words: str) -> subprocess.CompletedProcess[str]:
        environment = dict(each.split("=", 1) for each in told["Env"]) | {"HOME": "/state"}
        chroot = [str(shutil.which("chroot")), f"--userspec={told['User']}", str(root)]
        return subprocess.run([*chroot, *words], env=environment, capture_output=True, text=True, check=False)

    yield inside
    shutil.rmtree(folder)


def test_every_role_has_its_command(run: Run) -> None:
    assert run("sluice", "--version").stdout.strip()
    for words in (("gateway", "--help"), ("cluster", "run", "--help")):
        done = run("sluice", *words)
        assert (done.returncode, "Usage: sluice" in done.stdout) == (0, True), done.stderr
    assert "kubernetes" in run("prefect", "worker", "start", "--help").stdout or run("prefect", "version").stdout


def test_what_roles_import_is_there(run: Run) -> None:
    program = (
        "import bentoml, mlflow, prefect_kubernetes, boto3, psycopg, sklearn, ssl, sqlite3, subprocess;"
        "from sluicegate.flows.wiring import collector_process, console_process, keeper_process, pod;"
        "from sluicegate.services.traffic.envoy.plane import find_binary;"
        "print(subprocess.run([find_binary(), '--version'], capture_output=True, text=True).stdout)"
    )
    done = run("python3", "-c", program)
    assert done.returncode == 0, done.stderr
    assert "1.40" in done.stdout


def test_trusted_authorities_are_there_and_nothing_can_be_written(run: Run) -> None:
    program = (
        "import os, ssl;"
        "assert ssl.create_default_context(cafile=os.environ['SSL_CERT_FILE']).get_ca_certs();"
        "open('/opt/python/x', 'w')"
    )
    assert "Permission denied" in run("python3", "-c", program).stderr
