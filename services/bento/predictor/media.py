"""How a request's body is written: its media type, and what it is packed in."""

from __future__ import annotations

import zlib
from email.message import Message
from functools import lru_cache

from .problem import refuse

_BYTES = 16 << 20
"""So long may a body be, as the gateway has it; one that is packed may not become longer."""
_GZIP = 16 + zlib.MAX_WBITS
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some clients begin UTF-8 with it; a reader of JSON may pass over it."""


def require_json(content_type: str) -> None:
    """Raise Unacceptable, 415, for what is not JSON in UTF-8. Other parameters mean nothing to a reader of JSON."""
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
    """The body out of its content encoding. Raises Unacceptable: 415 for one that is not known, 413 for too much."""
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
