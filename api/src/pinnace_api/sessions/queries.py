"""Failed attempts in SQL."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from pinnace_api.sessions.tables import ATTEMPTS
from pinnace_api.sessions.throttle import Attempts
from pinnace_api.tables import insert_missing

_HOLD = select(ATTEMPTS).where(ATTEMPTS.c.key == bindparam("key")).with_for_update()
_KEPT: Final = timedelta(days=1)


def hold(connection: Connection, key: str, moment: datetime) -> Attempts:
    """What is known of the key, held until the transaction ends."""
    fresh = {"key": key, "failures": 0, "last_at": moment, "blocked_until": moment}
    insert_missing(connection, ATTEMPTS, [fresh])
    row = connection.execute(_HOLD, {"key": key}).one()
    return Attempts(failures=row.failures, last_at=row.last_at, blocked_until=row.blocked_until)


def keep(connection: Connection, key: str, attempts: Attempts) -> None:
    connection.execute(
        update(ATTEMPTS)
        .where(ATTEMPTS.c.key == key)
        .values(failures=attempts.failures, last_at=attempts.last_at, blocked_until=attempts.blocked_until)
    )


def forget_old(connection: Connection, moment: datetime) -> None:
    connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.last_at < moment - _KEPT))
