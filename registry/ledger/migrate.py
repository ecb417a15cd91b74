"""Numbered migrations of the ledger, run when it is opened."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, inspect, text

from sluicegate.registry.ledger.engine import reading, writing
from sluicegate.registry.ledger.patience import LONG
from sluicegate.registry.words.errors import SluiceError

HEAD = "0008"
"""The newest migration. Tests compare it with the folder."""
VERSION_TABLE = "sluice_ledger_version"


def migrate(engine: Engine) -> None:
    """Upgrade the schema to HEAD in one transaction. Refuses a schema that a newer version of sluice wrote."""
    version = schema_version(engine)
    if version is not None and version > HEAD:
        raise SluiceError(
            f"the ledger {engine.url.render_as_string()} has schema {version}, which is newer than this sluice "
            f"knows ({HEAD}).",
            fix="upgrade sluice to the version that wrote the ledger.",
        )
    if version != HEAD:
        _upgrade(engine)


def schema_version(engine: Engine) -> str | None:
    """The number of the last migration that ran; None for an empty database."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608


def _upgrade(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with writing(engine, LONG) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
