"""One SQLite file: locked, checked to the last value, brought to the newest schema, written in transactions."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from pinnace_sidecar.journal import seals
from pinnace_sidecar.journal.place import JournalError, Place
from pinnace_sidecar.journal.schema import STEPS

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

#: The counter of processes that worked with this journal.
STARTS: Final = "starts"
_BEGUN_ANEW: Final = "begun anew"
#: A power of two, like all lengths of parts.
_LONGEST_PART: Final = 128
_OF_THE_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    }
)


class Database:
    """Open with `Database.open`; its place keeps a second process out until `close`. For one thread.

    `begun_anew` is True when an earlier file was damaged or gone, also in later processes.
    """

    def __init__(self, connection: sqlite3.Connection, place: Place) -> None:
        self._connection = connection
        self._place = place
        self._open_transaction = False
        self.begun_anew = bool(self.count(_BEGUN_ANEW, 0))

    @classmethod
    def open(cls, place: Place, now: Callable[[], float] = time.time) -> "Database":
        """The database at `place`, created when it isn't there; `place` is released by `close`, or by an error.

        JournalError when it is of a newer version. A file that is damaged is set aside as `<name>.damaged` and a new
        one begun. OperationalError when the disk fails, not the content.
        """
        with ExitStack() as on_error:
            on_error.callback(place.release)
            had_one = place.had_one()
            connection, was_damaged = _connect_to_a_sound_one(place)
            on_error.callback(connection.close)
            if not connection.execute("SELECT 1 FROM counters WHERE name = ?", (STARTS,)).fetchall():
                anew = had_one or was_damaged
                # After another, starts are counted from now on: reports are newer than all that the lost one knew of.
                _begin(connection, [(_BEGUN_ANEW, 1), (STARTS, int(now()))] if anew else [(STARTS, 0)])
                place.begun()
            database = cls(connection, place)
            on_error.pop_all()
        return database

    def close(self) -> None:
        """Safe to call twice."""
        self._connection.close()
        self._place.release()

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
            if self._connection.in_transaction:  # SQLite has rolled back by itself where the disk failed
                self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self._open_transaction = False

    @property
    def changes(self) -> int:
        """Grows with every row that this connection changes; nobody else changes any."""
        return self._connection.total_changes

    def rows(self, sql: str, *values: object) -> list[Any]:
        return self._connection.execute(sql, values).fetchall()

    def rows_in(self, sql: str, values: Sequence[object]) -> list[Any]:
        """What `sql`, in which `{}` stands for a list, finds for all of `values`."""
        return [row for part in in_parts(values) for row in self.rows(sql.format(marks(part)), *part)]

    def each(self, sql: str, *values: object) -> Iterator[Any]:
        """As `rows`, one after the other: for more than memory should hold."""
        return iter(self._connection.execute(sql, values))

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


def in_parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """`values` in order, in parts of few lengths: a statement of each is kept ready, and one for every length that
    occurs would fill megabytes and be compiled anew again and again.
    """
    start = 0
    while left := len(values) - start:
        stop = start + min(_LONGEST_PART, 1 << (left.bit_length() - 1))
        yield values[start:stop]
        start = stop


def marks(values: Sequence[object]) -> str:
    """A place in a statement for each of `values`."""
    return ", ".join("?" * len(values))


def _connect_to_a_sound_one(place: Place) -> tuple[sqlite3.Connection, bool]:
    """Also returns whether a damaged one had to be set aside for that."""
    try:
        return _connect(place), False
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # The latter when SQLite's own message quotes what it found.
        if _is_of_the_disk(error, place):
            raise
        _log.error("the journal is damaged and set aside", extra={"path": str(place.path), "damage": str(error)})
    place.set_aside()
    return _connect(place), True


def _begin(connection: sqlite3.Connection, counters: list[tuple[str, int]]) -> None:
    """Make the first entries of a journal, together; without them it counts as new."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO counters (name, value) VALUES (?, ?)", counters)
    connection.execute("COMMIT")


def _is_of_the_disk(error: Exception, place: Place) -> bool:
    """Whether the disk or another process is in the way, and the content may be sound."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_READONLY:
        # Also said of a header that claims to be of a later SQLite.
        return not place.writable()
    return code in _OF_THE_DISK


def _connect(place: Place) -> sqlite3.Connection:
    """A connection to a sound journal of this version."""
    connection = place.connect()
    try:
        prepare(connection, place.path)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a fresh connection durable, check the journal at `path` to the last value and bring it to the newest schema.

    DatabaseError when it is damaged.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # A container whose root may only be read has no folder for temporary files.
    connection.execute("PRAGMA temp_store = MEMORY")
    # The journal holds no file contents; two megabytes of pages are plenty.
    connection.execute("PRAGMA cache_size = -2000")
    version = _checked(connection, path)
    if version < len(STEPS):
        _bring_up_to_date(connection, version)
    # A damaged header can claim that the file is of a later SQLite and may only be read: only a write tells.
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")
    seals.keep(connection)


def _checked(connection: sqlite3.Connection, path: Path) -> int:
    """The journal's version. DatabaseError when anything in it is not as it was written."""
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    tables = _tables(connection)
    if tables != _tables_of(min(max(version, 0), len(STEPS))):
        if version > len(STEPS) and all(tables != _tables_of(known) for known in range(len(STEPS))):
            raise JournalError(
                f"{path} has version {version}, and this sidecar knows {len(STEPS)}",
                hint="run the sidecar's image that wrote it, or a newer one",
            )
        raise sqlite3.DatabaseError("its tables are not those of its version")
    if version > len(STEPS):
        raise sqlite3.DatabaseError(f"it says that it has version {version}, with the tables of version {len(STEPS)}")
    ((health,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if health != "ok":
        raise sqlite3.DatabaseError(health)
    if damage := seals.broken(connection):
        raise sqlite3.DatabaseError(damage)
    return int(version)


def _bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    steps = "".join(STEPS[version:])
    connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {len(STEPS)};")
    seals.renew(connection)
    connection.execute("COMMIT")


def _tables(connection: sqlite3.Connection) -> list[Any]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def _tables_of(version: int) -> list[Any]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        empty.executescript("".join(STEPS[:version]))
        return _tables(empty)
