"""A file system that keeps apart what is written and what would survive a power cut.

A write stays in the cache until its file is synced; a name (created, renamed, removed) until its folder is. A cut keeps
the synced and, of the rest, whatever the seed decides: of a file's writes none, the first few, or any of them, the last
one torn at a sector; of a folder's changes the first few in order (as journaling file systems do) or any of them. A
rename is one change: there is no moment with both names or none. Folders themselves are always there. Not modelled:
a disk that lies about a sync, and content that its times don't tell from what was there before.
"""

import errno
import os
import random
from collections.abc import Iterable

SECTOR = 512


def failure(code: int, path: str = "") -> OSError:
    return OSError(code, os.strerror(code), path)


class Inode:
    """A file's content: `data` is what everybody sees."""

    __slots__ = ("ctime_ns", "data", "mtime_ns", "number", "pending", "synced", "synced_times")

    def __init__(self, number: int) -> None:
        self.number = number
        self.data = bytearray()
        self.synced = bytearray()
        #: Writes that are not synced: offset and bytes; a truncation has a size and None.
        self.pending: list[tuple[int, bytes | None]] = []
        self.mtime_ns = self.ctime_ns = 0
        self.synced_times = (0, 0)

    def write(self, offset: int, data: bytes) -> None:
        _apply(self.data, offset, data)
        self.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        _apply(self.data, size, None)
        self.pending.append((size, None))

    def sync(self) -> None:
        for offset, data in self.pending:
            _apply(self.synced, offset, data)
        self.pending.clear()
        self.synced_times = (self.mtime_ns, self.ctime_ns)

    def cut(self, rng: random.Random) -> None:
        """What a power cut leaves of it."""
        before = bytes(self.synced)
        for offset, data in _survivors(self.pending, rng):
            _apply(self.synced, offset, data)
        if self.pending and len(self.synced) < len(self.data) and rng.random() < 0.2:
            # The size reached the disk, the blocks did not: zeros.
            _apply(self.synced, len(self.data), None)
        if self.synced == before:
            self.mtime_ns, self.ctime_ns = self.synced_times
        elif self.synced != self.data:
            self.ctime_ns -= 1
        self.data = bytearray(self.synced)
        self.synced_times = (self.mtime_ns, self.ctime_ns)
        self.pending.clear()


class FileSystem:
    """Files by their full path. Raises OSError as the kernel would."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self._synced: dict[str, Inode] = {}
        #: Changes of names that are not synced: the names that appeared or changed, None where one disappeared.
        self._pending: list[tuple[str, dict[str, Inode | None]]] = []
        self._numbers = 100

    def create(self, path: str) -> Inode:
        """A new, empty file, or the one that is there, emptied."""
        inode = self.names.get(path)
        if inode is not None:
            inode.truncate(0)
            return inode
        self._numbers += 1
        inode = Inode(self._numbers)
        self._change(path, {path: inode})
        return inode

    def find(self, path: str) -> Inode:
        try:
            return self.names[path]
        except KeyError:
            raise failure(errno.ENOENT, path) from None

    def rename(self, source: str, target: str) -> None:
        self._change(target, {source: None, target: self.find(source)})

    def unlink(self, path: str) -> None:
        self.find(path)
        self._change(path, {path: None})

    def sync_folder(self, folder: str) -> None:
        for owner, change in self._pending:
            if owner == folder:
                _rename(self._synced, change)
        self._pending = [(owner, change) for owner, change in self._pending if owner != folder]

    def listing(self, folder: str) -> dict[str, Inode]:
        """The files of a folder, not of those below, by name."""
        start = f"{folder}/"
        return {
            path[len(start) :]: inode
            for path, inode in self.names.items()
            if path.startswith(start) and "/" not in path[len(start) :]
        }

    def inodes(self) -> Iterable[Inode]:
        return {inode.number: inode for inode in self.names.values()}.values()

    def survives(self, path: str) -> bool:
        """Whether a power cut now would leave the file as it is."""
        inode = self.names.get(path)
        return inode is not None and self._synced.get(path) is inode and inode.synced == inode.data

    def sync_all(self) -> None:
        for inode in self.inodes():
            inode.sync()
        for _, change in self._pending:
            _rename(self._synced, change)
        self._pending.clear()

    def cut(self, rng: random.Random) -> None:
        """The power goes, and comes back."""
        for change in _survivors([change for _, change in self._pending], rng, whole=True):
            _rename(self._synced, change)
        self._pending.clear()
        self.names = dict(self._synced)
        for inode in self.inodes():
            inode.cut(rng)

    def _change(self, path: str, change: dict[str, Inode | None]) -> None:
        _rename(self.names, change)
        self._pending.append((path.rpartition("/")[0], change))


def _rename(names: dict[str, Inode], change: dict[str, Inode | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        if offset < len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _survivors(pending: list, rng: random.Random, *, whole: bool = False) -> list:  # type: ignore[type-arg]
    """What of the unsynced reached the disk all the same."""
    if not pending:
        return []
    luck = rng.random()
    if luck < 0.35:
        return []
    if luck < 0.5:
        return pending
    if luck < 0.8:
        kept = pending[: rng.randrange(len(pending) + 1)]
        if kept and not whole and kept[-1][1]:
            offset, data = kept[-1]
            kept = [*kept[:-1], (offset, data[: rng.randrange(0, len(data) + SECTOR, SECTOR)])]
        return kept
    return [one for one in pending if rng.random() < 0.5]
