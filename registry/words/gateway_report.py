"""What a gateway reports about itself to a keeper on another machine. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError

from sluicegate.registry.words.gateways import Unwatched

_Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Count = Annotated[_Number, Field(ge=0)]
_Address = Annotated[str, AfterValidator(lambda text: str(IPv4Address(text)))]


@dataclass(frozen=True, kw_only=True)
class Served:
    """How many requests should be in a gateway's logs, and how large their files were at that moment."""

    ended: Mapping[str, _Number]
    """Completed requests, by log."""
    written: Mapping[str, Mapping[str, _Count]]
    """Sizes of its files, by log and by head of the file."""
    buffered: _Number
    """Bytes of all logs that Envoy has not written yet."""
    failed_writes: _Number
    logs: Mapping[str, str] | None = None
    """The names of its logs in the telemetry, if it reads them itself."""


@dataclass(frozen=True, kw_only=True)
class StableOnly:
    """Since when, and why, a gateway serves the stable-only form of its routes."""

    since: AwareDatetime
    why: str


@dataclass(frozen=True, kw_only=True)
class GatewayReport:
    """A gateway's report about itself."""

    after: float | None = None
    """When its console gave the last answer before this report, by the console's clock, in seconds since 1970."""
    has: str = ""
    """The last sheet of routes that it was given and has applied or refused."""
    serves: str | None = None
    """The version that its Envoy reports."""
    in_flight: Mapping[str, _Count] = field(default_factory=dict)
    """Requests in flight, by build."""
    why: str = ""
    """Why it does not serve the sheet that it has."""
    refused: bool = False
    """Whether Envoy refused the sheet."""
    refused_models: Sequence[str] = ()
    """The models that keep their former routes because Envoy refused the new ones."""
    instance: str | None = None
    """Which gateway it is: its host and folder."""
    address: _Address | None = None
    """The IPv4 address that its console heard it from."""
    own_address: _Address | None = None
    """The IPv4 address from which, by its own account, it connects to the relay: another one if it speaks to the
    console through a proxy."""
    served: Served | None = None
    stable_only: StableOnly | None = None

    def unwatched(self, gateway: str) -> Unwatched | None:
        """Since when and why this gateway serves stable builds only, if it does."""
        state = self.stable_only
        return None if state is None else Unwatched(gateway=gateway, since=state.since, why=state.why)


_REPORT = TypeAdapter(GatewayReport)


def read_gateway_report(text: str) -> GatewayReport:
    """Read a report from JSON. Values of the wrong form are ignored, because another machine sent them."""
    try:
        return _REPORT.validate_json(text, strict=True)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors() if each["loc"]}
    if not wrong:  # no JSON object at all
        return GatewayReport()
    values = {name: value for name, value in json.loads(text).items() if name not in wrong}
    return _REPORT.validate_json(json.dumps(values), strict=True)


def sheet_name(text: str) -> str:
    """The name of a sheet of routes: a hash of its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
