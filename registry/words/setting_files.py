"""Settings and secrets from files: `SLUICE_SETTINGS` names a file of NAME=VALUE lines; `NAME_FILE` holds one value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.settings import SETTINGS
from sluicegate.registry.words.suggestions import suggestion

SETTINGS_FILE = "SLUICE_SETTINGS"
_SUFFIX = "_FILE"
_NAMED = ("SLUICE_NOTIFY_", "SLUICE_SOURCE_")
"""Prefixes of settings whose names users choose."""


def with_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment plus what its files add; the environment itself takes precedence. Raises InvalidSetting."""
    lines = _lines(environment.get(SETTINGS_FILE, "").strip())
    named = {**lines, **environment}
    values = {}
    for name, path in named.items():
        setting = name.removesuffix(_SUFFIX)
        if not name.endswith(_SUFFIX) or not _is_setting(setting) or not path.strip():
            continue
        if named.get(setting, "").strip():
            raise InvalidSetting(
                f"both {setting} and {name} are set.",
                fix=f"unset one of them; a file ({name}) is safer, because others cannot see its content.",
            )
        values[setting] = _content(name, path.strip())
    return {**lines, **environment, **values}


def _is_setting(name: str) -> bool:
    return name in {each.name for each in SETTINGS} or (name.startswith(_NAMED) and name not in _NAMED)


def _content(name: str, path: str) -> str:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"{name} names {path}, which cannot be read: {error}.", fix="check that it exists and that you may read it."
        ) from error
    if not text or "\n" in text:
        raise InvalidSetting(
            f"{path}, which {name} names, must hold exactly one line.", fix="write the value alone into it."
        )
    return text


def _lines(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"{SETTINGS_FILE} names {path}, which cannot be read: {error}.", fix="check that it exists."
        ) from error
    values = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not _is_setting(name.removesuffix(_SUFFIX)):
            known = [each.name for each in SETTINGS]
            raise InvalidSetting(f"{path}:{number}: {name!r} is not a setting.", fix=f"{suggestion(name, known)}.")
        values[name] = value.strip().strip("'\"")
    return values
