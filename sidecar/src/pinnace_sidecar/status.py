"""`python -m pinnace_sidecar status DIR`: where each file of a buffer stands and why.

It is read off the journal; copies in the buffer that the journal does not know are counted.

Opens the journal read-only and takes no lock; it may be asked beside a running sidecar or of a buffer that was found.
"""

import argparse
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from pinnace.digests import ContentDigest
from pinnace.errors import PinnaceError
from pinnace.records import FileState
from pinnace_sidecar import packs
from pinnace_sidecar.copying import TEMPORARY
from pinnace_sidecar.files import wire_path
from pinnace_sidecar.journal import Held

#: Since these versions of the schema files can be held, and compressed.
_HELD_SINCE: Final = 2
_STORED_SINCE: Final = 5

_WHY: Final = {
    FileState.BUFFERED: "its copy is in the buffer and waits for the store",
    FileState.UPLOADED: "the store has it; what it holds is to be compared",
    FileState.VERIFIED: "the store has it; its row waits for the API",
    FileState.RECORDED: "in the store, with a row",
    FileState.SUSPECT: "in the store, with a row; its writer ended before it was complete",
}


class StatusError(PinnaceError):
    """The journal can't be read. Nothing was changed."""


class FileStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One content of one path. `current`: the path shows it now."""

    path: str
    state: FileState
    why: str
    size: int
    current: bool
    artifact_id: str | None


class BufferStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A whole buffer: how many files are in each state, and the first of them, those that are not ashore first."""

    files: dict[FileState, int]
    #: A sidecar that starts here takes them up, those that say what they are.
    unknown_copies: int
    unsent_metric_points: int
    listed: tuple[FileStatus, ...]


def read(buffer_dir: Path, *, limit: int, state: FileState | None = None) -> BufferStatus:
    """The status of the buffer in `buffer_dir` with at most `limit` files listed. Raises StatusError."""
    path = buffer_dir / "journal.db"
    if not path.is_file():
        raise StatusError(f"{path} is not there", hint="name the folder that holds journal.db")
    copies = _copies(buffer_dir / "files")  # before the journal is read: what comes meanwhile is known to neither
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            connection.execute("PRAGMA temp_store = MEMORY")  # there may be no folder for temporary files
            connection.execute("BEGIN")
            counts = connection.execute("SELECT state, count(*) FROM files GROUP BY state").fetchall()
            ((points,),) = connection.execute("SELECT coalesce(sum(count), 0) FROM outbox").fetchall()
            return BufferStatus(
                files={FileState(name): count for name, count in counts},
                unknown_copies=sum(not _knows(connection, copy) for copy in copies),
                unsent_metric_points=points,
                listed=tuple(_files(connection, limit, state)),
            )
    except sqlite3.Error as error:
        raise StatusError(f"{path} can't be read: {error}", hint="the sidecar sets a damaged journal aside") from error


def _copies(folder: Path) -> list[str]:
    """What lies in the buffer. A pack that can't be read is one."""
    names = []
    for file in folder.iterdir() if folder.is_dir() else ():
        if not packs.is_pack(file.name):
            names += [] if file.name.startswith(TEMPORARY) else [file.name]
            continue
        try:
            with file.open("rb") as pack:
                table = packs.read(pack)
        except FileNotFoundError:
            continue
        except OSError:
            table = None
        names += [file.name] if table is None else [packed.name for packed, _ in table]
    return names


def _knows(connection: sqlite3.Connection, copy: str) -> bool:
    artifact = copy.partition(".")[0]
    return bool(connection.execute("SELECT 1 FROM files WHERE artifact_id = ?", (artifact,)).fetchall())


def _files(connection: sqlite3.Connection, limit: int, state: FileState | None) -> Iterator[FileStatus]:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    held, ashore = "held" if version >= _HELD_SINCE else "0", f"'{FileState.RECORDED}', '{FileState.SUSPECT}'"
    kept = "coalesce(stored, digest)" if version >= _STORED_SINCE else "digest"
    rows = connection.execute(
        f"SELECT id, path, state, size, current, artifact_id, {kept}, upload_id, reason, message, {held} FROM files"  # noqa: S608
        f" WHERE ?1 IS NULL OR state = ?1 ORDER BY state IN ({ashore}), id LIMIT ?2",
        (state, limit),
    )
    for file_id, path, at, size, current, artifact, *details in rows.fetchall():
        yield FileStatus(
            path=wire_path(os.fsdecode(path)),
            state=FileState(at),
            why=_why(connection, file_id, FileState(at), details),
            size=size,
            current=bool(current),
            artifact_id=artifact,
        )


def _why(connection: sqlite3.Connection, file_id: int, state: FileState, details: list[Any]) -> str:
    kept, upload_id, reason, message, held = details
    if state is FileState.QUARANTINED:
        return f"{reason}: {message}"
    match Held(held):
        case Held.UNREAD:
            return "a manifest that is to be read"
        case Held.INVALID:
            return f"no manifest: {message}"
        case Held.WAITING:
            awaited = connection.execute(
                "SELECT path FROM members WHERE manifest = ? ORDER BY path", (file_id,)
            ).fetchall()
            names = ", ".join(wire_path(os.fsdecode(path)) for (path,) in awaited[:3])
            return f"waits for {len(awaited)} files of its set: {names}{', …' if len(awaited) > 3 else ''}"
        case Held.NO:
            pass
    if upload_id and state is FileState.BUFFERED:
        ((sent,),) = connection.execute("SELECT count(*) FROM parts WHERE file = ?", (file_id,)).fetchall()
        parts = len(msgspec.json.decode(kept, type=ContentDigest).parts)
        return f"on its way to the store: {sent} of {parts} parts are there"
    return _WHY[state]


def main(argv: list[str]) -> int:
    """Print the status; returns the exit code: 0 when everything in the buffer is ashore, 1 when not, 2 unreadable."""
    parser = argparse.ArgumentParser(prog="pinnace_sidecar status", description="Where each file of a buffer stands.")
    parser.add_argument("buffer", metavar="DIR", type=Path, help="the buffer's folder")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="list at most N files (default 100)")
    parser.add_argument("--state", type=FileState, choices=list(FileState), help="list only files in this state")
    arguments = parser.parse_args(argv)
    try:
        status = read(arguments.buffer, limit=max(0, arguments.limit), state=arguments.state)
    except StatusError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(status).decode() + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(status))
    ashore = all(state in (FileState.RECORDED, FileState.SUSPECT) for state in status.files)
    return 0 if ashore and not (status.unknown_copies or status.unsent_metric_points) else 1


def _lines(status: BufferStatus) -> Iterator[str]:
    for file in status.listed:
        # repr keeps a newline in a name from making a line of its own.
        path = file.path if file.path.isprintable() else repr(file.path)
        yield f"{file.state:<12} {file.size:>14,}  {path}  ({file.why})"
    total = sum(status.files.values())
    if len(status.listed) < total:
        yield f"… and {total - len(status.listed)} more"
    yield ", ".join(f"{count} {state}" for state, count in sorted(status.files.items())) or "no files"
    if status.unknown_copies:
        yield f"{status.unknown_copies} copies in the buffer that the journal does not know"
    if status.unsent_metric_points:
        yield f"{status.unsent_metric_points} metric points wait for the API"
