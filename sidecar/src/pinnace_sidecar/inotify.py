"""Being woken when something happens on the volume. A wake-up decides nothing: the scan that follows does.

Events are lost under load (a full queue drops them) and never come from NFS or FUSE, so nothing may depend on one.
The only fact taken from them is a rename: `take_moves` tells which name became which, if we were there to see it.
"""

import ctypes
import errno
import logging
import os
import select
import struct
from collections.abc import Callable
from threading import Lock, Thread
from typing import Protocol

import msgspec

_log = logging.getLogger(__name__)

IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_DONT_FOLLOW = 0x2000000
IN_ISDIR = 0x40000000

#: Without IN_MODIFY: a busy writer would wake us for every write, and settle time needs a scan anyway.
_MASK = IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ONLYDIR | IN_DONT_FOLLOW
_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 * 1024
#: After a read the next one waits so long: many events come at a time then. The kernel keeps 16,384 of them.
_PAUSE_MS = 10


class Move(msgspec.Struct, frozen=True):
    """`source` became `target`, both on the volume."""

    source: str
    target: str


class Event(msgspec.Struct, frozen=True):
    """One record of the kernel. `name` is empty when the event is about the watched folder itself."""

    watch: int
    mask: int
    cookie: int
    name: str


class Watcher(Protocol):
    """Wakes by ringing the bell it was made with."""

    #: False when nothing wakes us and only scans find anything.
    works: bool
    #: How often the kernel dropped events.
    overflows: int
    #: Something happened since the last call of `take_moves`.
    stirred: bool

    def enter(self, path: str) -> None:
        """Watch this folder. Call it before reading the folder, or what is written in between is missed."""
        ...

    def take_moves(self) -> list[Move]:
        """The renames seen since the last call; `stirred` is False then."""
        ...

    def close(self) -> None: ...


class NoWatcher:
    """Where the kernel has no inotify instance left, or nobody wants to be woken."""

    works = False
    overflows = 0
    stirred = False

    def enter(self, path: str) -> None: ...

    def take_moves(self) -> list[Move]:
        return []

    def close(self) -> None: ...


class InotifyWatcher:
    """One inotify instance for the folder tree `root`, read by a thread of its own.

    When the kernel's limits are reached `works` becomes False: the caller scans more often instead.
    """

    def __init__(self, root: str, ring: Callable[[], None]) -> None:
        self._root = root
        self._ring = ring
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self.works = True
        self.overflows = 0
        self.stirred = False
        self._lock = Lock()
        self._folders: dict[int, str] = {}
        self._moves: list[Move] = []
        self._stop = os.eventfd(0)
        self._thread = Thread(target=self._listen, name="inotify", daemon=True)
        self._thread.start()

    def enter(self, path: str) -> None:
        full = os.fsencode(f"{self._root}/{path}")
        # The lock is held over the call: the first event may arrive before the watch is in the table.
        with self._lock:
            watch = self._libc.inotify_add_watch(self._descriptor, full, _MASK)
            if watch >= 0:
                # The same folder under a new name has the same watch: this is how renamed folders are followed.
                self._folders[watch] = path
                return
        code = ctypes.get_errno()
        if code in (errno.ENOSPC, errno.ENOMEM) and self.works:
            self.works = False
            _log.warning("no inotify watch left, scanning more often instead", extra={"folders": len(self._folders)})

    def take_moves(self) -> list[Move]:
        with self._lock:
            moves, self._moves = self._moves, []
            self.stirred = False
        return moves

    def close(self) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._descriptor)
        os.close(self._stop)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        stop = select.poll()
        stop.register(self._stop, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._stop in ready:
                return
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                continue
            if self._take(events_in(data)):
                self._ring()
            stop.poll(_PAUSE_MS)

    def _take(self, events: list[Event]) -> bool:
        """Returns whether this is the first that happened since `take_moves`: who was told once looks anyway."""
        sources: dict[int, str] = {}
        with self._lock:
            is_first, self.stirred = not self.stirred, True
            for event in events:
                if event.mask & IN_Q_OVERFLOW:
                    self.overflows += 1
                    continue
                folder = self._folders.get(event.watch)
                if folder is None:
                    continue
                if event.mask & IN_IGNORED:
                    del self._folders[event.watch]
                    continue
                path = f"{folder}/{event.name}" if folder else event.name
                if event.mask & IN_MOVED_FROM and not event.mask & IN_ISDIR:
                    sources[event.cookie] = path
                elif event.mask & IN_MOVED_TO and event.cookie in sources:
                    self._moves.append(Move(sources.pop(event.cookie), path))
        return is_first


def events_in(data: bytes) -> list[Event]:
    """The records in what one read of an inotify descriptor returned."""
    events: list[Event] = []
    at = 0
    while at + _HEADER.size <= len(data):
        watch, mask, cookie, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        name = data[at : at + length].rstrip(b"\0")
        events.append(Event(watch, mask, cookie, os.fsdecode(name)))
        at += length
    return events


def watcher_for(root: str, ring: Callable[[], None]) -> Watcher:
    """An inotify watcher, or NoWatcher where there is none to be had."""
    try:
        return InotifyWatcher(root, ring)
    except OSError as error:
        _log.warning("inotify is not available, scanning more often instead", extra={"error": str(error)})
        return NoWatcher()
