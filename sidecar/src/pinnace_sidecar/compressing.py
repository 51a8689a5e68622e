"""Which copies are compressed, and one copy's way through zstd.

What is compressed is unpacked again at once and compared: once the copy counts, the file may vanish from the volume.
"""

import logging
from typing import Final

from pinnace.compression import Compressor, Decompressor, NotDecodable
from pinnace.digests import Checksum, Digester, Digests, EncodedDigest, Encoding
from pinnace_sidecar.manifest import is_manifest
from pinnace_sidecar.patterns import Patterns

_log = logging.getLogger(__name__)

#: What is in these is compressed already.
COMPRESSED_SUFFIXES: Final = (
    *(".7z", ".br", ".bz2", ".gz", ".lz4", ".lzma", ".tgz", ".xz", ".zip", ".zst"),
    *(".avif", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".webp"),
    *(".flac", ".m4a", ".mkv", ".mp3", ".mp4", ".ogg", ".webm"),
    *(".docx", ".jar", ".npz", ".orc", ".parquet", ".pptx", ".whl", ".xlsx"),
)
#: What does not become smaller than this share of itself stays as it is.
_WORTH_WHILE: Final = 0.95


class Compression:
    """How hard which files are compressed; `level` 0: none are. Pure."""

    def __init__(self, *, level: int, least_bytes: int, metrics_files: tuple[str, ...]) -> None:
        self._level = level
        self._least_bytes = least_bytes
        self._metrics = Patterns(metrics_files)

    def level_for(self, path: str, size: int) -> int:
        """The level to try for this file; 0: it stays as it is."""
        if not self._level or size < self._least_bytes or path.lower().endswith(COMPRESSED_SUFFIXES):
            return 0
        # A manifest is read from its copy, and metric files are what people look at in the store.
        return 0 if is_manifest(path) or self._metrics.match(path) else self._level


class Shrinking:
    """One content of `size` bytes on its way through zstd: its digests, those of what comes out, and the comparison.

    Every answer may be None: it is not worth while, or the content has another size. Then nothing more is to be asked.
    """

    def __init__(self, level: int, size: int, part_size: int) -> None:
        self._size = size
        self._content = Digester(max(size, 1))
        self._stored = Digester(part_size)
        self._compressor = Compressor(level, size)
        self._unpacked = Checksum()
        self._decompressor = Decompressor(self._unpacked, size)
        self._taken = self._made = 0

    def update(self, data: bytes) -> bytes | None:
        """The next bytes of the frame for the next bytes of the content. What they gain shows after the first."""
        first = not self._taken
        self._taken += len(data)
        if self._taken > self._size:
            return None
        self._content.update(data)
        piece = self._compressor.update(data)
        if first:
            piece += self._compressor.flush()
            if len(piece) > self._taken * _WORTH_WHILE:
                return None
        return self._checked(piece)

    def finish(self) -> tuple[bytes, Digests] | None:
        """The end of the frame, and the digests."""
        if self._taken != self._size or (piece := self._checked(self._compressor.finish())) is None:
            return None
        content, stored = self._content.finish(), self._stored.finish()
        if (self._unpacked.size, self._unpacked.crc32c) != (content.size, content.crc32c):
            _log.error("zstd made bytes that unpack to another content; the file is kept as it is")
            return None
        encoded = EncodedDigest(
            encoding=Encoding.ZSTD, size=stored.size, sha256=stored.sha256, crc32c=stored.crc32c, parts=stored.parts
        )
        return piece, Digests(content=content, stored=encoded)

    def _checked(self, piece: bytes) -> bytes | None:
        self._made += len(piece)
        if self._made > self._size * _WORTH_WHILE:
            return None
        self._stored.update(piece)
        try:
            self._decompressor.write(piece)
        except NotDecodable as error:
            _log.error("zstd made bytes that don't unpack; the file is kept as it is", extra={"error": str(error)})
            return None
        return piece
