"""Source: the server that an external gate queries. It is a setting, so that plans contain no addresses or secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.registry.words.errors import InvalidSetting, NotFound

PREFIX = "SLUICE_SOURCE_"
_HTTP, _DATABASES = ("http://", "https://"), ("postgresql://", "sqlite:///")


@dataclass(frozen=True, kw_only=True)
class ExternalSource:
    """An address and its credentials. Never shown, not even in a traceback."""

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    """A bearer token for HTTP servers."""

    @property
    def speaks_http(self) -> bool:
        """Whether it is an HTTP server; otherwise it is a database."""
        return self.url.startswith(_HTTP)


def read_source(name: str, environment: Mapping[str, str]) -> ExternalSource:
    """The source with this name. Raises NotFound and InvalidSetting, which do not contain the setting's value."""
    variable = f"{PREFIX}{name.upper().replace('-', '_')}"
    setting = environment.get(variable, "").strip()
    if not setting:
        raise NotFound(f"{variable} is not set where the keeper runs.")
    is_database = setting.startswith(_DATABASES)
    url, *token = [setting] if is_database else setting.split()
    if len(token) > 1 or not (is_database or url.startswith(_HTTP)):
        kinds = "http(s)://HOST, postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:////PATH"
        raise InvalidSetting(f"{variable} is not {kinds}. A bearer token may follow an HTTP address after a space.")
    return ExternalSource(url=url.rstrip("/"), token="".join(token))
