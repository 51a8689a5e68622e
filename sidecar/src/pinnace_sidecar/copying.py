"""Making copies: durable under their names, whole or not at all, one by one or many together.

A copy is made in one pass, read → digests → write, or cloned by the file system where it can (FICLONE) and then only
read, or compressed where that gains something; behind its bytes lies a record of what it is (copy_record). Small ones
share a file (packs). A copy counts when the file looked the same before and after; memory does not depend on the file's
size.
"""

import errno
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from pinnace.digests import Digester, Digests
from pinnace_sidecar import originals, packs
from pinnace_sidecar.compressing import Shrinking
from pinnace_sidecar.copy_record import CopyRecord
from pinnace_sidecar.disk import Disk, durable_write
from pinnace_sidecar.files import Volume
from pinnace_sidecar.originals import CHUNK_BYTES, CopyError, Order
from pinnace_sidecar.packs import Packed

#: Files up to this size share a pack, which holds so much at most: one copy that stays for long keeps all of it.
_PACKED_BYTES: Final = 64 * 2**10
_PACK_BYTES: Final = 2**20
#: How a file is called before it has its name.
TEMPORARY: Final = ".incoming-"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


#: What is still to be written of a copy, together with its record, and its digests.
_Filled = tuple[bytes, Digests]


class BufferFull(CopyError):
    """The buffer's disk has no room. Helps: waiting for uploads to free some."""

    code = "BufferFull"


class BufferFailed(CopyError):
    """Writing to the buffer's disk failed. Trying again can help."""

    code = "BufferWriteFailed"


class Copied(msgspec.Struct, frozen=True):
    """A copy that is durable: what it is called, and which pack it lies in from which byte on; empty: in none."""

    name: str
    digests: Digests
    pack: str = ""
    offset: int = 0


@dataclass(slots=True)
class _Draft:
    """A file that is written and not yet durable, with what lies in it by the number of its order."""

    file: BinaryIO
    temporary: Path
    target: Path
    copies: dict[int, Copied]


