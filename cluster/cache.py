"""Things that take long to make, kept by the hash of what they are made from.

A product is a folder that appears by one rename: it is there whole, or not at all. Locks are flocks, so the kernel
opens them again when their holder dies, however it dies.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: How many versions of a product are kept: two checkouts may take turns.
KEPT_VERSIONS = 3


def key(*parts: str | bytes | Path) -> str:
    """A short name for inputs: texts, bytes, files and folders (names, contents and the executable bit; no times)."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part):
            digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()[:16]


def _pieces(part: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(part, str):
        yield part.encode()
    elif isinstance(part, bytes):
        yield part
    elif part.is_dir():
        for file in sorted(found for found in part.rglob("*") if found.is_file() and "__pycache__" not in found.parts):
            yield str(file.relative_to(part)).encode() + (b"*" if os.access(file, os.X_OK) else b"")
            yield file.read_bytes()
    else:
        yield part.name.encode()
        yield part.read_bytes()


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of products. `waiting` hears the pid of whoever holds a lock that we need."""

    root: Path
    waiting: Callable[[str, str], None] = lambda _name, _holder: None

    def find(self, name: str, version: str) -> Path | None:
        """The finished product, or None."""
        folder = self.root / "products" / f"{name}-{version}"
        return folder if folder.is_dir() else None

    def product(self, name: str, version: str, make: Callable[[Path], None]) -> Path:
        """The product's folder; `make` fills an empty one first when there is none. One maker at a time."""
        if found := self.find(name, version):
            os.utime(found)
            return found
        with self.lock(name):
            if found := self.find(name, version):
                return found
            with self.workspace(name) as workspace:
                fresh = workspace / "product"
                fresh.mkdir()
                make(fresh)
                for file in fresh.rglob("*"):
                    if file.is_file() and not file.is_symlink():
                        _sync(file)
                final = self.root / "products" / f"{name}-{version}"
                final.parent.mkdir(parents=True, exist_ok=True)
                fresh.rename(final)
                _sync(final.parent)
            self._prune(name)
            return final

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock of this name; waits for whoever has it."""
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="ascii") as file:
            if not _grab(file.fileno()):
                file.seek(0)
                self.waiting(name, file.read().strip())
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """An empty folder beside the products, removed at the end, whatever the end is; see `sweep`."""
        place = self.root / "tmp"
        place.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=place))
        with (folder / ".held").open("w", encoding="ascii") as held:
            _grab(held.fileno())
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> int:
        """Remove workspaces whose makers died; returns how many."""
        removed = 0
        for folder in sorted((self.root / "tmp").glob("*")):
            with (folder / ".held").open("a", encoding="ascii") as held:
                if _grab(held.fileno()):
                    shutil.rmtree(folder)
                    removed += 1
        return removed

    def _prune(self, name: str) -> None:
        versions = [found for found in (self.root / "products").glob(f"{name}-*") if len(found.name) == len(name) + 17]
        for old in sorted(versions, key=lambda found: found.stat().st_mtime, reverse=True)[KEPT_VERSIONS:]:
            shutil.rmtree(old, ignore_errors=True)


def _grab(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
