"""A GET with limits on time and size that follows no redirects. Errors do not contain the address."""

from __future__ import annotations

import ssl

import httpx

from sluicegate.registry.deadline import bounded
from sluicegate.services.sources.no_number import NoNumber
from sluicegate.services.sources.source import ExternalSource

LARGEST = 256 * 1024
"""The largest accepted response, in bytes; only one number is needed."""


def get(source: ExternalSource, path: str, seconds: float, params: dict[str, str] | None = None) -> httpx.Response:
    """The response with its body. Raises NoNumber for redirects, refused credentials and network errors."""
    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {source.token}"} if source.token else {})
    try:
        http = bounded(httpx.Client(timeout=seconds), seconds)
        with http, http.stream("GET", f"{source.url}{path}", params=params, headers=headers) as answer:
            return _checked(httpx.Response(answer.status_code, content=_body(answer)))
    except httpx.TimeoutException:
        raise NoNumber(f"it has not answered within {seconds:g} s") from None
    except httpx.HTTPError as error:
        raise NoNumber(_why(error)) from None
    except (httpx.InvalidURL, ValueError):
        raise NoNumber("its setting is not a valid address") from None


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_redirect:
        raise NoNumber(
            f"it redirects ({answer.status_code}), which is not followed: write the final address into its setting"
        )
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise NoNumber(f"it refuses the credentials ({answer.status_code}): write a valid token into its setting")
    return answer


def _body(answer: httpx.Response) -> bytes:
    body = b""
    for chunk in answer.iter_bytes(16 * 1024):
        body += chunk
        if len(body) > LARGEST:
            raise NoNumber(f"its answer is larger than {LARGEST // 1024} KiB, but a gate needs one number")
    return body


def _why(error: httpx.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"its TLS certificate cannot be trusted: {cause.reason or 'no valid certificate'}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "it cannot be reached"
    return f"its answer is not HTTP ({type(error).__name__})"
