"""Bringing a database's tables up to what this version needs, at every start.

One process at a time: on SQLite under a lock file beside the database, on PostgreSQL under an advisory lock. All steps
are one transaction on both, so a failure, or the end of the process, leaves the database as it was.
"""

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from pinnace.errors import PinnaceError
from pinnace_api.database import Database
from pinnace_api.refusals import Unavailable

#: Any number that nothing else in the database uses.
_ADVISORY_LOCK: Final = 7_003_276_969
#: How long a step waits for requests of other replicas to let go of a table; theirs wait behind it meanwhile.
_STEP_WAITS: Final = "30s"


class WrongDatabase(PinnaceError):
    """The database is not one that this version can work with; it is left as it is."""


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the database up to `revision`. Safe to call from several processes at once, and again.

    Raises WrongDatabase, and Unavailable when the database can't be used.
    """
    with _alone(database) as connection:
        _check(connection)
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take the database back to `revision`; `base` drops every table."""
    with _alone(database) as connection:
        command.downgrade(_config(connection), revision)


def revisions() -> tuple[str, ...]:
    """Every revision that this version knows, the first one first."""
    script = ScriptDirectory.from_config(_config(None))
    return tuple(reversed([each.revision for each in script.walk_revisions()]))


def revision_of(connection: Connection) -> str:
    """The revision that the database is of; empty before the first."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def _check(connection: Connection) -> None:
    found = revision_of(connection)
    known = revisions()
    if found and found not in known:
        raise WrongDatabase(
            f"the database has revision {found}, and this version of the API knows those up to {known[-1]}",
            hint="a newer version was at work on it: run that one, or restore a backup from before it",
        )
    if connection.dialect.name == "postgresql":
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise WrongDatabase(
                f"the database keeps text as {encoding}, which does not hold every character",
                hint="create it with ENCODING 'UTF8' TEMPLATE template0",
            )


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", "pinnace_api:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    with _file_lock(database), database.migrating() as connection:
        if database.is_sqlite:
            yield connection
            return
        # However long the process that is at it takes.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{_STEP_WAITS}'"))
        yield connection


def _file_lock(database: Database) -> AbstractContextManager[None]:
    path = database.engine.url.database
    return nullcontext() if path is None or not database.is_sqlite else _locked(Path(f"{path}.lock"))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        file = path.open("a")
    except OSError as error:
        raise Unavailable(
            f"{path} can't be opened: {error.strerror}", hint="its folder must be there, and be open to this user"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, also by a crash
        yield
