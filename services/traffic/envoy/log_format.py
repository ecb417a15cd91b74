"""How Envoy fills the fields of the access log. `sluicegate.registry.words.access_log` documents their meaning."""

from __future__ import annotations

from sluicegate.registry.words.access_log import COMMON, FORMAT_VERSION, OWN
from sluicegate.services.traffic.envoy.names import SHADOW

METADATA = "sluice"
"""The namespace of our metadata on routes, hosts and requests."""
ASSIGNED_HEADER = "x-sluice-assigned"
UNIT_HEADER = "x-sluice-unit"
PLACE_HEADER = "x-sluice-place"
CLUSTER_HEADER = "x-sluice-cluster"
COPY_HEADER = "x-sluice-copy"
"""Prefix of the headers that say where copies of one variation's requests go."""
TIMEOUT_HEADER = "x-sluice-timeout-ms"
SHADOW_HEADER = "x-sluice-shadow"
"""Tells a service that its answer goes to no caller."""
GENERATED_HEADER = "x-sluice-generated"
"""Tells a service that no caller sent this request. Only the listener of generated requests can set it."""
SEGMENT_HEADERS = tuple(f"x-sluice-segment-{position}" for position in range(4))
"""Values of the request headers by which a rollout is split, in the order of the plan: a shadow's slices, a canary's
slices."""
PREDICTION_HEADER = "x-sluice-prediction"
BUILD_HEADER = "x-sluice-build"
VARIATION_HEADER = "x-sluice-variation"
AUDIENCE_HEADER = "x-sluice-audience"
STAND_IN_HEADER = "x-sluice-stand-in"
"""The variation that answered because the stable build of the assigned one could not."""
REASON_HEADER = "x-sluice-reason"
"""Why the caller got this build. Callers never see arm, rollout or weight: they must not know what is on trial."""


def log_format(listener: str) -> dict[str, object]:
    """The JSON format of a listener's log: `live`, `shadow` or `generated`."""
    formats = field_formats(listener)
    return {str(FORMAT_VERSION): [[formats[name] for name in OWN], [formats[name] for name in COMMON]]}


def field_formats(listener: str) -> dict[str, object]:
    """What Envoy writes for each field. A copy carries its place in a header."""
    place = f"%REQ({PLACE_HEADER})%" if listener == SHADOW else f"%METADATA(ROUTE:{METADATA}:place)%"
    return {
        "ts": "%START_TIME(%s%6f)%",
        "rid": "%REQ(X-REQUEST-ID)%",
        "trace": "%REQ(TRACEPARENT):55%",
        "unit": f"%REQ({UNIT_HEADER})%",
        "dur_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "prediction": f"%DYNAMIC_METADATA({METADATA}:prediction)%",
        **{f"segment{position}": f"%REQ({header})%" for position, header in enumerate(SEGMENT_HEADERS)},
        "listener": listener,
        "generated": f"%REQ({GENERATED_HEADER})%" if listener == SHADOW else None,
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "route": place,
        "assigned": f"%REQ({ASSIGNED_HEADER})%",
        "upstream": f"%UPSTREAM_METADATA({METADATA}:build)%",
        "stand_in": f"%UPSTREAM_METADATA({METADATA}:stand_in)%",
        "host": "%UPSTREAM_HOST%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    }
