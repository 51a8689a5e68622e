"""Bytes in the database, in blocks: for one machine with little to keep, and what needs no other service.

Each block is a transaction of its own, so a large content holds up nobody else's writes for long. It can be read only
once an artifact's row names it, and that is written last.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from pinnace.digests import ContentDigest, Digester
from pinnace.records import Backend, Location
from pinnace_api.clock import now
from pinnace_api.database import Database
from pinnace_api.refusals import BytesMissing, Refused
from pinnace_api.storage.backend import BLOCK_BYTES, Held, Written
from pinnace_api.storage.keys import new_key
from pinnace_api.storage.tables import INLINE_BLOCKS

_KEY: Final = INLINE_BLOCKS.c.key
_READ: Final = (
    select(INLINE_BLOCKS.c.data)
    .where(bindparam("of") == _KEY, INLINE_BLOCKS.c.number.between(bindparam("first"), bindparam("last")))
    .order_by(INLINE_BLOCKS.c.number)
)
_SIZE: Final = select(func.sum(func.length(INLINE_BLOCKS.c.data))).where(bindparam("of") == _KEY)
_LIST: Final = (
    select(_KEY, func.sum(func.length(INLINE_BLOCKS.c.data)).label("size"), func.max(INLINE_BLOCKS.c.written_at))
    .where(bindparam("after") < _KEY)
    .group_by(_KEY)
    .order_by(_KEY)
    .limit(1000)
)


class InlineStore:
    """The table `inline_blocks` of the API's database."""

    name = Backend.INLINE
    block_bytes = BLOCK_BYTES

    def __init__(self, database: Database) -> None:
        self._database = database

    def writer(self, size: int | None = None) -> "_InlineWriter":
        del size
        return _InlineWriter(self._database, _location(new_key("", now())))

    def read(self, location: Location, start: int, size: int) -> bytes:
        first, last = start // BLOCK_BYTES, (start + max(size, 1) - 1) // BLOCK_BYTES
        with self._database.read() as connection:
            asked = {"of": location.key, "first": first, "last": last}
            blocks = [bytes(row.data) for row in connection.execute(_READ, asked)]
        if not blocks and self.size(location) is None:
            raise BytesMissing(location)
        begin = start - first * BLOCK_BYTES
        return b"".join(blocks)[begin : begin + size]

    def size(self, location: Location) -> int | None:
        with self._database.read() as connection:
            found = connection.execute(_SIZE, {"of": location.key}).scalar_one()
        return None if found is None else int(found)

    def delete(self, location: Location) -> None:
        self._database.write(_delete, location.key)

    def presigned(self, location: Location, seconds: int, headers: Mapping[str, str]) -> None:
        """Nobody but the API reads the database."""

    def list(self) -> Iterator[Held]:
        after = ""
        while True:
            with self._database.read() as connection:
                rows = connection.execute(_LIST, {"after": after}).all()
            for key, size, written_at in rows:
                yield Held(location=_location(key), size=int(size), written_at=written_at)
            if not rows:
                return
            after = rows[-1].key

    def discard(self, held: Held) -> None:
        self.delete(held.location)

    def check(self) -> None:
        self._database.check()

    def close(self) -> None:
        """The database is somebody else's to close."""


class _InlineWriter:
    """A Writer of full blocks."""

    def __init__(self, database: Database, location: Location) -> None:
        self._database = database
        self._location = location
        self._digester = Digester(2**62)
        self._pending = bytearray()
        self._number = 0
        self._is_open = True

    def write(self, data: bytes) -> None:
        self._digester.update(data)
        self._pending += data
        while len(self._pending) >= BLOCK_BYTES:
            self._store(bytes(self._pending[:BLOCK_BYTES]))
            del self._pending[:BLOCK_BYTES]

    def finish(self) -> Written:
        if self._pending or self._number == 0:
            self._store(bytes(self._pending))
        self._is_open = False
        digest: ContentDigest = self._digester.finish()
        return Written(location=self._location, digest=digest)

    def abort(self) -> None:
        if self._is_open and self._number:
            self._is_open = False
            try:
                self._database.write(_delete, self._location.key)
            except Refused:
                return  # what is left is found by the garbage collector

    def _store(self, block: bytes) -> None:
        self._database.write(_insert, self._location.key, self._number, block)
        self._number += 1


def _location(key: str) -> Location:
    return Location(backend=Backend.INLINE, endpoint="", region="", bucket="", key=key)


def _insert(connection: Connection, key: str, number: int, block: bytes) -> None:
    connection.execute(insert(INLINE_BLOCKS).values(key=key, number=number, data=block, written_at=now()))


def _delete(connection: Connection, key: str) -> None:
    connection.execute(delete(INLINE_BLOCKS).where(INLINE_BLOCKS.c.key == key))
