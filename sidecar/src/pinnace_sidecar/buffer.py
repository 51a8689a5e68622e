"""The buffer: unchanging copies of the pod's files on the sidecar's own disk, named as their objects in the store.

A copy is made in one pass, read → digests → write, or cloned by the file system where it can (FICLONE) and then only
read, or compressed where that gains something; behind its bytes lies a record of what it is (copy_record). It counts
when the file looked the same before and after; memory does not depend on the file's size. `used_bytes` (copies and
reservations) never grows beyond `limit_bytes`: space is reserved before a copy begins, and a file waits when there is
none. Records are not counted. The names of the copies are held in memory, so their number is limited too.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pinnace.digests import Digester, Digests
from pinnace.errors import PinnaceError
from pinnace_sidecar import copy_record
from pinnace_sidecar.compressing import Shrinking
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.disk import Disk, durable_write
from pinnace_sidecar.files import Fingerprint, OpenFile, Volume

#: Small enough to stay in the processor's cache from reading to digests to writing.
CHUNK_BYTES: Final = 2**20
#: What is left free of the buffer's disk, or that share of a small one: a node that runs out of space evicts the pod.
_RESERVE_BYTES: Final = 256 * 2**20
_RESERVE_SHARE: Final = 20
_READ_TRIES: Final = 5
_TEMPORARY: Final = ".incoming-"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
#: Not there, or no longer a file below real folders (a link was put in the way).
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR})


#: What is still to be written of a copy, together with its record, and its digests.
_Filled = tuple[bytes, Digests]


class CopyError(PinnaceError):
    """No copy was made; nothing is left behind. `code` fits records.Problem.reason."""

    code = "CopyFailed"


class Changed(CopyError):
    """The file was written to meanwhile: it isn't complete after all."""

    code = "FileChanged"


class Gone(CopyError):
    """The file isn't there any more."""

    code = "FileGone"


class Unreadable(CopyError):
    """We may not read the file. Trying again can't help until its rights change."""

    code = "FileUnreadable"


class VolumeFailed(CopyError):
    """Reading the volume failed. Trying again can help."""

    code = "VolumeReadFailed"


class BufferFull(CopyError):
    """The buffer's disk has no room. Helps: waiting for uploads to free some."""

    code = "BufferFull"


class BufferFailed(CopyError):
    """Writing to the buffer's disk failed. Trying again can help."""

    code = "BufferWriteFailed"


class Order(msgspec.Struct, frozen=True):
    """A file to copy: `fingerprint` is how it must look before and after. `settled_at` in seconds since the epoch;
    `zstd_level` 0: not compressed.
    """

    path: str
    fingerprint: Fingerprint
    part_size: int
    suspect: bool = False
    settled_at: float = 0.0
    zstd_level: int = 0


@dataclass(slots=True)
class _Draft:
    """A copy that is written and not yet durable."""

    file: BinaryIO
    temporary: Path
    target: Path
    digests: Digests


