"""The sidecar's own disk: pinnace_sidecar.disk.Disk over the simulated file system, with ENOSPC and EIO."""

import errno
import os
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from pinnace_sidecar import packs
from pinnace_sidecar.files import OpenFile
from support.simulation.filesystem import FileSystem, Inode, failure
from support.simulation.machine import Machine

FOLDER = "/buffer"
COPIES = f"{FOLDER}/files"
#: How the record behind a copy's content begins.
_RECORD = b'{"path":"'
#: How a pack begins; the table's length and checksum follow, and then the table.
_PACK = b"pinnpack"


class SimulatedFile:
    """An open file. It is read by position too, as the store's client does."""

    def __init__(self, disk: "SimulatedDisk", inode: Inode, path: str) -> None:
        self._disk = disk
        self.inode = inode
        self._path = path
        self._at = 0

    def write(self, data: bytes | memoryview) -> int:
        self._disk.enter("write", self._path, errno.ENOSPC, errno.EIO)
        some = bytes(data)
        if len(some) > 1 and self._disk.machine.chance(0.2):
            some = some[: self._disk.machine.rng.randrange(1, len(some))]
        self.inode.write(self._at, some)
        self._at += len(some)
        self._disk.check_size()
        return len(some)

    def read(self, size: int = -1) -> bytes:
        data = self.pread(len(self.inode.data) if size < 0 else size, self._at)
        self._at += len(data)
        return data

    def pread(self, size: int, offset: int) -> bytes:
        self._disk.enter("read", self._path, errno.EIO)
        self._disk.check_readable(self.inode, self._path)
        return bytes(self.inode.data[offset : offset + size])

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = len(self.inode.data) + offset if whence == os.SEEK_END else offset
        return self._at

    def fileno(self) -> int:
        raise AssertionError("a simulated file has no descriptor")

    def close(self) -> None: ...

    def __enter__(self) -> "SimulatedFile":
        return self

    def __exit__(self, *_: object) -> None: ...


class SimulatedDisk:
    """`fault_rate` is how probable an error is, per operation. `grew` is told the copies' whole size."""

    def __init__(self, machine: Machine, system: FileSystem, *, clones: bool, grew: Callable[[int], None]) -> None:
        self.machine = machine
        self.system = system
        self.fault_rate = 0.0
        #: Until then nothing works that can fail.
        self.away_until = 0.0
        #: How probable it is that a copy rots soon after it is made: its bytes change, or can't be read any more.
        self.rot_rate = 0.0
        #: The names of copies that did.
        self.rotten: set[str] = set()
        self._unreadable: set[int] = set()
        self._clones = clones
        self._grew = grew

    def enter(self, what: str, path: Path | str, *codes: int) -> None:
        """A seam; raises one of the errors, at times."""
        assert str(path).startswith(FOLDER), f"the sidecar works at {path}"
        self.machine.seam("disk", what, str(path)[len(FOLDER) + 1 :])
        is_away = bool(codes) and self.machine.elapsed < self.away_until
        if is_away or (codes and self.machine.chance(self.fault_rate)):
            code = errno.EIO if is_away else self.machine.rng.choice(codes)
            self.machine.note("  fails:", errno.errorcode[code])
            raise failure(code, str(path))

    def check_size(self) -> None:
        self._grew(sum(_content_size(file, inode.data) for file, inode in self.system.listing(COPIES).items()))

    def create(self, path: Path) -> BinaryIO:
        self.enter("create", path, errno.ENOSPC, errno.EIO)
        return cast(BinaryIO, SimulatedFile(self, self.system.create(str(path)), str(path)))

    def clone(self, source: OpenFile, target: BinaryIO) -> bool:
        self.machine.seam("disk clone")
        if not self._clones:
            return False
        cast(SimulatedFile, target).inode.write(0, bytes(cast(Any, source).inode.data))
        self.check_size()
        return True

    def sync(self, file: BinaryIO) -> None:
        inode = cast(SimulatedFile, file).inode
        self.enter("sync", cast(Any, file)._path, errno.EIO, errno.ENOSPC)
        inode.sync()

    def sync_all(self, files: Sequence[BinaryIO]) -> None:
        for file in files:
            self.sync(file)

    def space(self, folder: Path) -> tuple[int, int]:
        self.enter("space", folder)
        return 2**40, 2**40

    def rename(self, source: Path, target: Path) -> None:
        self.enter("rename", target, errno.EIO, errno.ENOSPC)
        self.system.rename(str(source), str(target))
        if self.machine.chance(self.rot_rate):
            seconds = self.machine.rng.choice([0.0, 0.2, 5.0]) * self.machine.rng.random()
            self.machine.later(seconds, "rot", lambda: self._rot(target))

    def sync_folder(self, folder: Path) -> None:
        self.enter("sync folder", folder, errno.EIO)
        self.system.sync_folder(str(folder))

    def check_readable(self, inode: Inode, path: str) -> None:
        if inode.number in self._unreadable:
            raise failure(errno.EIO, path)

    def _rot(self, path: Path) -> None:
        inode = self.system.names.get(str(path))
        if inode is None or not inode.data or not self.rot_rate:
            return
        self.machine.note("disk: rots", path.name)
        copies = copies_in(path.name, inode.data)
        if self.machine.chance(0.5):
            at = self.machine.rng.randrange(len(inode.data))
            record_at = _content_size(path.name, inode.data)
            if path.name in copies and record_at <= at < record_at + len(_RECORD):
                at = record_at + len(_RECORD)  # so that we know its content by it
            inode.write(at, bytes([inode.data[at] ^ 1]))
            inode.sync()
            self.rotten.update(name for name, (start, end) in copies.items() if start <= at < end)
        else:
            self._unreadable.add(inode.number)
            self.rotten.update(copies)

    def remove(self, path: Path) -> None:
        self.enter("remove", path)
        if str(path) in self.system.names:
            self.system.unlink(str(path))

    def open(self, path: Path) -> BinaryIO:
        self.enter("open", path, errno.EIO)
        return cast(BinaryIO, SimulatedFile(self, self.system.find(str(path)), str(path)))

    def sizes(self, folder: Path) -> dict[str, int]:
        self.enter("sizes", folder)
        return {name: len(inode.data) for name, inode in self.system.listing(str(folder)).items()}


def copies_in(file: str, data: bytearray) -> dict[str, tuple[int, int]]:
    """The copies that lie in a file of the buffer, and where: one of its own with its record, small ones in a pack."""
    if not packs.is_pack(file):
        return {file: (0, len(data))}
    table = packs.read(BytesIO(data)) or []
    return {packed.name: (at, at + packed.record.digests.kept.size) for packed, at in table}


def _content_size(file: str, copy: bytearray) -> int:
    """Without the record behind it, be it written half-way; without tables, be one of them spoilt."""
    if packs.is_pack(file):
        return sum(end - start for start, end in copies_in(file, copy).values())
    if copy.startswith(_PACK):
        begin = len(_PACK) + 8 + int.from_bytes(copy[len(_PACK) : len(_PACK) + 4], "big")
        table = packs.read(BytesIO(copy[:begin] + copy[len(_PACK) + 8 : begin] + copy[: len(_PACK) + 8])) or []
        return max(0, min(len(copy) - begin, sum(packed.record.digests.kept.size for packed, _ in table)))
    record_at = copy.rfind(_RECORD)
    return record_at if record_at >= 0 else len(copy)
