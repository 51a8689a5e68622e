"""The buffer: unchanging copies of the pod's files on the sidecar's own disk, named as their objects in the store.

`used_bytes` (copies and reservations) never grows beyond `limit_bytes`: space is reserved before a copy begins, and a
file waits when there is none. Tables of packs are not counted, nor are records of copies but for those found at a
start. The names of the copies are held in memory, so their number is limited too.
"""

import errno
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from pinnace.digests import PartDigest
from pinnace_sidecar import copy_record, packs
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.copying import TEMPORARY, Copied, Copying
from pinnace_sidecar.disk import Disk

_T = TypeVar("_T")

#: What is left free of the buffer's disk, or that share of a small one: a node that runs out of space evicts the pod.
_RESERVE_BYTES: Final = 256 * 2**20
_RESERVE_SHARE: Final = 20
_READ_TRIES: Final = 5


class OpenCopy:
    """A copy that is open: `source`, which is the buffer's `file`, holds its bytes from `offset` on, as many as its
    digest says.
    """

    __slots__ = ("_found", "file", "offset", "source")

    def __init__(self, source: BinaryIO, file: str, offset: int) -> None:
        self.source = source
        self.file = file
        self.offset = offset
        self._found = offset == 0

    def slice(self, digest: PartDigest) -> PartDigest:
        """The digest of a slice of the copy, as one of a slice of `source`."""
        if not self.offset:
            return digest
        offset = self.offset + digest.offset
        return PartDigest(offset=offset, size=digest.size, crc32c=digest.crc32c, sha256=digest.sha256)

    def seek(self, at: int) -> None:
        """Read on from byte `at` of the copy."""
        self._found = True
        self.source.seek(self.offset + at)

    def read(self, size: int) -> bytes:
        """At most so many bytes; behind the copy's own there may be others."""
        if not self._found:
            self.seek(0)
        return self.source.read(size)

    def __enter__(self) -> "OpenCopy":
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()


