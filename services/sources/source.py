"""Source: where an external gate asks. A setting, and no document: its address and its secret stand in no plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.registry.words.errors import InvalidSetting, NotFound

PREFIX = "SLUICE_SOURCE_"
_HTTP, _DATABASES = ("http://", "https://"), ("postgresql://", "sqlite:///")


@dataclass(frozen=True, kw_only=True)
class Source:
    """An address and its credentials. Never shown, not even in a traceback."""

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    """Sent as a bearer token, over HTTP."""

    @property
    def speaks_http(self) -> bool:
        """Whether it is an HTTP server; else it is a database."""
        return self.url.startswith(_HTTP)


def read_source(name: str, environment: Mapping[str, str]) -> Source:
    """The source of this name. Raises NotFound and InvalidSetting, which do not repeat what stands there."""
    variable = f"{PREFIX}{name.upper().replace('-', '_')}"
    written = environment.get(variable, "").strip()
    if not written:
        raise NotFound(f"{variable} is not set where the keeper runs.")
    is_database = written.startswith(_DATABASES)
    url, *token = [written] if is_database else written.split()
    if len(token) > 1 or not (is_database or url.startswith(_HTTP)):
        kinds = "http(s)://HOST, postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:////PATH"
        raise InvalidSetting(f"{variable} is not {kinds}. A bearer token may follow an HTTP address after a space.")
    return Source(url=url.rstrip("/"), token="".join(token))