class Buffer:
    """The copies in one folder. `copy` and `copy_all` may run in several threads; space is accounted for in one (the
    caller's).
    """

    def __init__(self, folder: Path, limit_bytes: int, disk: Disk, limit_copies: int = 2**13) -> None:
        self._folder = folder
        self._disk = disk
        self.limit_bytes = limit_bytes
        self.limit_copies = limit_copies
        #: Copies that room was set aside for, and that are not there yet.
        self._expected = 0
        self._sizes = disk.sizes(folder)
        self._temporaries = count()
        self.used_bytes = sum(self._sizes.values())

    def names(self) -> set[str]:
        """The copies that are there."""
        return {name for name in self._sizes if not name.startswith(_TEMPORARY)}

    def remove_temporaries(self) -> None:
        """Remove what a crash left half-way."""
        for name in sorted(set(self._sizes) - self.names()):
            self.remove(name)

    def sync_names(self) -> None:
        """Make the copies' names durable, for those that a process left behind without having done so."""
        self._disk.sync_folder(self._folder)

    def record(self, name: str) -> CopyRecord | None:
        """What a copy says of itself; None when it says nothing, or can't be read for more than a moment."""
        for _ in range(_READ_TRIES):
            with suppress(OSError), self.open(name) as copy:
                return copy_record.read(copy)
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
        return len(self._sizes)

    def holds(self, name: str) -> bool:
        """Whether there is a copy of this name."""
        return name in self._sizes

    def leaves_free(self, size: int) -> bool:
        """Whether a copy of `size` bytes leaves others on the same disk something to go on with."""
        free, total = self._disk.space(self._folder)
        return free - size >= min(_RESERVE_BYTES, total // _RESERVE_SHARE)

    def settle(self, reserved: int, name: str | None, size: int = 0) -> None:
        """The copy that so many bytes were reserved for is there under `name` with `size` bytes, or failed (None)."""
        self.used_bytes -= reserved
        self._expected -= 1
        if name is not None and name not in self._sizes:
            self._sizes[name] = size
            self.used_bytes += size

    def remove(self, name: str) -> None:
        """Forget a copy. Not made durable: a copy that comes back after a power cut is removed at the next start."""
        self.erase(name)
        self.removed(name)

    def erase(self, name: str) -> None:
        """Remove a copy's bytes, in any thread; `removed` gives its room back."""
        self._disk.remove(self._folder / name)

    def removed(self, name: str) -> None:
        """A copy has been erased."""
        self.used_bytes -= self._sizes.pop(name, 0)

    def open(self, name: str) -> BinaryIO:
        """A copy: its bytes, as many as its digest says, and then its record. OSError when it isn't there."""
        return self._disk.open(self._folder / name)

    def copy(self, volume: Volume, order: Order, name_of: Callable[[Digests], str]) -> Digests:
        """Copy a file; the copy is durable under `name_of(digests)` when this returns. Raises CopyError."""

        names: list[str] = []

        def fill(target: BinaryIO) -> tuple[Path, Digests]:
            digests = self._fill(volume, order, target)
            names.append(name_of(digests))
            return self._folder / names[0], digests

        temporary = self._folder / f"{_TEMPORARY}{next(self._temporaries)}"
        try:
            return durable_write(self._disk, temporary, fill)
        except OSError as error:
            self._remove_unaccounted(names)
            raise _disk_error(error) from error

    def _remove_unaccounted(self, names: list[str]) -> None:
        """A copy that got its name and could not be made durable would take room that nobody knows of."""
        for name in names:
            if name not in self._sizes:
                with suppress(OSError):
                    self._disk.remove(self._folder / name)

    def copy_all(
        self, volume: Volume, orders: Sequence[Order], name_of: Callable[[str, Digests], str]
    ) -> list[Digests | CopyError]:
        """Copy several files as `copy` does, in turn; all that succeeded are durable together when this returns."""
        if len(orders) == 1:
            return [self._outcome(volume, orders[0], name_of)]
        outcomes: list[Digests | CopyError] = []
        drafts: dict[int, _Draft] = {}
        try:
            for number, order in enumerate(orders):
                try:
                    drafts[number] = draft = self._draft(volume, order, name_of)
                    outcomes.append(draft.digests)
                except CopyError as error:
                    outcomes.append(error)
            for number, failure in self._finish(drafts).items():
                outcomes[number] = _disk_error(failure)
        finally:
            for draft in drafts.values():
                draft.file.close()
                self._disk.remove(draft.temporary)
        return outcomes

    def _outcome(self, volume: Volume, order: Order, name_of: Callable[[str, Digests], str]) -> Digests | CopyError:
        try:
            return self.copy(volume, order, lambda digests: name_of(order.path, digests))
        except CopyError as error:
            return error

    def _draft(self, volume: Volume, order: Order, name_of: Callable[[str, Digests], str]) -> _Draft:
        temporary = self._folder / f"{_TEMPORARY}{next(self._temporaries)}"
        try:
            file = self._disk.create(temporary)
            try:
                digests = self._fill(volume, order, file)
            except BaseException:
                file.close()
                self._disk.remove(temporary)
                raise
        except OSError as error:
            raise _disk_error(error) from error
        return _Draft(file, temporary, self._folder / name_of(order.path, digests), digests)

    def _finish(self, drafts: dict[int, _Draft]) -> dict[int, OSError]:
        """Make drafts durable under their names, and leave those in `drafts` that could not be; returns why."""
        errors = self._sync(drafts)
        done = []
        for number, draft in drafts.items():
            if number not in errors:
                try:
                    self._disk.rename(draft.temporary, draft.target)
                    done.append(number)
                except OSError as error:
                    errors[number] = error
        names = [drafts[number].target.name for number in done]
        for number in done:
            drafts.pop(number).file.close()
        try:
            if done:
                self._disk.sync_folder(self._folder)
        except OSError as error:
            self._remove_unaccounted(names)
            errors |= dict.fromkeys(done, error)
        return errors

    def _sync(self, drafts: dict[int, _Draft]) -> dict[int, OSError]:
        try:
            self._disk.sync_all([draft.file for draft in drafts.values()])
        except OSError:
            # One of them, or somebody else's file: each for itself says which.
            errors: dict[int, OSError] = {}
            for number, draft in drafts.items():
                try:
                    self._disk.sync(draft.file)
                except OSError as error:
                    errors[number] = error
            return errors
        return {}

    def _fill(self, volume: Volume, order: Order, target: BinaryIO) -> Digests:
        last, digests = (order.zstd_level and _compress(volume, order, target)) or self._copy(volume, order, target)
        record = CopyRecord.of(
            order.path, order.fingerprint, digests, suspect=order.suspect, settled_at=order.settled_at
        )
        _write(target, last + record.encoded())
        return digests

    def _copy(self, volume: Volume, order: Order, target: BinaryIO) -> _Filled:
        # Compressing may have written something, less than the content: it is written over.
        target.seek(0)
        digester = Digester(order.part_size)
        left = order.fingerprint.size
        last = b""
        with closing(_reading(volume, order)) as source:
            cloned = self._disk.clone(source, target)
            # A file that grew meanwhile looks different afterwards, so there is no need to read on.
            while left and (data := target.read(min(left, CHUNK_BYTES)) if cloned else _read(source, order.path, left)):
                left -= len(data)
                digester.update(data)
                if not cloned:
                    _write(target, last)
                    last = data
            digest = digester.finish()
            _compare(source, order)
        if digest.size != order.fingerprint.size:
            raise Changed(f"{order.path} had {order.fingerprint.size} bytes, and {digest.size} could be read")
        return last, Digests(content=digest)


def _compress(volume: Volume, order: Order, target: BinaryIO) -> _Filled | None:
    """None when it is not worth while, or the file is not as it was: then it is to be copied as it is."""
    shrinking = Shrinking(order.zstd_level, order.fingerprint.size, order.part_size)
    left = order.fingerprint.size
    last = b""
    with closing(_reading(volume, order)) as source:
        while left and (data := _read(source, order.path, left)):
            left -= len(data)
            if (piece := shrinking.update(data)) is None:
                return None
            _write(target, last)
            last = piece
        if (end := shrinking.finish()) is None:
            return None
        _compare(source, order)
    return last + end[0], end[1]


def _reading(volume: Volume, order: Order) -> OpenFile:
    try:
        source = volume.open(order.path)
    except OSError as error:
        raise _volume_error(error, order.path) from error
    try:
        _compare(source, order)
    except BaseException:
        source.close()
        raise
    return source


def _compare(source: OpenFile, order: Order) -> None:
    if source.fingerprint() != order.fingerprint:
        raise Changed(f"{order.path} changed while it was being copied")


def _read(source: OpenFile, path: str, left: int) -> bytes:
    try:
        return source.read(min(left, CHUNK_BYTES))
    except OSError as error:
        raise _volume_error(error, path) from error


def _write(target: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[target.write(view) :]


def _volume_error(error: OSError, path: str) -> CopyError:
    if error.errno in _GONE:
        return Gone(f"{path} is gone")
    if error.errno in _FORBIDDEN:
        return Unreadable(
            f"{path} can't be read: {error.strerror}",
            hint="let the training container's umask or fsGroup give the pod's group the right to read",
        )
    return VolumeFailed(f"reading {path} failed: {error.strerror or error}", hint="check the volume's health")


def _disk_error(error: OSError) -> CopyError:
    if error.errno in _FULL:
        return BufferFull(
            f"the buffer's disk is full: {error.strerror}", hint="give the buffer more room, or wait for uploads"
        )
    return BufferFailed(f"writing to the buffer failed: {error.strerror or error}", hint="check the buffer's volume")
