"""A folder that holds what an iteration says until the API has it: docs/reference/spool.md.

    events.jsonl      events, one a line; it only grows
    files/            bytes of artifacts
    delivered         how many bytes of events.jsonl the API has
    refused.jsonl     events that the API will never take, each with the reason
    lock              held by the process that writes or delivers

An event counts when its line is whole. Whatever is killed, and whenever: what was appended is there, and what is
delivered twice changes nothing. A power cut can take what the kernel had not written yet, unless `flush` came before.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from pinnace.tracking.errors import SpoolBusy, SpoolError
from pinnace.tracking.events import Begin, Event, from_line, to_line

_EVENTS: Final = "events.jsonl"
_FILES: Final = "files"
_DELIVERED: Final = "delivered"
_REFUSED: Final = "refused.jsonl"
_LOCK: Final = "lock"

_READ_BYTES: Final = 2**20
_COPY_BYTES: Final = 2**20
#: What waits in memory when the disk takes nothing. What comes on top of it is lost, and said to be.
MAX_PENDING_BYTES: Final = 64 * 2**20

#: Locks of files are between processes; these are the spools that this one has.
_own: set[Path] = set()


class Entry(NamedTuple):
    """A line: where it begins, where the next one does, and what it says; an error where it can't be understood."""

    offset: int
    end: int
    event: Event | ValueError


class Kept(NamedTuple):
    """A file in the spool."""

    name: str
    size: int
    sha256: str


