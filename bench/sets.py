"""Sets of files to send, made of random bytes. Their folder is removed by whoever made it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 64 * 2**20
KIB, MIB, GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True, slots=True)
class FileSet:
    """`parts`: how many files of which size."""

    name: str
    parts: tuple[tuple[int, int], ...]

    @property
    def files(self) -> int:
        return sum(count for count, _ in self.parts)

    @property
    def size(self) -> int:
        return sum(count * size for count, size in self.parts)

    def make(self, folder: Path) -> Path:
        """Write the files into a new folder."""
        folder.mkdir(parents=True)
        block = os.urandom(_BLOCK)
        for kind, (count, size) in enumerate(self.parts):
            for number in range(count):
                with (folder / f"{kind}-{number:05}.bin").open("wb") as file:
                    for piece in _pieces(block, size, number + kind):
                        file.write(piece)
        return folder


def _pieces(block: bytes, size: int, turn: int) -> Iterator[bytes]:
    """`size` bytes that no two files share: the block, turned a little further each time."""
    while size:
        shift = (turn * 4099) % (_BLOCK - 1)
        piece = block[shift : shift + size] if size <= _BLOCK - shift else block[shift:]
        yield piece
        size -= len(piece)
        turn += 1


def warm(folder: Path) -> None:
    """Read everything once, so that every run finds it in the page cache."""
    for path in folder.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.read(_BLOCK):
                pass


LARGE = FileSet("1 x 4 GiB", ((1, 4 * GIB),))
MIDDLE = FileSet("16 x 256 MiB", ((16, 256 * MIB),))
SMALL = FileSet("10,000 x 4 KiB", ((10_000, 4 * KIB),))
MIXED = FileSet("1 x 1 GiB + 200 x 1 MiB + 2,000 x 4 KiB", ((1, GIB), (200, MIB), (2000, 4 * KIB)))
FULL = (LARGE, MIDDLE, SMALL, MIXED)

QUICK_LARGE = FileSet("1 x 1 GiB", ((1, GIB),))
QUICK_SMALL = FileSet("2,000 x 4 KiB", ((2000, 4 * KIB),))
QUICK = (
    QUICK_LARGE,
    FileSet("4 x 256 MiB", ((4, 256 * MIB),)),
    QUICK_SMALL,
    FileSet("1 x 256 MiB + 50 x 1 MiB + 500 x 4 KiB", ((1, 256 * MIB), (50, MIB), (500, 4 * KIB))),
)
