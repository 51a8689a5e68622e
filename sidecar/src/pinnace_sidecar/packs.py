"""Packs: files of the buffer that hold many small copies, which cost one file together (docs/decisions/0041).

table | the copies' bytes, one behind the other | table. The table says of each copy what the record behind a copy of
its own says; it stands there twice, so that no damage in one place costs more than one copy.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO, Final

import msgspec

from pinnace_sidecar.copy_record import CopyRecord

_FRAME: Final = struct.Struct(">8sII")
_MAGIC: Final = b"pinnpack"
_PREFIX: Final = "pack-"


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """One line of the table: what the copy is called, and what it says of itself."""

    name: str
    record: CopyRecord


def is_pack(file: str) -> bool:
    """Whether the file of this name in the buffer is a pack."""
    return file.startswith(_PREFIX)


def file_name(number: int) -> str:
    return f"{_PREFIX}{number}"


def number_of(file: str) -> int:
    """The number in a pack's name."""
    digits = file.removeprefix(_PREFIX)
    return int(digits) if digits.isdecimal() else 0


def encoded(copies: Sequence[tuple[Packed, bytes]]) -> tuple[bytes, list[int]]:
    """A pack of these copies, and from which byte on each of them lies in it."""
    table = msgspec.json.encode([packed for packed, _ in copies])
    frame = _FRAME.pack(_MAGIC, len(table), zlib.crc32(table))
    pieces = [frame, table, *[content for _, content in copies], table, frame]
    return b"".join(pieces), _offsets(len(table), [packed for packed, _ in copies])


def read(pack: BinaryIO) -> list[tuple[Packed, int]] | None:
    """The copies in a pack, each with the byte from which on it lies there; None when neither table is whole.

    Raises OSError.
    """
    end = pack.seek(0, os.SEEK_END)
    for behind in (False, True):
        pack.seek(end - _FRAME.size if behind and end > _FRAME.size else 0)
        if len(frame := pack.read(_FRAME.size)) < _FRAME.size:
            continue
        magic, length, checksum = _FRAME.unpack(frame)
        if magic != _MAGIC or 2 * (length + _FRAME.size) > end:
            continue
        pack.seek(end - _FRAME.size - length if behind else _FRAME.size)
        table = pack.read(length)
        if zlib.crc32(table) == checksum:
            try:
                copies = msgspec.json.decode(table, type=list[Packed])
            except msgspec.DecodeError:
                continue
            return list(zip(copies, _offsets(length, copies), strict=True))
    return None


def _offsets(table_bytes: int, copies: Sequence[Packed]) -> list[int]:
    at = _FRAME.size + table_bytes
    offsets = []
    for packed in copies:
        offsets.append(at)
        at += packed.record.digests.kept.size
    return offsets
