"""The pod's volume as the sidecar sees it (pinnace_sidecar.files.Volume), and the watcher that wakes it."""

import errno
from collections.abc import Callable, Iterator
from threading import Event

from pinnace_sidecar.completeness import Writer
from pinnace_sidecar.files import Entry, Fingerprint, Folder
from pinnace_sidecar.inotify import Move
from support.simulation.filesystem import FileSystem, Inode, failure
from support.simulation.machine import Machine

ROOT = "/artifacts"
#: Names that are found at a time in a folder: few, so that large ones come in pieces.
_PIECE = 4
FOLDERS = ("", "sub", "sub/deep")


class _OpenFile:
    """A read is made in pieces, so that a writer can come between them."""

    def __init__(self, volume: "SimulatedVolume", inode: Inode, path: str) -> None:
        self._volume = volume
        self.inode = inode
        self._path = path
        self._at = 0
        self.found = _fingerprint(inode)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._volume.enter("read", self._path)
            piece = min(size - len(data), self._volume.machine.rng.choice([7, 64, 4096]))
            found = bytes(self.inode.data[self._at : self._at + piece])
            if not found:
                break
            self._at += len(found)
            data += found
            self._volume.being_read(self._path)
        return data

    def seek(self, offset: int) -> None:
        self._at = offset

    def fingerprint(self) -> Fingerprint:
        self._volume.enter("fstat", self._path)
        return _fingerprint(self.inode)

    def fileno(self) -> int:
        raise AssertionError("a simulated file has no descriptor")

    def close(self) -> None: ...


class SimulatedVolume:
    """`fault_rate` is how probable EIO is, per call. `being_read` is told of each read, and may write.
    `leases`: the kernel tells whether a file is open for writing.
    """

    def __init__(
        self,
        machine: Machine,
        system: FileSystem,
        being_read: Callable[[str], None],
        is_open: Callable[[str], bool],
        *,
        leases: bool,
    ) -> None:
        self.machine = machine
        self._system = system
        self.being_read = being_read
        self._is_open = is_open
        self._leases = leases
        self.fault_rate = 0.0

    def enter(self, what: str, path: str) -> None:
        self.machine.seam("volume", what, path)
        if self.machine.chance(self.fault_rate):
            self.machine.note("  fails: EIO")
            raise failure(errno.EIO, path)

    def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
        for folder in FOLDERS:
            enter(folder)
            try:
                self.enter("scan", folder or ".")
                entries = tuple(self._entries(folder))
                pieces = [entries[at : at + _PIECE] for at in range(0, len(entries), _PIECE)] or [()]
                for piece in pieces:
                    yield Folder(folder, piece, whole=len(pieces) == 1)
            except OSError as error:
                yield Folder(folder, problem=error)

    def _entries(self, folder: str) -> Iterator[Entry]:
        for name in sorted(self._system.listing(f"{ROOT}/{folder}" if folder else ROOT)):
            path = f"{folder}/{name}" if folder else name
            self.machine.seam()
            if inode := self._system.names.get(f"{ROOT}/{path}"):
                yield Entry(path, _fingerprint(inode))

    def open(self, path: str) -> _OpenFile:
        self.enter("open", path)
        return _OpenFile(self, self._system.find(f"{ROOT}/{path}"), path)

    def name_of(self, folder: str, inode: int) -> str | None:
        self.machine.seam("volume name of", inode)
        for name, found in self._system.listing(f"{ROOT}/{folder}" if folder else ROOT).items():
            if found.number == inode:
                return f"{folder}/{name}" if folder else name
        return None

    def writer(self, path: str) -> Writer:
        self.machine.seam("volume writer of", path)
        if not self._leases:
            return Writer.UNKNOWN
        return Writer.OPEN if self._is_open(path) else Writer.NONE

    def fingerprint(self, path: str) -> Fingerprint | None:
        self.machine.seam("volume stat", path)
        inode = self._system.names.get(f"{ROOT}/{path}")
        return _fingerprint(inode) if inode else None


class SimulatedWatcher:
    """Tells of what happens in folders that were entered, and loses events at times."""

    def __init__(self, machine: Machine, bell: Event, *, works: bool, loses: float) -> None:
        self.works = works
        self.overflows = 0
        self.stirred = False
        self._machine = machine
        self._bell = bell
        self._loses = loses
        self._entered: set[str] = set()
        self._moves: list[Move] = []

    def enter(self, path: str) -> None:
        self._entered.add(path)

    def take_moves(self) -> list[Move]:
        moves, self._moves = self._moves, []
        self.stirred = False
        return moves

    def close(self) -> None: ...

    def happened(self, path: str, moved_from: str = "") -> None:
        """Something happened to a file, maybe a rename."""
        if not self.works or path.rpartition("/")[0] not in self._entered:
            return
        if self._machine.chance(self._loses):
            self.overflows += 1
            return
        self.stirred = True
        if moved_from:
            self._moves.append(Move(moved_from, path))
        self._bell.set()


def _fingerprint(inode: Inode) -> Fingerprint:
    return Fingerprint(inode.number, len(inode.data), inode.mtime_ns, inode.ctime_ns)