class Buffer:
    """The copies in one folder, each in a file of its own or, small ones, in a pack. For one thread, but for `open`
    and `erase`. Space is accounted for by files: a pack takes room until none of its copies is needed.
    """

    def __init__(self, folder: Path, limit_bytes: int, disk: Disk, limit_copies: int = 2**13) -> None:
        self._folder = folder
        self._disk = disk
        self.limit_bytes = limit_bytes
        self.limit_copies = limit_copies
        #: Copies that room was set aside for, and that are not there yet.
        self._expected = 0
        #: By file.
        self._sizes = disk.sizes(folder)
        #: Where copies lie that are not in a file of their own: pack and byte.
        self._packed: dict[str, tuple[str, int]] = {}
        #: How many copies of each pack are needed.
        self._needed: Counter[str] = Counter()
        packs_there = sorted(filter(packs.is_pack, self._sizes), key=packs.number_of)
        #: Makes the copies.
        self.copying = Copying(
            folder,
            disk,
            first_pack=packs.number_of(packs_there[-1]) + 1 if packs_there else 1,
            is_counted=self._sizes.__contains__,
        )
        #: The pack whose table was read last, and that table.
        self._table: tuple[str, dict[str, CopyRecord]] = "", {}
        #: Packs without a table. Like other files that don't say what they are they stay.
        self._closed: set[str] = set()
        #: Those of them that could not be read: any copy that is missed may lie there.
        self._hidden: set[str] = set()
        #: Files that could not be read when they were to say what they are, and how often.
        self.unread: Counter[str] = Counter()
        self.used_bytes = sum(self._sizes.values())
        for pack in packs_there:
            self._find_copies(pack)

    def _find_copies(self, pack: str) -> None:
        table = self._read(pack, packs.read)
        if table is None:
            self._closed.add(pack)
            if pack in self.unread:
                self._hidden.add(pack)
            else:
                self._hidden.discard(pack)
            return
        self.used_bytes -= self._sizes[pack]
        self._sizes[pack] = sum(packed.record.digests.kept.size for packed, _ in table)
        self.used_bytes += self._sizes[pack]
        for packed, offset in table:
            # Of two copies of one content that one counts which is known to be sound.
            if not self.holds(packed.name) or self._is_sound(pack, offset, packed.record):
                self._place(packed.name, pack, offset)
        del self.unread[pack]  # its table could be read, whatever became of its copies
        self._closed.discard(pack)
        self._hidden.discard(pack)

    def read_again(self) -> None:
        """Find the copies in packs that could not be read."""
        for pack in sorted(self._hidden):
            self._find_copies(pack)

    def _is_sound(self, pack: str, offset: int, record: CopyRecord) -> bool:
        def sha256(file: BinaryIO) -> str:
            return hashlib.sha256(OpenCopy(file, pack, offset).read(record.digests.kept.size)).hexdigest()

        return self._read(pack, sha256) == record.digests.kept.sha256

    def _place(self, name: str, pack: str, offset: int) -> str:
        """The copy lies there from now on; returns the file that is needless by that, if any."""
        before = self._packed.get(name)
        self._packed[name] = pack, offset
        self._needed[pack] += 1
        return self._leave(before[0]) if before else ""

    def _leave(self, pack: str) -> str:
        """One copy of the pack is not needed any more; returns the pack when that was the last one."""
        self._needed[pack] -= 1
        if self._needed[pack]:
            return ""
        del self._needed[pack]
        return pack

    def names(self) -> set[str]:
        """The copies that are there, and the packs of which nobody can tell which copies they hold."""
        return set(filter(self.holds, self._sizes)) | self._packed.keys() | self._closed

    def remove_temporaries(self) -> None:
        """Remove what a crash left half-way, and packs without a copy that counts."""
        for file in sorted(self._sizes):
            if not self.holds(file) and file not in self._closed and not self._needed[file]:
                self._erase(file)

    def sync_names(self) -> None:
        """Make the copies' names durable, for those that a process left behind without having done so."""
        self._disk.sync_folder(self._folder)

    def record(self, name: str) -> CopyRecord | None:
        """What a copy says of itself; None when it says nothing, or can't be read for more than a moment."""
        if name not in self._packed:
            return None if packs.is_pack(name) else self._read(name, copy_record.read)
        pack, _ = self._packed[name]
        if self._table[0] != pack:
            if (table := self._read(pack, packs.read)) is None:
                return None
            self._table = pack, {packed.name: packed.record for packed, _ in table}
        return self._table[1].get(name)

    def whereabouts(self, name: str) -> tuple[str, int]:
        """In which file, and from which byte on. Sorted by this, copies of one pack are asked for one after the other,
        which costs least.
        """
        return self._packed.get(name, (name, 0))

    def _read(self, file: str, how: Callable[[BinaryIO], _T]) -> _T | None:
        for _ in range(_READ_TRIES):
            with suppress(OSError), self._disk.open(self._folder / file) as opened:
                found = how(opened)
                del self.unread[file]
                return found
        self.unread[file] += 1
        return None

    def reserve(self, size: int) -> bool:
        """Set `size` bytes aside for a copy; False when that would exceed a limit."""
        if self.used_bytes + size > self.limit_bytes or self.copies + self._expected >= self.limit_copies:
            return False
        self._expected += 1
        self.used_bytes += size
        return True

    @property
    def copies(self) -> int:
        """How many there are."""
        return len(self._sizes) - len(self._needed) + len(self._packed)

    def holds(self, name: str) -> bool:
        """Whether there is a copy of this name."""
        return name in self._packed or (
            name in self._sizes and not packs.is_pack(name) and not name.startswith(TEMPORARY)
        )

    def leaves_free(self, size: int) -> bool:
        """Whether a copy of `size` bytes leaves others on the same disk something to go on with."""
        free, total = self._disk.space(self._folder)
        return free - size >= min(_RESERVE_BYTES, total // _RESERVE_SHARE)

    def settle(self, reserved: int, copied: Copied | None) -> None:
        """The copy that so many bytes were reserved for is there, or failed (None). It takes the place of an earlier
        one of its name.
        """
        self.used_bytes -= reserved
        self._expected -= 1
        if copied is None:
            return
        name, file, size = copied.name, copied.pack or copied.name, copied.digests.kept.size
        del self.unread[name]
        before = self._sizes.get(file, 0)
        self._sizes[file] = before + size if copied.pack else size
        self.used_bytes += self._sizes[file] - before
        needless = ""
        if copied.pack:
            needless = self._place(name, copied.pack, copied.offset) or (name if name in self._sizes else "")
        elif name in self._packed:
            pack, _ = self._packed.pop(name)
            needless = self._leave(pack)
        if needless:
            self._erase(needless)

    def remove(self, name: str) -> None:
        """Forget a copy. Not made durable: a copy that comes back after a power cut is removed at the next start."""
        for file in self.release([name]):
            self._erase(file)

    def give_up(self, name: str) -> None:
        """Give up the bytes of a copy that nobody can ship. An empty file stays in its place, so that each later start
        knows that something is lost. OSError when the disk fails.
        """
        for file in self.release([name]):
            self._disk.create(self._folder / file).close()
            if packs.is_pack(file):
                self._closed.add(file)
            self._hidden.discard(file)
            del self.unread[file]
            self.used_bytes -= self._sizes[file]
            self._sizes[file] = 0

    def is_given_up(self, name: str) -> bool:
        """Whether the bytes of this copy were given up."""
        return self._sizes.get(name) == 0

    def release(self, names: Sequence[str]) -> list[str]:
        """Forget copies; returns the files that hold none any more, to be given to `erase` and then to `removed`."""
        files = []
        for name in names:
            place = self._packed.pop(name, None)
            if place is not None and (pack := self._leave(place[0])):
                files.append(pack)
            if place is None or name in self._sizes:
                files.append(name)
        return files

    def erase(self, file: str) -> None:
        """Remove a file, in any thread; `removed` gives its room back."""
        self._disk.remove(self._folder / file)

    def removed(self, file: str) -> None:
        """A file has been erased."""
        self._closed.discard(file)
        self._hidden.discard(file)
        del self.unread[file]
        self.used_bytes -= self._sizes.pop(file, 0)

    def _erase(self, file: str) -> None:
        self.erase(file)
        self.removed(file)

    def open(self, name: str) -> OpenCopy:
        """A copy. OSError when it isn't there."""
        while True:
            file, offset = place = self.whereabouts(name)
            try:
                return OpenCopy(self._disk.open(self._folder / file), file, offset)
            except FileNotFoundError:
                is_hidden = bool(self._hidden)  # asked first: it may be found at this moment
                # Another copy may have taken its place at this moment, too.
                if self.whereabouts(name) != place:
                    continue
                if is_hidden:
                    raise OSError(errno.EIO, "it may lie in a pack that can't be read") from None
                raise

    def in_turn(self, at_once: int = 1) -> "CopiesInTurn":
        """For copies that are read one after the other: those of one pack open it once."""
        return CopiesInTurn(self, at_once)


class CopiesInTurn:
    """Opens copies one after the other, to be read by slices; each is open until `at_once` others were asked for.
    Leaving its `with` block closes the last. For one thread.
    """

    def __init__(self, buffer: Buffer, at_once: int) -> None:
        self._buffer = buffer
        self._at_once = at_once
        #: Those opened last, the latest at the end.
        self._opened: deque[OpenCopy] = deque()

    def open(self, name: str) -> OpenCopy:
        """A copy, which whoever asked leaves open. OSError when it isn't there."""
        file, offset = self._buffer.whereabouts(name)
        if self._opened and self._opened[-1].file == file:
            return OpenCopy(self._opened[-1].source, file, offset)
        while len(self._opened) >= self._at_once:
            self._opened.popleft().source.close()
        copy = self._buffer.open(name)
        self._opened.append(copy)
        return copy

    def __enter__(self) -> "CopiesInTurn":
        return self

    def __exit__(self, *_: object) -> None:
        for copy in self._opened:
            copy.source.close()
