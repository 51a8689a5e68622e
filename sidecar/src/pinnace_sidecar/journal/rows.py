"""Whole rows of the table `files`, many in one statement and with the seals that they need.

What happens to every small file goes through here. Each step of a statement hands Python's lock to another thread and
takes it back, so statements are few; and SQLite would call Python for the seal of each row.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pinnace_sidecar.journal import seals
from pinnace_sidecar.journal.database import Database, in_parts, marks


class Row(NamedTuple):
    """The columns of `files` in the table's order, as SQLite has them; the seal is left out."""

    id: int
    folder: bytes
    path: bytes
    current: int
    fingerprint: str
    state: str
    suspect: int
    settled_at: float
    size: int
    artifact_id: str | None
    digest: bytes | None
    upload_id: str = ""
    etag: str = ""
    reason: str = ""
    message: str = ""
    held: int = 0
    shared: bytes | None = None
    stored: bytes | None = None


_COLUMNS = ", ".join(Row._fields)
_MARKS = f"({marks((*Row._fields, 'seal'))})"


def next_id(database: Database) -> int:
    """The id that the next row of `files` is to have."""
    found = database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'files'")
    return int(found[0][0]) + 1 if found else 1


def insert(database: Database, rows: Sequence[Row]) -> None:
    for part in in_parts(rows):
        values = [value for row in part for value in (*row, seals.seal(row))]
        places = ", ".join([_MARKS] * len(part))
        database.execute(f"INSERT INTO files ({_COLUMNS}, seal) VALUES {places}", *values)  # noqa: S608


def read(database: Database, ids: Iterable[int]) -> list[Row]:
    """The rows with these ids."""
    found = database.rows(
        f"SELECT {_COLUMNS} FROM files WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
        msgspec.json.encode(list(ids)).decode(),
    )
    return [Row(*row) for row in found]


def advance(database: Database, rows: Iterable[Row]) -> None:
    """Give rows the `state`, `etag`, `reason` and `message` that they have here; nothing else may differ."""
    changed = [(row.id, row.state, row.etag, row.reason, row.message, seals.seal(row)) for row in rows]
    database.execute(
        "UPDATE files SET state = value ->> 1, etag = value ->> 2, reason = value ->> 3, message = value ->> 4,"
        " seal = value ->> 5 FROM json_each(?) WHERE files.id = value ->> 0",
        msgspec.json.encode(changed).decode(),
    )


def current_paths(database: Database, paths: Sequence[bytes]) -> set[bytes | str]:
    """Those of the paths that a row stands for now."""
    return {path for (path,) in database.rows_in("SELECT path FROM files WHERE current AND path IN ({})", paths)}


def known_artifacts(database: Database, artifacts: Iterable[str]) -> set[bytes | str]:
    """Those of the artifacts that have a row."""
    found = database.rows(
        "SELECT artifact_id FROM files WHERE artifact_id IN (SELECT value FROM json_each(?))",
        msgspec.json.encode(list(artifacts)).decode(),
    )
    return {artifact for (artifact,) in found}
