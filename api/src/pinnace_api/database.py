"""The database: one engine, transactions for reading and for writing.

Invariants: a write is one transaction that is durable when `write` returns; on SQLite writes queue (one writer is all
it can have; waiting here is fair, waiting in its busy loop is not), and those that wait share a commit; on PostgreSQL
a transaction that was given up for another's sake is tried again, here and nowhere else; a database that can't be
reached, stays locked, is full or takes too long is `Unavailable`, never a half-done write.
"""

import fcntl
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec
from sqlalchemy import URL, Connection, Engine, Table, UpdateBase, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pinnace_api import failures
from pinnace_api.filters import documents
from pinnace_api.write_queue import TURN_SECONDS, WriteQueue

#: `Connection` too, so that a service can name what it hands on to its queries.
__all__ = ["Connection", "Database"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: On SQLite enough that writes which wait for their turn leave some to read; on PostgreSQL few enough that three
#: replicas, as there are while two are being replaced, stay below the 100 connections that a server allows.
_CONNECTIONS: Final = {"sqlite": 40, "postgresql": 20}
#: How long SQLite waits for another process's turn.
_BUSY_SECONDS: Final = 5.0
#: PostgreSQL: until a connection stands, until a lock is given, and how long a transaction may lie idle.
_CONNECT_SECONDS: Final = 5
_LOCK_SECONDS: Final = 10
_IDLE_SECONDS: Final = 60
#: How often a transaction is tried that others get in the way of.
_ATTEMPTS: Final = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Watch:
    statements: tuple[type[UpdateBase], ...]
    tables: frozenset[Table]
    tell: Callable[[], object]


class Database:
    """Connections are opened when they are first needed. Safe to use from several threads.

    `connections` is how many there are at most (0: 40 on SQLite, 20 on PostgreSQL); `statement_seconds`, how long
    PostgreSQL may take over one statement.
    """

    def __init__(self, url: str, *, connections: int = 0, statement_seconds: float = 30.0) -> None:
        parsed = make_url(url)
        self.connections = connections or _CONNECTIONS[parsed.get_backend_name()]
        self.engine = _engine(parsed, self.connections, statement_seconds)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._queue = WriteQueue(self._writing, _command, _is_open) if self.is_sqlite else None
        # Otherwise each statement of a PostgreSQL transaction would see a state of its own.
        snapshot: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._watches: list[_Watch] = []
        self._reading = self.engine.execution_options(**({} if self.is_sqlite else snapshot))

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database. Raises Unavailable."""
        with _reachable(), self._reading.connect() as connection, connection.begin():
            yield connection

    def write(self, transaction: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `transaction` on a connection; committed when it returns, nothing is left of it when it raises.

        It may run several times, so it must do nothing but speak to the database. Raises Unavailable; then nothing was
        stored, unless the connection broke during the commit itself.
        """
        with _reachable():
            if self._queue is not None:
                written: _T = self._queue.write(lambda connection: transaction(connection, *args, **kwargs))
                return written
            for _ in range(_ATTEMPTS - 1):
                try:
                    return self._attempt(transaction, *args, **kwargs)
                except DBAPIError as error:
                    if not failures.is_victim(error):
                        raise
                    _log.info("database.again", extra={"fields": {"cause": failures.cause(error)}})
            return self._attempt(transaction, *args, **kwargs)

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """One transaction, tried once, in which tables may be made anew that others refer to.

        SQLite would take the rows of those others for orphans meanwhile, so it looks at all references at the end.
        Raises Unavailable.
        """
        with (
            _reachable(),
            self.engine.connect() as connection,
            self._unchecked(connection),
            connection.execution_options(pinnace_write=True).begin(),
        ):
            yield connection
            if self.is_sqlite and (orphans := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
                raise AssertionError(f"a migration leaves rows that refer to nothing: {orphans[:5]}")

    @contextmanager
    def turn(self, name: str, key: int) -> Iterator[bool]:
        """True for one at a time among all processes, False for the others; given back also when the process ends.

        On SQLite by a lock file called after `name`, on PostgreSQL by the advisory lock `key`. Raises Unavailable.
        """
        if self.is_sqlite:
            with Path(f"{self.engine.url.database}.{name}.lock").open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield False
                    return
                yield True
            return
        with _reachable(), self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # closed at the end, and the lock is gone with it
            is_mine = bool(alone.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one())
            yield is_mine
            # The server notices the end of a connection a moment after it; where it is gone already, so is the lock.
            if is_mine:
                with suppress(DBAPIError):
                    alone.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})

    def watch(
        self,
        tables: Collection[Table],
        tell: Callable[[], object],
        *,
        statements: tuple[type[UpdateBase], ...] = (UpdateBase,),
    ) -> None:
        """Call `tell` after every transaction of `write` that ran such a statement on one of the tables, before `write`
        returns. Also when it is not certain that it was committed.
        """
        if not self._watches:
            event.listen(self.engine, "after_execute", self._look)
        self._watches.append(_Watch(statements, frozenset(tables), tell))

    def check(self) -> None:
        """Raise Unavailable unless the database answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def _attempt(
        self, transaction: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        with self._writing() as connection:
            return transaction(connection, *args, **kwargs)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        concerned: set[_Watch] = set()
        try:
            with self.engine.connect() as connection:
                writing = connection.execution_options(pinnace_write=True, pinnace_concerned=concerned)
                with writing.begin():
                    yield writing
        finally:
            for watch in concerned:
                watch.tell()

    def _look(self, connection: Connection, statement: Any, *_: object) -> None:
        if isinstance(statement, UpdateBase):
            for watch in self._watches:
                if isinstance(statement, watch.statements) and statement.table in watch.tables:
                    connection.get_execution_options().get("pinnace_concerned", set()).add(watch)

    @contextmanager
    def _unchecked(self, connection: Connection) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys = OFF")  # does nothing once a transaction has begun
        try:
            yield
        finally:
            driver.execute("PRAGMA foreign_keys = ON")


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        refusal = failures.unavailable(error)
        if refusal is None:
            raise
        _log.warning("database.unavailable", extra={"fields": {"cause": failures.cause(error)}})
        raise refusal from error


def _engine(url: URL, connections: int, statement_seconds: float) -> Engine:
    options: dict[str, Any] = {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": TURN_SECONDS,
        "pool_use_lifo": True,
        "json_serializer": lambda value: msgspec.json.encode(value).decode(),
        "json_deserializer": msgspec.json.decode,
    }
    if url.get_backend_name() != "sqlite":
        # A connection that a restart of the server has cut is noticed before it is used.
        return create_engine(url, pool_pre_ping=True, connect_args=_postgresql(url, statement_seconds), **options)
    # isolation_level None: the driver begins no transactions of its own; `_begin_sqlite` does.
    connect_args = {"timeout": _BUSY_SECONDS, "check_same_thread": False, "isolation_level": None}
    engine = create_engine(url, connect_args=connect_args, **options)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL, statement_seconds: float) -> dict[str, Any]:
    """How to connect, so that neither a server that is gone nor one that is busy holds a request for ever."""
    limits = {
        "statement_timeout": statement_seconds,
        "lock_timeout": _LOCK_SECONDS,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS,
    }
    ours = [f"-c {name}={round(seconds * 1000)}" for name, seconds in limits.items()]
    theirs = url.query.get("options", ())
    return {
        # What the URL says itself goes before what is said here.
        "connect_timeout": _CONNECT_SECONDS,
        "application_name": "pinnace-api",
        "client_encoding": "utf8",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        **{name: value for name, value in url.query.items() if name != "options"},
        "options": " ".join([*ours, *((theirs,) if isinstance(theirs, str) else theirs)]),
    }


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # The sidecar forgets its buffer once a row is acknowledged, so a commit must survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.create_function("pinnace_member", 3, documents.member, deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins as a reader can't become a writer while another one writes, whatever it waits.
    writing = connection.get_execution_options().get("pinnace_write", False)
    _command(connection, "BEGIN IMMEDIATE" if writing else "BEGIN")


def _command(connection: Connection, command: str) -> None:
    """A statement without values or an answer, on SQLite, past what such a one does not need."""
    driver: Any = connection.connection.driver_connection
    try:
        driver.execute(command)
    except sqlite3.Error as error:
        raise DBAPIError.instance(command, None, error, sqlite3.Error, dialect=connection.dialect) from error


def _is_open(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)
