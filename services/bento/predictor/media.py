"""A request's media type and content encoding."""

from __future__ import annotations

import zlib
from email.message import Message
from functools import lru_cache

from .problem import refuse

_BYTES = 16 << 20
"""Longest body in bytes, the same as at the gateway. A compressed body may not become longer than this."""
_GZIP = 16 + zlib.MAX_WBITS
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some clients begin UTF-8 with it; JSON readers may ignore it."""


def require_json(content_type: str) -> None:
    """Raise Unacceptable, 415, for anything but JSON in UTF-8. Ignores other parameters of the type."""
    if not _is_json(content_type):
        raise refuse(
            "content-type", f"{content_type} is not accepted here", "Send application/json in UTF-8.", status=415
        )


@lru_cache(maxsize=256)
def _is_json(content_type: str) -> bool:
    message = Message()
    message["content-type"] = content_type
    kind, _, name = message.get_content_type().partition("/")
    charset = message.get_content_charset("utf-8")
    is_named_so = name == "json" or name.endswith("+json")
    return kind == "application" and is_named_so and charset in ("utf-8", "utf8", "us-ascii")


def decoded(body: bytes, encoding: str) -> bytes:
    """Decode the body. Raises Unacceptable: 415 for an unknown content encoding, 413 if it is too large."""
    match encoding.strip().lower():
        case "" | "identity":
            return body.removeprefix(_BYTE_ORDER_MARK)
        case "gzip" | "x-gzip":
            return _unzipped(body).removeprefix(_BYTE_ORDER_MARK)
        case other:
            what = f"a body in {other[:60]!r} is not accepted here"
            raise refuse("content-encoding", what, "Send gzip, or no encoding.", status=415)


def _unzipped(body: bytes) -> bytes:
    parts: list[bytes] = []
    room = _BYTES
    try:
        while body:
            member = zlib.decompressobj(_GZIP)
            parts.append(member.decompress(body, room + 1))
            room -= len(parts[-1])
            if room < 0:
                what = f"unpacked it is larger than {_BYTES:,} bytes"
                raise refuse("body", what, "Send fewer rows at a time.", status=413)
            if not member.eof:
                raise refuse("body", "the gzip stream is incomplete", "Send all of it.")
            body = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise refuse(
            "body", f"not in the gzip format that its content-encoding declares: {error}", "Send gzip, or no encoding."
        ) from None
    return b"".join(parts)
