"""The database: one engine, transactions for reading and for writing.

Invariants: a write is one transaction that is durable when `write` returns; on SQLite writes take turns (one writer
is all it can have; waiting here is fair, waiting in its busy loop is not); a database that can't be reached or stays
locked is `Unavailable`, never a half-done write.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pinnace_api.refusals import Unavailable

#: As many as there are threads that serve requests, so that none of them waits for a connection; enough of them that
#: writes which wait for their turn leave some to read.
CONNECTIONS: Final = 40
#: How long a write waits for its turn, and SQLite for another process's.
_TURN_SECONDS: Final = 10.0
_BUSY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Database:
    """Connections are opened when they are first needed. Safe to use from several threads."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._turn = threading.Lock() if self.engine.dialect.name == "sqlite" else None

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database. Raises Unavailable."""
        with _reachable(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, or leaves nothing when an exception leaves it.

        Raises Unavailable; then nothing was stored, unless the connection broke during the commit itself.
        """
        with self._my_turn(), _reachable(), self.engine.connect() as connection:
            writing = connection.execution_options(pinnace_write=True)
            with writing.begin():
                yield writing

    def check(self) -> None:
        """Raise Unavailable unless the database answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def _my_turn(self) -> AbstractContextManager[object]:
        if self._turn is None:
            return nullcontext()
        return _held(self._turn)


@contextmanager
def _held(turn: threading.Lock) -> Iterator[None]:
    if not turn.acquire(timeout=_TURN_SECONDS):
        raise Unavailable("the database has more to write than it can", hint="try again")
    try:
        yield
    finally:
        turn.release()


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        cause = str(getattr(error, "orig", None) or error)
        _log.warning("database.unavailable", extra={"fields": {"cause": cause}})
        raise Unavailable("the database can't be used at the moment", hint="try again") from error


def _engine(url: str) -> Engine:
    options: dict[str, Any] = {
        "pool_size": CONNECTIONS,
        "max_overflow": 0,
        "pool_timeout": _TURN_SECONDS,
        "pool_use_lifo": True,
        "json_serializer": lambda value: msgspec.json.encode(value).decode(),
        "json_deserializer": msgspec.json.decode,
    }
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, **options)
    # isolation_level None: the driver begins no transactions of its own; `_begin` does.
    connect_args = {"timeout": _BUSY_SECONDS, "check_same_thread": False, "isolation_level": None}
    engine = create_engine(url, connect_args=connect_args, **options)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # The sidecar forgets its buffer once a row is acknowledged, so a commit must survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins as a reader can't become a writer while another one writes, whatever it waits.
    writing = connection.get_execution_options().get("pinnace_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
