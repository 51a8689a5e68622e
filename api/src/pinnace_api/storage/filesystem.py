"""Bytes in files: `<root>/<aa>/<uuid>`.

A file is written under `<root>/.partial`, fsynced, and renamed; then both folders are fsynced. So a file under its own
name is whole, whatever was killed, cut off or full. The folder must be one file system, and all replicas must see it.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pinnace.digests import Digester
from pinnace.records import Backend, Location
from pinnace_api.clock import now
from pinnace_api.refusals import BytesMissing, StorageFull, Unavailable
from pinnace_api.storage.backend import BLOCK_BYTES, Held, Written
from pinnace_api.storage.keys import new_key, uuid_in

_PARTIAL: Final = ".partial"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FilesystemStore:
    """One folder; it is made when it is first written to."""

    name = Backend.FILESYSTEM
    block_bytes = BLOCK_BYTES

    def __init__(self, root: Path) -> None:
        self._root = root

    def writer(self, size: int | None = None) -> "_FileWriter":
        del size
        with _usable():
            return _FileWriter(self._root, new_key("", now()))

    def read(self, location: Location, start: int, size: int) -> bytes:
        with _usable():
            try:
                file = os.open(self._path(location), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise BytesMissing(location) from None
            try:
                blocks = []
                while size and (block := os.pread(file, size, start)):
                    blocks.append(block)
                    start, size = start + len(block), size - len(block)
                return blocks[0] if len(blocks) == 1 else b"".join(blocks)
            finally:
                os.close(file)

    def size(self, location: Location) -> int | None:
        with _usable():
            try:
                return self._path(location).lstat().st_size
            except FileNotFoundError:
                return None

    def delete(self, location: Location) -> None:
        with _usable():
            self._path(location).unlink(missing_ok=True)

    def presigned(self, location: Location, seconds: int, headers: Mapping[str, str]) -> None:
        """Nobody but the API reads the folder."""

    def list(self) -> Iterator[Held]:
        with _usable():
            folders = sorted(_entries(self._root))
        for folder in folders:
            with _usable():
                names = _entries(self._root / folder) if folder == _PARTIAL or len(folder) == 2 else []
            for name in names:
                if held := self._held(folder, name):
                    yield held

    def discard(self, held: Held) -> None:
        if not held.handle:
            self.delete(held.location)
            return
        with _usable():
            (self._root / _PARTIAL / held.handle).unlink(missing_ok=True)

    def check(self) -> None:
        folder = self._root if self._root.exists() else self._root.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            # Whoever asks /readyz needs no token, so the answer doesn't say where it is.
            raise Unavailable("the folder of artifacts can't be written to", hint="look at PINNACE_API_ARTIFACTS_DIR")

    def close(self) -> None:
        """Nothing is kept open."""

    def _held(self, folder: str, name: str) -> Held | None:
        key = f"{name[:2]}/{name}"
        if uuid_in(key) is None or folder not in (_PARTIAL, name[:2]):
            return None  # not ours
        try:
            stat = (self._root / folder / name).lstat()
        except FileNotFoundError:
            return None
        return Held(
            location=_location(key),
            size=stat.st_size,
            written_at=datetime.fromtimestamp(stat.st_mtime, UTC),
            handle=name if folder == _PARTIAL else "",
        )

    def _path(self, location: Location) -> Path:
        if location.key != location.key.strip("/") or location.key.count("/") != 1 or uuid_in(location.key) is None:
            raise BytesMissing(location)
        return self._root / location.key


class _FileWriter:
    """A Writer into one file."""

    def __init__(self, root: Path, key: str) -> None:
        self._root = root
        self._key = key
        self._target = root / key
        self._partial = root / _PARTIAL / self._target.name
        self._digester = Digester(2**62)
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._is_open = True

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with _usable():
            while view:
                view = view[os.write(self._file, view) :]
        self._digester.update(data)

    def finish(self) -> Written:
        with _usable():
            os.fsync(self._file)
            folder = self._target.parent
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                _sync_folder(self._root)
            self._partial.rename(self._target)
            self._close()
            _sync_folder(folder)
        return Written(location=_location(self._key), digest=self._digester.finish())

    def abort(self) -> None:
        if self._is_open:
            with suppress(OSError):
                self._close()
            with suppress(OSError):
                self._partial.unlink()

    def _close(self) -> None:
        self._is_open = False
        os.close(self._file)


def _location(key: str) -> Location:
    return Location(backend=Backend.FILESYSTEM, endpoint="", region="", bucket="", key=key)


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are wanted, of which there may be many
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _usable() -> Iterator[None]:
    """The folder's errors as refusals."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("the folder of artifacts is full") from error
        raise Unavailable(
            f"the folder of artifacts can't be used: {error.strerror}", hint="the API's log has more"
        ) from error