class Spool:
    """One iteration's folder, held by this process until `close`. Appending is safe from several threads at once."""

    def __init__(self, folder: Path, lock: int, events: int, begin: Begin) -> None:
        self.folder = folder
        self.begin = begin
        #: Events that neither disk nor memory had room for.
        self.lost = 0
        self._lock_file: int | None = lock
        self._events = events
        self._mutex = threading.Lock()
        #: Files that a power cut could still take.
        self._unsynced: deque[Path] = deque()
        #: Where the file ends, and what is to come there. One value, so that no signal finds half of a change; written
        #: at a place, so that writing again what was written already changes nothing.
        self._tail: tuple[int, bytes] = (os.fstat(events).st_size, b"")

    @classmethod
    def create(cls, parent: Path, begin: Begin) -> "Spool":
        """A new one, below `parent`, called by the iteration's id. Raises SpoolError when it can't be made."""
        folder = parent / str(begin.id)
        try:
            folder.mkdir(parents=True, mode=0o700)
            lock = _lock(folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            spool = cls(folder, lock, os.open(folder / _EVENTS, flags, 0o600), begin)
            spool.append(begin)
            spool.flush()
        except OSError as error:
            raise SpoolError(
                f"nothing can be kept in {folder}: {error}", hint="set PINNACE_SPOOL_DIR to a folder with room"
            ) from error
        return spool

    @classmethod
    def open(cls, folder: Path) -> "Spool":
        """One that is there. Raises SpoolError, SpoolBusy."""
        try:
            events = os.open(folder / _EVENTS, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolError(f"{folder} is no spool: {error}", hint="give a folder with an events.jsonl") from error
        lock = None
        try:
            lock = _lock(folder)
            first = next(_entries(events, 0), None)
            if first is None or not isinstance(first.event, Begin):
                raise SpoolError(f"{folder} is no spool: its first line does not say what was begun")  # noqa: TRY301
            return cls(folder, lock, events, first.event)
        except BaseException:
            os.close(events)
            if lock is not None:
                _unlock(folder, lock)
            raise

    def close(self) -> None:
        """Let another process have it. Safe to call twice."""
        with self._mutex:
            if self._lock_file is not None:
                _unlock(self.folder, self._lock_file)
                os.close(self._events)
                # Whoever comes late writes nowhere, and not into the next file that gets this number.
                self._events, self._lock_file = -1, None

    def remove(self) -> None:
        """All of it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- writing

    def append(self, event: Event) -> None:
        """Never waits for anybody; where the disk has no room, memory holds it until there is some.

        Raises TypeError for what JSON can't hold.
        """
        line = to_line(event)
        with self._mutex:
            end, pending = self._tail
            if len(pending) + len(line) > MAX_PENDING_BYTES:
                self.lost += 1
            else:
                self._tail = (end, pending + line)
            with suppress(OSError):
                self._write()

    def flush(self) -> None:
        """Make durable what was appended, with the files. Raises OSError."""
        while self._unsynced:
            with suppress(FileNotFoundError):  # delivered, and not needed any more
                _sync(self._unsynced[0])
            self._unsynced.popleft()
        with self._mutex:
            self._write()
            os.fsync(self._events)

    def keep(self, source: Path) -> Kept:
        """Copy a file as it is now. Raises OSError; without room ENOSPC."""
        name = secrets.token_hex(16)
        folder = self.folder / _FILES
        folder.mkdir(exist_ok=True, mode=0o700)
        digest, size = hashlib.sha256(), 0
        # It isn't there for anybody until an event names it.
        with source.open("rb") as content, (folder / name).open("xb") as copy:
            while block := content.read(_COPY_BYTES):
                digest.update(block)
                copy.write(block)
                size += len(block)
        self._unsynced.append(folder / name)
        return Kept(name, size, digest.hexdigest())

    # --- delivering

    @property
    def delivered(self) -> int:
        """How many bytes of the events the API has. What is lost of this is delivered again, which is harmless."""
        try:
            return int((self.folder / _DELIVERED).read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def mark(self, offset: int) -> None:
        """The API has everything before `offset`."""
        part = self.folder / f".{_DELIVERED}"
        part.write_text(str(offset), "ascii")
        part.replace(self.folder / _DELIVERED)

    def refuse(self, entry: Entry, why: str) -> None:
        """The API will never take it: keep it apart, with the reason."""
        said = msgspec.Raw(os.pread(self._events, entry.end - entry.offset, entry.offset))
        if isinstance(entry.event, ValueError):
            said = msgspec.Raw(msgspec.json.encode(bytes(said).decode(errors="replace")))
        line = msgspec.json.encode({"offset": entry.offset, "why": why, "event": said})
        with (self.folder / _REFUSED).open("ab") as file:
            file.write(line.replace(b"\n", b"") + b"\n")

    @property
    def refused(self) -> list[str]:
        """Why, of each that was refused."""
        try:
            lines = (self.folder / _REFUSED).read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return list({line["offset"]: str(line["why"]) for line in map(msgspec.json.decode, lines)}.values())

    def entries(self, offset: int) -> Iterator[Entry]:
        """The whole lines from `offset` on, as far as there are any now."""
        return _entries(self._events, offset)

    def left(self, offset: int) -> int:
        """How many bytes there are behind `offset`, in the file and in memory."""
        end, pending = self._tail
        return end + len(pending) - offset

    def content(self, name: str) -> BinaryIO:
        """The bytes of a file that was kept. Raises OSError."""
        return (self.folder / _FILES / name).open("rb")

    def discard(self, name: str) -> None:
        """A kept file isn't needed any more."""
        (self.folder / _FILES / name).unlink(missing_ok=True)

    def _write(self) -> None:
        end, pending = self._tail
        while pending:
            written = os.pwrite(self._events, pending, end)
            end, pending = self._tail = (end + written, pending[written:])


def spools(folder: Path) -> list[Path]:
    """The spools that `folder` is or holds, those that were begun first before the others. Raises SpoolError."""
    if (folder / _EVENTS).is_file():
        return [folder]
    try:
        found = [path.parent for path in folder.glob(f"*/{_EVENTS}")]
    except OSError as error:
        raise SpoolError(f"{folder} can't be read: {error}") from error
    if not folder.is_dir():
        raise SpoolError(f"there is no folder {folder}")
    return sorted(found, key=_begun)


def _begun(folder: Path) -> tuple[str, str]:
    """Parents were begun before their children."""
    with suppress(OSError), (folder / _EVENTS).open("rb") as file, suppress(ValueError):
        first = from_line(file.readline())
        if isinstance(first, Begin):
            return first.at.isoformat(), folder.name
    return "", folder.name


def _entries(events: int, offset: int) -> Iterator[Entry]:
    data = b""
    while block := os.pread(events, _READ_BYTES, offset + len(data)):
        data += block
        lines = data.split(b"\n")
        data = lines.pop()
        for line in lines:
            end = offset + len(line) + 1
            yield Entry(offset, end, _event(line))
            offset = end


def _event(line: bytes) -> Event | ValueError:
    try:
        return from_line(line)
    except ValueError as error:
        return error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """Raises SpoolBusy. Of the process and not of the file description, so that no child of a fork keeps it."""
    where = folder.resolve()
    if where in _own:
        raise SpoolBusy(f"{folder} is being written by this process")
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise SpoolBusy(
                f"another process has {folder}", hint="its training still runs, or somebody delivers it"
            ) from error
        raise
    _own.add(where)
    return descriptor


def _unlock(folder: Path, descriptor: int) -> None:
    _own.discard(folder.resolve())
    os.close(descriptor)
