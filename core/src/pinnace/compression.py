"""zstd, one frame per content, in memory that depends neither on the size nor on the level.

Whoever unpacks says how large the content is, because a few bytes can unpack to any number of them.
"""

from typing import Any, Final, Protocol

import zstandard

from pinnace.digests import Encoding
from pinnace.errors import PinnaceError

#: Higher levels look longer for what repeats, and not farther: each level's own tables would take up to 80 MiB.
_WINDOW_LOG: Final = 21
_TABLE_LOG: Final = 20
#: More than any frame of ours needs; a frame of somebody else's may ask for gigabytes.
_MAX_WINDOW_BYTES: Final = 2**23
_PIECE_BYTES: Final = 2**17


class NotDecodable(PinnaceError):
    """The bytes are not what was stored: they can't be unpacked, or unpack to more than the content had."""

    code = "NotDecodable"


class Sink(Protocol):
    """Whoever takes bytes."""

    def write(self, data: memoryview, /) -> object: ...


class Source(Protocol):
    """Whoever gives bytes: at most so many, none at the end."""

    def read(self, size: int, /) -> bytes: ...


class Compressor:
    """Feed it a content of exactly `size` bytes in order with `update`; then `finish()` has the end of the frame."""

    def __init__(self, level: int, size: int) -> None:
        parameters = self.parameters(level, size)
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=size)

    @staticmethod
    def parameters(level: int, size: int) -> zstandard.ZstdCompressionParameters:
        """The level's own for this size, as far as they stay within the bounds."""
        usual = zstandard.ZstdCompressionParameters.from_level(level, source_size=size)
        return zstandard.ZstdCompressionParameters.from_level(
            level,
            source_size=size,
            window_log=min(usual.window_log, _WINDOW_LOG),
            chain_log=min(usual.chain_log, _TABLE_LOG),
            hash_log=min(usual.hash_log, _TABLE_LOG),
            write_checksum=True,
        )

    def update(self, data: bytes) -> bytes:
        """As much of the frame as there is now."""
        return self._stream.compress(data)

    def flush(self) -> bytes:
        """All that the bytes so far make."""
        return self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush()


class Decompressor:
    """Takes a frame in pieces of any size and hands `sink` its content, at most `size` bytes in all.

    `write` raises NotDecodable, and what `sink` raises. That the end is missing shows only in how much arrived.
    """

    def __init__(self, sink: Sink, size: int) -> None:
        # The library asks for a whole file, and calls `write` alone.
        target: Any = _Limited(sink, size)
        unpacking = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        self._stream = unpacking.stream_writer(target, write_size=_PIECE_BYTES)

    def write(self, data: memoryview | bytes, /) -> None:
        try:
            self._stream.write(data)
        except zstandard.ZstdError as error:
            raise _not_ours(error) from error


class Unpacking:
    """The content of the frame that `source` gives, which is asked for `piece_bytes` at a time."""

    def __init__(self, source: Source, piece_bytes: int = _PIECE_BYTES) -> None:
        unpacking = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        # The library asks for a whole file, and calls `read` alone.
        whole: Any = source
        self._stream = unpacking.stream_reader(whole, read_size=piece_bytes)

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the frame or of what there is of it. Raises NotDecodable."""
        pieces: list[bytes] = []
        try:
            while size and (piece := self._stream.read(size)):
                pieces.append(piece)
                size -= len(piece)
        except zstandard.ZstdError as error:
            raise _not_ours(error) from error
        return b"".join(pieces)


class _Limited:
    def __init__(self, sink: Sink, size: int) -> None:
        self._sink = sink
        self._size = self._left = size

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise NotDecodable(f"a zstd frame of more than {self._size} bytes of content")
        self._sink.write(memoryview(data))
        return len(data)


def _not_ours(error: zstandard.ZstdError) -> NotDecodable:
    return NotDecodable(f"no zstd frame of ours: {error}")


def unpacked(sink: Sink, encoding: Encoding | None, size: int) -> Sink:
    """Where to write an object's bytes so that `sink` gets the content of `size` bytes; raises as Decompressor does."""
    return sink if encoding is None else Decompressor(sink, size)
