"""One SQLite file: opened, locked, brought to the newest schema, written in transactions."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pinnace.errors import PinnaceError
from pinnace_sidecar.journal.schema import STEPS


class JournalError(PinnaceError):
    """The journal can't be used: held by another process or written by a newer version. Nothing was changed."""


class Database:
    """Open with `Database.open`; a lock keeps a second process out until `close`. For one thread.

    `begun_anew` is True when the file was no healthy database and had to be set aside.
    """

    def __init__(self, connection: sqlite3.Connection, lock: BinaryIO, *, begun_anew: bool) -> None:
        self._connection = connection
        self._lock = lock
        self._open_transaction = False
        self.begun_anew = begun_anew

    @classmethod
    def open(cls, path: Path) -> "Database":
        """The database at `path`, created when it isn't there.

        JournalError when another process holds it or it is of a newer version. A file that is no healthy database is
        set aside as `<name>.damaged` and a new one begun.
        """
        lock = path.with_suffix(".lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise JournalError(
                f"{path} is in use by another sidecar", hint="one buffer serves one pod; wait for the other to end"
            ) from None
        try:
            return cls._open_locked(path, lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def _open_locked(cls, path: Path, lock: BinaryIO) -> "Database":
        try:
            return cls(_connect(path), lock, begun_anew=False)
        except sqlite3.OperationalError:
            raise  # the disk, not the content
        except sqlite3.DatabaseError:
            for suffix in ("", "-wal", "-shm"):
                damaged = Path(f"{path}{suffix}")
                if damaged.exists():
                    damaged.replace(f"{path}{suffix}.damaged")
            return cls(_connect(path), lock, begun_anew=True)

    def close(self) -> None:
        """Safe to call twice."""
        self._connection.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group what is inside into one commit. Transactions inside it are part of it."""
        if self._open_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._open_transaction = True
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self._open_transaction = False

    def rows(self, sql: str, *values: object) -> list[Any]:
        return self._connection.execute(sql, values).fetchall()

    def execute(self, sql: str, *values: object) -> None:
        """One statement; durable when it returns, unless a transaction is open."""
        self._connection.execute(sql, values)

    def count(self, name: str, by: int = 1) -> int:
        """Add to a counter that begins with 0; returns its new value."""
        if not by:
            return int(sum(value for (value,) in self.rows("SELECT value FROM counters WHERE name = ?", name)))
        ((value,),) = self.rows(
            "INSERT INTO counters (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value",
            name,
            by,
        )
        return int(value)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a fresh connection durable, check the database at `path` and bring it to the newest schema."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # The journal holds no file contents; two megabytes of pages are plenty.
    connection.execute("PRAGMA cache_size = -2000")
    _check(connection)
    _bring_up_to_date(connection, path)


def _check(connection: sqlite3.Connection) -> None:
    ((health,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if health != "ok":
        raise sqlite3.DatabaseError(health)


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if version > len(STEPS):
        raise JournalError(
            f"{path} has version {version}, and this sidecar knows {len(STEPS)}",
            hint="run the sidecar's image that wrote it, or a newer one",
        )
    for number, step in enumerate(STEPS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")
