"""What lists leave out, and since when it lies in the trash, in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, true

from pinnace.records import Lifecycle, Shown


def is_shown(shown: Shown, own: ColumnElement[str], *around: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition on a row's own lifecycle, and on those of what it lies in."""
    is_trashed = or_(*(column == Lifecycle.TRASHED.value for column in (own, *around)))
    match shown:
        case Shown.ALL:
            return true()
        case Shown.TRASHED:
            return is_trashed
        case Shown.ARCHIVED:
            return and_(own == Lifecycle.ARCHIVED.value, ~is_trashed)
        case Shown.ACTIVE:
            return and_(own == Lifecycle.ACTIVE.value, ~is_trashed)


def trashed_at(column: ColumnElement[Any], lifecycle: Lifecycle, moment: datetime) -> Any:
    """What the column of that name becomes with this lifecycle: what lies in the trash already came there before."""
    return func.coalesce(column, moment) if lifecycle is Lifecycle.TRASHED else None
