"""What the site needs of others' scripts, taken from the npm registry once and checked, so that its pages ask nobody: `python -m docs.vendored`."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "build" / "vendored"


@dataclass(frozen=True)
class Script:
    """A script out of a package."""

    package: str
    version: str
    sha512: str
    """Of the package, in base64, as the registry states it."""
    member: str
    name: str
    """Of the file in the site's assets, with the version, so that a newer one is fetched."""


SCRIPTS = (
    Script(
        package="mermaid", version="11.17.2", member="dist/mermaid.min.js", name="mermaid-11.17.2.js",
        sha512="V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg==",
    ),
    Script(
        package="iframe-worker", version="1.0.4", member="shim/index.js", name="iframe-worker-1.0.4.js",
        sha512="roeaaI+Lg1LJNfgpCjoRe/+WzEjy9+Z08LoEvu85MCPbBjwm+qXz8Ag5U05lHa6V1CysZyGzE0SOkAtSUA5q7Q==",
    ),
)  # fmt: skip
MERMAID, IFRAME_WORKER = SCRIPTS
"""What draws the diagrams; what makes the search work where the site is opened from the disk."""


def fetch(script: Script, folder: Path = FOLDER) -> Path:
    """The script in a folder; asked of the registry unless it is there."""
    target = folder / script.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch) / script.name
            part.write_bytes(_member(_packed(script, Path(scratch)), script))
            part.replace(target)
    return target


def _packed(script: Script, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            f"npm is not installed; {script.package} {script.version} draws in the site, and is taken from its registry"
        )
    subprocess.run(
        (npm, "pack", "--silent", "--pack-destination", str(folder), f"{script.package}@{script.version}"),
        check=True,
        stdout=sys.stderr,
    )
    return folder / f"{script.package}-{script.version}.tgz"


def _member(archive: Path, script: Script) -> bytes:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != script.sha512:
        raise SystemExit(f"{script.package} {script.version} is not what it was: sha512-{digest}")
    with tarfile.open(archive) as packed, packed.extractfile(f"package/{script.member}") as file:  # type: ignore[union-attr]
        return file.read()


if __name__ == "__main__":
    for script in SCRIPTS:
        fetch(script)
