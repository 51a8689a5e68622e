"""Bringing a database's tables up to what this version needs, at every start.

One process at a time: on SQLite under a lock file beside the database, on PostgreSQL under an advisory lock. All steps
are one transaction, so a failure leaves the database as it was.
"""

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from pinnace_api.database import Database

#: Any number that nothing else in the database uses.
_ADVISORY_LOCK: Final = 7_003_276_969


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the database up to `revision`. Safe to call from several processes at once, and again."""
    with _alone(database), database.write() as connection:
        _lock(connection)
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take the database back to `revision`; `base` drops every table."""
    with _alone(database), database.write() as connection:
        _lock(connection)
        command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "pinnace_api:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _alone(database: Database) -> AbstractContextManager[None]:
    url = database.engine.url
    if database.engine.dialect.name != "sqlite" or url.database is None:
        return nullcontext()
    return _locked(Path(f"{url.database}.lock"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, also by a crash
        yield


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
