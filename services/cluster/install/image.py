"""The image of every role: this Python, the packages that Sluicegate needs and their libraries, as files of an image.

Nothing is fetched, and no builder runs: what is installed here is what the image has. Bytecode is compiled once and
never checked again, because the files of an image do not change.
"""

from __future__ import annotations

import importlib.metadata as installed
import os
import py_compile
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.services.cluster.install.oci import File, Layout, watched
from sluicegate.services.cluster.install.parts import STATE, USER
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.host.installation import TELEMETRY_OFF

HOME = "opt/python"
EXTRAS = ("server", "s3", "cluster")
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PACKAGES = f"{HOME}/lib/{_VERSION}/site-packages"
_LEFT_OUT = {"__pycache__", "test", "tests", "idlelib", "ensurepip", "turtledemo", "site-packages", "lib2to3"}
"""Left out of the standard library."""
_OF_HOST = ("etc/ssl/certs/ca-certificates.crt", "usr/share/zoneinfo/UTC")
_ELF = b"\x7fELF"
_AT_ONCE = 100


def write_image(output: Path, *, name: str, base: Path | None, progress: Callable[[str, float], None]) -> str:
    """Write the image as an OCI layout, and give its digest.

    `base`: the tar of a root file system underneath; without one, the libraries of this machine are underneath.
    `progress` gets the present step, and the share of it that is done.
    """
    layout, plain = Layout(output), [*python_files(), *package_files()]
    compiled = with_bytecode(
        watched(plain, partial(progress, f"compiling {len(plain):,} files of Python and packages"))
    )
    files = [*compiled, *_scripts(), *_account()]
    if base is not None:
        progress("copying the base", 0.0)
        layout.add_tar(base)
    else:
        progress("looking for the libraries that they load", 0.0)
        layout.add_files(library_files(files))
    layout.add_files(files, partial(progress, f"compressing {len(files):,} files"))
    return layout.close(config(), name=name)


def config() -> Object:
    """How a container of the image starts, whatever its role. The Containerfile says the same."""
    environment = {
        "PATH": f"/{HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "SSL_CERT_FILE": f"/{_PACKAGES}/certifi/cacert.pem",
        **TELEMETRY_OFF,
    }
    return {
        "User": f"{USER}:{USER}",
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Cmd": ["sluice", "--help"],
        "WorkingDir": "/",
    }


def python_files() -> Iterator[File]:
    """The interpreter and its standard library."""
    interpreter = Path(os.path.realpath(sys.executable))
    yield File(path=f"{HOME}/bin/{_VERSION}", source=interpreter, mode=0o755)
    for link in ("python3", "python"):
        yield File(path=f"{HOME}/bin/{link}", link=_VERSION)
    for place in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        root = Path(place) if Path(place, "os.py").exists() else Path(sys.base_prefix, "lib", _VERSION)
        yield from _tree(root, f"{HOME}/lib/{_VERSION}", _LEFT_OUT)


def package_files() -> Iterator[File]:
    """The packages of the extras of an image, and Sluicegate itself. Raises NotFound if one is not installed."""
    for each in distributions():
        for file in each.files or ():
            source = Path(str(each.locate_file(file)))
            if file.parts[0] == "..":
                continue
            if _is_wanted(file.as_posix()) and source.is_file():
                yield File(path=f"{_PACKAGES}/{file.as_posix()}", source=source)
    ours = Path(__file__).parents[3]
    for part in sorted(ours.iterdir()):  # links to the rooms in a working copy, folders in a wheel
        if part.is_dir():
            yield from _tree(part.resolve(), f"{_PACKAGES}/sluicegate/{part.name}", {"__pycache__"})
        else:
            yield File(path=f"{_PACKAGES}/sluicegate/{part.name}", source=part.resolve())


