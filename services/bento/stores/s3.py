"""A bucket as the store: Amazon S3, or a server with the same protocol, such as MinIO, Ceph or R2."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from sluicegate.registry.deadline import SECONDS, bounded
from sluicegate.registry.words.errors import NotFound, StoreUnavailable
from sluicegate.services.bento.stores.objects import PIECE, Limits, Reading, pieces_of

_MISSING = ("404", "NoSuchKey", "NotFound")
_EXPECTED: ContextVar[int] = ContextVar("_EXPECTED", default=0)
"""The size of the file that is being read, in bytes."""


class S3Objects:
    """Files below one prefix of a bucket. boto3 takes credentials, region and endpoint from AWS_… variables."""

    def __init__(self, bucket: str, prefix: str, limits: Limits) -> None:
        self._bucket, self._limits = bucket, limits
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def where(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @cached_property
    def _s3(self) -> Any:
        """The client, made on first use, because boto3 is slow to import and may be missing."""
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise StoreUnavailable(
                f"the bento store {self.where} needs boto3, which is not installed.", fix='pip install "sluicegate[s3]"'
            ) from error
        config = Config(
            retries={"total_max_attempts": 2},
            # Other servers than Amazon's refuse checksums in trailers. Bentos are checked against the ledger anyway.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with self._reached():
            client = boto3.session.Session().client("s3", config=config)
        client.meta.events.register("before-send.s3", _Sender(self._limits).send)
        return client

    def size(self, name: str) -> int | None:
        try:
            with self._asking() as s3:
                return int(s3.head_object(**self._at(name))["ContentLength"])
        except NotFound:
            return None

    def upload(self, name: str, source: Path) -> None:
        """Store a file, in parts if it is large. S3 shows it when all parts are there."""
        with self._asking() as s3:
            from boto3.s3.transfer import TransferConfig

            content, config = Reading(pieces_of(source)), TransferConfig(use_threads=False)
            s3.upload_fileobj(content, self._bucket, self._prefix + name, Config=config)

    @contextmanager
    def read(self, name: str) -> Iterator[Iterator[bytes]]:
        expected = _EXPECTED.set(self.size(name) or 0)
        try:
            with self._asking() as s3:
                answer = s3.get_object(**self._at(name))
        finally:
            _EXPECTED.reset(expected)
        with self._reached(), closing(answer["Body"]) as body:
            yield body.iter_chunks(PIECE)

    def names(self, under: str) -> tuple[str, ...]:
        with self._asking() as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{self._prefix}{under}/")
            keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return tuple(sorted(key.removeprefix(self._prefix) for key in keys))

    def remove(self, name: str) -> None:
        with self._asking() as s3:
            s3.delete_object(**self._at(name))

    def sweep(self, before: datetime) -> None:
        with self._asking() as s3:
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for each in [each for page in pages for each in page.get("Uploads", ()) if each["Initiated"] < before]:
                s3.abort_multipart_upload(Bucket=self._bucket, Key=each["Key"], UploadId=each["UploadId"])

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        client = self._s3
        with self._reached():
            yield client

    @contextmanager
    def _reached(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            details = error.response.get("Error", {})
            if str(details.get("Code")) in _MISSING:
                raise NotFound(f"it is not in {self.where}.") from error
            raise self._unavailable(
                f"{details.get('Code')} {details.get('Message', '')}".strip().rstrip(".")
            ) from error
        except (BotoCoreError, Boto3Error, httpx.HTTPError) as error:
            raise self._unavailable(str(error).rstrip(".") or type(error).__name__) from error

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"the bento store {self.where} cannot be used: {why}.",
            fix="check that the bucket exists, AWS_ENDPOINT_URL_S3 (if it is not Amazon's) names its server, and "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY may read and write it.",
        )


class _Sender:
    """Sends what boto3 signed. boto3 itself only limits each read, so a slow server could take for ever."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        bundle = os.environ.get("AWS_CA_BUNDLE")
        http = httpx.Client(
            headers={"accept-encoding": "identity"},
            timeout=httpx.Timeout(limits.silence, connect=limits.connect),
            verify=ssl.create_default_context(cafile=bundle) if bundle else True,
        )
        self._http = bounded(http, limits.whole)

    def send(self, request: Any, **_: object) -> Any:
        """The hook that botocore calls before it would send a request itself."""
        from botocore.awsrequest import AWSResponse

        headers = {name: _text(value) for name, value in request.headers.items()}
        size = int(headers.get("Content-Length", 0))
        limit = {SECONDS: self._limits.seconds(max(size, _EXPECTED.get()))}
        requested = self._http.build_request(
            request.method, request.url, headers=headers, content=_pieces(request.body), extensions=limit
        )
        answer = self._http.send(requested, stream=True)
        if not request.stream_output:
            answer.read()
        return AWSResponse(request.url, answer.status_code, answer.headers, _Answer(answer))


class _Answer(Reading):
    """The body of a response, in the form that botocore reads."""

    def __init__(self, answer: httpx.Response) -> None:
        whole = iter((answer.content,)) if answer.is_closed else answer.iter_raw(PIECE)
        super().__init__(whole)
        self.close = answer.close

    def stream(self) -> Iterator[bytes]:
        """Yield everything that is left."""
        yield self.read()


def _pieces(body: Any) -> Any:
    if body is None or isinstance(body, bytes | str):
        return body
    return iter(lambda: body.read(PIECE), b"")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
