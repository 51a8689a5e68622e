"""What the database's own errors mean: try the transaction again, refuse the request as Unavailable, or a defect.

PostgreSQL says what went wrong by SQLSTATE, SQLite by its result code; nothing here reads the text of a message.
"""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pinnace_api.refusals import Unavailable

_TRY_AGAIN: Final = "try again"
_NO_ROOM: Final = "nothing was stored; free space on the database's disk, then try again"

#: One of two transactions that stood in each other's way was given up; alone it would have gone through.
_VICTIM: Final = frozenset({"40001", "40P01"})
#: (detail, hint) by SQLSTATE, for what somebody can do something about.
_KNOWN: Final = {
    "25006": ("the database takes no writes at the moment", "a standby, or a change of the primary; try again"),
    "25P03": ("the database closed a transaction that was idle", _TRY_AGAIN),
    "40001": ("too many writers want the same rows", _TRY_AGAIN),
    "40P01": ("too many writers want the same rows", _TRY_AGAIN),
    "53100": ("the database's disk is full", _NO_ROOM),
    "53200": ("the database is out of memory", _TRY_AGAIN),
    "55P03": ("another transaction holds what this one needs", _TRY_AGAIN),
    "XX001": ("the database is damaged, or is none", "restore a backup of it"),
    "57014": ("the database took too long", "ask for less at once, or raise PINNACE_API_DATABASE_STATEMENT_SECONDS"),
}
#: SQLSTATE by SQLite's code.
_OF_SQLITE: Final = {
    sqlite3.SQLITE_FULL: "53100",
    sqlite3.SQLITE_CORRUPT: "XX001",
    sqlite3.SQLITE_NOTADB: "XX001",
}
#: An OperationalError for the driver, but of our own making: a row that is too large for an index, and the like.
_DEFECTS: Final = "54"


def is_victim(error: DBAPIError) -> bool:
    """Whether the same transaction may well go through when it is tried again; nothing of it was stored."""
    return _state(error) in _VICTIM


def unavailable(error: SQLAlchemyError) -> Unavailable | None:
    """The refusal when the database can't be used at the moment; None when the error is a defect."""
    if isinstance(error, PoolTimeoutError):
        return Unavailable("the API has more to do than its connections to the database allow", hint=_TRY_AGAIN)
    if not isinstance(error, DBAPIError):
        return None
    state = _state(error)
    if state in _KNOWN:
        detail, hint = _KNOWN[state]
        return Unavailable(detail, hint=hint)
    if not isinstance(error, OperationalError | InterfaceError) or state.startswith(_DEFECTS):
        return None
    return Unavailable(
        "the database can't be used at the moment", hint="try again; the API's log has what the database said"
    )


def cause(error: SQLAlchemyError) -> str:
    """What the driver said, on one line, for the log; never the statement's values."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _state(error: DBAPIError) -> str:
    """SQLSTATE; of SQLite's codes the one that has an equal there."""
    if isinstance(error.orig, sqlite3.Error):
        return _OF_SQLITE.get(getattr(error.orig, "sqlite_errorcode", 0) & 0xFF, "")
    return getattr(error.orig, "sqlstate", None) or ""
