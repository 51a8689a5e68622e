"""The sidecar's own disk behind one seam, and the one way in which something is written there for good."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeVar

from pinnace_sidecar.files import OpenFile

_FICLONE: Final = 0x40049409
_NEVER: Final = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS})
#: So many files are made durable one by one. For more the whole file system is written out at once: that is one wait
#: for the disk instead of one for each file, but what others have written there since goes along.
_FEW: Final = 8

_T = TypeVar("_T")


class Disk(Protocol):
    """The few things the buffer needs of its disk. Each raises OSError."""

    def create(self, path: Path) -> BinaryIO:
        """A new, empty, unbuffered file for writing and reading."""
        ...

    def clone(self, source: OpenFile, target: BinaryIO) -> bool:
        """Make `target` share the blocks of `source`; False where the file system can't."""
        ...

    def sync(self, file: BinaryIO) -> None: ...

    def sync_all(self, files: Sequence[BinaryIO]) -> None:
        """Make all of these files of one folder durable. An error may be that of any of them."""
        ...

    def rename(self, source: Path, target: Path) -> None: ...

    def sync_folder(self, folder: Path) -> None: ...

    def remove(self, path: Path) -> None:
        """Remove a file; nothing there is fine."""
        ...

    def open(self, path: Path) -> BinaryIO: ...

    def space(self, folder: Path) -> tuple[int, int]:
        """How many bytes are free for us on the folder's file system, and how many it has."""
        ...

    def sizes(self, folder: Path) -> dict[str, int]:
        """The files of a folder with their sizes in bytes."""
        ...


class LocalDisk:
    """The machine's own file system."""

    #: False once a clone was refused for the file systems' sake.
    _clones = True

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def create(self, path: Path) -> BinaryIO:
        return open(path, "w+b", buffering=0)  # noqa: PTH123 - the caller closes it

    def clone(self, source: OpenFile, target: BinaryIO) -> bool:
        try:
            if self._clones:
                fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError as error:
            # These are said of the file systems, and hold for every other file.
            self._clones = error.errno not in _NEVER
            return False
        return self._clones

    def sync(self, file: BinaryIO) -> None:
        os.fsync(file.fileno())

    def sync_all(self, files: Sequence[BinaryIO]) -> None:
        if len(files) < _FEW:
            for file in files:
                self.sync(file)
        elif self._libc.syncfs(files[0].fileno()):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def open(self, path: Path) -> BinaryIO:
        return open(path, "rb", buffering=0)  # noqa: PTH123 - the caller closes it

    def space(self, folder: Path) -> tuple[int, int]:
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    def sizes(self, folder: Path) -> dict[str, int]:
        return {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}


def durable_write(disk: Disk, temporary: Path, fill: Callable[[BinaryIO], tuple[Path, _T]]) -> _T:
    """Write a file so that it is there whole or not at all, also after a power cut.

    `fill` writes the content to the file it gets and answers where it belongs (a path in the folder of `temporary`) and
    what this function shall return. On any error nothing is left behind.
    """
    try:
        with disk.create(temporary) as file:
            target, answer = fill(file)
            disk.sync(file)
        disk.rename(temporary, target)
        disk.sync_folder(target.parent)
    except BaseException:
        disk.remove(temporary)
        raise
    return answer