def with_bytecode(files: Iterable[File]) -> Iterator[File]:
    """The files, each module followed by its bytecode, because nobody may write in the image."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "module.pyc")
        for each in files:
            yield each
            if each.source is not None and each.path.endswith(".py"):
                try:
                    py_compile.compile(
                        str(each.source), str(made), f"/{each.path}", doraise=True,
                        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                    )  # fmt: skip
                except (py_compile.PyCompileError, UnicodeDecodeError, ValueError):
                    continue  # a module for another Python, which nobody imports
                place = Path(each.path)
                cached = place.parent / "__pycache__" / f"{place.stem}.{sys.implementation.cache_tag}.pyc"
                yield File(path=str(cached), text=made.read_bytes())


def distributions() -> Sequence[installed.Distribution]:
    """Everything that `sluicegate[server,s3,cluster]` needs, by name."""
    found: dict[str, installed.Distribution] = {}
    asked: set[tuple[str, str]] = set()
    waiting = [Requirement(f"sluicegate[{','.join(EXTRAS)}]")]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            there = found.setdefault(name, installed.distribution(name))
        except installed.PackageNotFoundError as error:
            raise NotFound(
                f"the package {name}, which the image needs, is not installed here.",
                fix=f"pip install 'sluicegate[{','.join(EXTRAS)}]', then try again.",
            ) from error
        extras = {"", *requirement.extras}
        for extra in sorted(extras - {each for it, each in asked if it == name}):
            asked.add((name, extra))
            waiting += [each for each in map(Requirement, there.requires or ()) if _applies(each, extra)]
    return [found[name] for name in sorted(found)]


def _applies(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return not extra
    return requirement.marker.evaluate({"extra": extra}) and (not extra or "extra" in str(requirement.marker))


def _is_wanted(name: str) -> bool:
    return not re.search(r"(^|/)__pycache__/|direct_url\.json$|/RECORD$|^__editable__|\.pth$", name)


def _scripts() -> Iterator[File]:
    """Commands, which start with the image's Python, and programs of wheels as they are."""
    for each in distributions():
        for entry in each.entry_points.select(group="console_scripts"):
            module, _, attribute = entry.value.partition(":")
            start = (
                f"#!/{HOME}/bin/python3\nimport sys\nfrom {module} import {attribute.split('.')[0].split(' ')[0]}\n"
                f"sys.exit({attribute.split(' ')[0]}())\n"
            )
            yield File(path=f"{HOME}/bin/{entry.name}", text=start.encode(), mode=0o755)
        for file in each.files or ():
            source = Path(str(each.locate_file(file)))
            if "bin" in file.parts and file.parts[0] == ".." and _is_elf(source):
                yield File(path=f"{HOME}/bin/{file.name}", source=source, mode=0o755)


def _account() -> Iterator[File]:
    """The user of the processes, and the folders that they may write to."""
    users = f"root:x:0:0:root:/root:/bin/false\nsluice:x:{USER}:{USER}::{STATE}:/bin/false\n"
    yield File(path="etc/passwd", text=users.encode())
    yield File(path="etc/group", text=f"root:x:0:\nsluice:x:{USER}:\n".encode())
    yield File(path="etc/nsswitch.conf", text=b"hosts: files dns\n")
    yield File(path="tmp", mode=0o1777)
    yield File(path=STATE.removeprefix("/"), mode=0o1777)


def library_files(files: Sequence[File]) -> list[File]:
    """The libraries of this machine that programs among the files load, and the certificate authorities that it
    trusts."""
    programs = sorted({each.source for each in files if each.source is not None and _is_elf(each.source)})
    found: set[str] = set()
    for first in range(0, len(programs), _AT_ONCE):
        listing = subprocess.run(
            ("ldd", *programs[first : first + _AT_ONCE]), capture_output=True, text=True, check=False
        )
        found |= set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", listing.stdout, re.MULTILINE))
    inside = {str(each.source.resolve()) for each in files if each.source is not None}
    libraries = sorted(each for each in found if os.path.realpath(each) not in inside)
    if not libraries:
        raise Refused("ldd names no library: this machine cannot be the base.", fix="name a root file system: --base.")
    more = [each for each in _OF_HOST if Path("/", each).exists()]
    return [File(path=each.lstrip("/"), source=Path("/", each)) for each in (*libraries, *more)]


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == _ELF
    except OSError:
        return False


def _tree(root: Path, into: str, left_out: set[str]) -> Iterator[File]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(set(names) - left_out)
        where = Path(into, os.path.relpath(folder, root))
        for name in sorted(files):
            if not name.endswith((".pyc", ".a")):
                yield File(path=str(where / name), source=Path(folder, name))