class Copying:
    """Writes copies into one folder, in several threads at a time. `first_pack` is the number of the next pack, and
    `is_counted` says of a file's name whether somebody counts what lies there.
    """

    def __init__(self, folder: Path, disk: Disk, *, first_pack: int, is_counted: Callable[[str], bool]) -> None:
        self._folder = folder
        self._disk = disk
        self._packs = count(first_pack)
        self._is_counted = is_counted
        self._temporaries = count()

    def copy(self, volume: Volume, order: Order, name_of: Callable[[Digests], str]) -> Digests:
        """Copy a file; the copy is durable under `name_of(digests)` when this returns. Raises CopyError."""

        names: list[str] = []

        def fill(target: BinaryIO) -> tuple[Path, Digests]:
            digests = self._fill(volume, order, target)
            names.append(name_of(digests))
            return self._folder / names[0], digests

        try:
            return durable_write(self._disk, self._new_temporary(), fill)
        except OSError as error:
            self._remove_unaccounted(names)
            raise _disk_error(error) from error

    def _new_temporary(self) -> Path:
        return self._folder / f"{TEMPORARY}{next(self._temporaries)}"

    def _remove_unaccounted(self, files: list[str]) -> None:
        """A file that got its name and could not be made durable would take room that nobody knows of."""
        for file in files:
            if not self._is_counted(file):
                with suppress(OSError):
                    self._disk.remove(self._folder / file)

    def copy_all(
        self, volume: Volume, orders: Sequence[Order], name_of: Callable[[str, Digests], str]
    ) -> list[Copied | CopyError]:
        """Copy several files as `copy` does, small ones into packs; all that succeeded are durable together when this
        returns.
        """
        if len(orders) == 1:
            return [self._outcome(volume, orders[0], name_of)]
        outcomes: dict[int, Copied | CopyError] = {}
        drafts: list[_Draft] = []
        waiting = deque(_together(orders))
        try:
            while waiting:
                numbers = waiting.popleft()
                try:
                    drafts += self._drafts(volume, {number: orders[number] for number in numbers}, name_of, outcomes)
                except OSError as error:
                    if len(numbers) == 1:
                        outcomes[numbers[0]] = _disk_error(error)
                    else:  # there may be room for some of them
                        waiting.extendleft([number] for number in numbers if number not in outcomes)
            self._finish(drafts, outcomes)
        finally:
            for draft in drafts:
                draft.file.close()
                self._disk.remove(draft.temporary)
        return [outcomes[number] for number in range(len(orders))]

    def _outcome(self, volume: Volume, order: Order, name_of: Callable[[str, Digests], str]) -> Copied | CopyError:
        try:
            digests = self.copy(volume, order, lambda digests: name_of(order.path, digests))
        except CopyError as error:
            return error
        return Copied(name_of(order.path, digests), digests)

    def _drafts(
        self,
        volume: Volume,
        orders: Mapping[int, Order],
        name_of: Callable[[str, Digests], str],
        outcomes: dict[int, Copied | CopyError],
    ) -> list[_Draft]:
        """One file with these copies, or none when there are none; why a file can't be copied goes into `outcomes`.

        OSError when the disk fails.
        """
        contents: dict[int, tuple[bytes, Digests]] = {}
        if packed := len(orders) > 1:
            for number, order in orders.items():
                try:
                    contents[number] = originals.content(volume, order)
                except CopyError as error:
                    outcomes[number] = error
            if not contents:
                return []
        temporary = self._new_temporary()
        file = self._disk.create(temporary)
        try:
            if packed:
                copies = self._fill_pack(file, orders, contents, name_of)
            else:
                ((number, order),) = orders.items()
                digests = self._fill(volume, order, file)
                copies = {number: Copied(name_of(order.path, digests), digests)}
        except BaseException as error:
            file.close()
            self._disk.remove(temporary)
            if not isinstance(error, CopyError):
                raise
            outcomes |= dict.fromkeys(orders, error)
            return []
        copied = next(iter(copies.values()))
        return [_Draft(file, temporary, self._folder / (copied.pack or copied.name), copies)]

    def _fill_pack(
        self,
        file: BinaryIO,
        orders: Mapping[int, Order],
        contents: Mapping[int, tuple[bytes, Digests]],
        name_of: Callable[[str, Digests], str],
    ) -> dict[int, Copied]:
        copies = [
            (Packed(name_of(orders[number].path, digests), _record(orders[number], digests)), content)
            for number, (content, digests) in contents.items()
        ]
        data, offsets = packs.encoded(copies)
        _write(file, data)
        name = packs.file_name(next(self._packs))
        return {
            number: Copied(packed.name, contents[number][1], name, offset)
            for number, (packed, _), offset in zip(contents, copies, offsets, strict=True)
        }

    def _finish(self, drafts: list[_Draft], outcomes: dict[int, Copied | CopyError]) -> None:
        """Make drafts durable under their names. Those that could not be stay in `drafts`."""
        errors = self._sync([draft.file for draft in drafts])
        done: list[_Draft] = []
        for draft in list(drafts):
            error = errors.get(draft.file)
            if error is None:
                try:
                    self._disk.rename(draft.temporary, draft.target)
                except OSError as failure:
                    error = failure
            if error is None:
                outcomes |= draft.copies
                done.append(draft)
                drafts.remove(draft)
                draft.file.close()
            else:
                outcomes |= dict.fromkeys(draft.copies, _disk_error(error))
        try:
            if done:
                self._disk.sync_folder(self._folder)
        except OSError as error:
            self._remove_unaccounted([draft.target.name for draft in done])
            for draft in done:
                outcomes |= dict.fromkeys(draft.copies, _disk_error(error))

    def _sync(self, files: Sequence[BinaryIO]) -> dict[BinaryIO, OSError]:
        try:
            if files:
                self._disk.sync_all(files)
        except OSError:
            # One of them, or somebody else's file: each for itself says which.
            errors: dict[BinaryIO, OSError] = {}
            for file in files:
                try:
                    self._disk.sync(file)
                except OSError as error:
                    errors[file] = error
            return errors
        return {}

    def _fill(self, volume: Volume, order: Order, target: BinaryIO) -> Digests:
        last, digests = (order.zstd_level and _compress(volume, order, target)) or self._copy(volume, order, target)
        _write(target, last + _record(order, digests).encoded())
        return digests

    def _copy(self, volume: Volume, order: Order, target: BinaryIO) -> _Filled:
        # Compressing may have written something, less than the content: it is written over.
        target.seek(0)
        digester = Digester(order.part_size)
        left = order.fingerprint.size
        last = b""
        with closing(originals.reading(volume, order)) as source:
            cloned = self._disk.clone(source, target)
            # A file that grew meanwhile looks different afterwards, so there is no need to read on.
            while left and (
                data := target.read(min(left, CHUNK_BYTES)) if cloned else originals.read(source, order.path, left)
            ):
                left -= len(data)
                digester.update(data)
                if not cloned:
                    _write(target, last)
                    last = data
            digest = digester.finish()
            originals.compare(source.fingerprint(), order)
        if digest.size != order.fingerprint.size:
            raise originals.too_short(order, digest.size)
        return last, Digests(content=digest)


def _together(orders: Sequence[Order]) -> Iterator[list[int]]:
    """Which of them, by number, share a file: small ones that nobody wants compressed, as many as a pack may hold."""
    pack: list[int] = []
    room = _PACK_BYTES
    for number, order in enumerate(orders):
        if order.zstd_level or order.fingerprint.size > _PACKED_BYTES:
            yield [number]
            continue
        if order.fingerprint.size > room:
            yield pack
            pack, room = [], _PACK_BYTES
        pack.append(number)
        room -= order.fingerprint.size
    if pack:
        yield pack


def _record(order: Order, digests: Digests) -> CopyRecord:
    return CopyRecord.of(order.path, order.fingerprint, digests, suspect=order.suspect, settled_at=order.settled_at)


def _compress(volume: Volume, order: Order, target: BinaryIO) -> _Filled | None:
    """None when it is not worth while, or the file is not as it was: then it is to be copied as it is."""
    shrinking = Shrinking(order.zstd_level, order.fingerprint.size, order.part_size)
    left = order.fingerprint.size
    last = b""
    with closing(originals.reading(volume, order)) as source:
        while left and (data := originals.read(source, order.path, left)):
            left -= len(data)
            if (piece := shrinking.update(data)) is None:
                return None
            _write(target, last)
            last = piece
        if (end := shrinking.finish()) is None:
            return None
        originals.compare(source.fingerprint(), order)
    return last + end[0], end[1]


def _write(target: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[target.write(view) :]


def _disk_error(error: OSError) -> CopyError:
    if error.errno in _FULL:
        return BufferFull(
            f"the buffer's disk is full: {error.strerror}", hint="give the buffer more room, or wait for uploads"
        )
    return BufferFailed(f"writing to the buffer failed: {error.strerror or error}", hint="check the buffer's volume")
