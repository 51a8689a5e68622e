"""What is on the volume: a full look at it, and safe reading.

The volume is written by somebody we don't trust: no path component is ever followed through a symlink, so a link to one
of the sidecar's own secrets can't be shipped, and only regular files are opened, so a FIFO can't hang us. Names are
`str` with surrogate escapes for bytes that are not UTF-8; `wire_path` is how the API spells them.
"""

import errno
import fcntl
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from pinnace_sidecar.completeness import Writer

_LIKE_A_SPELLING = re.compile("%(25|[89A-F][0-9A-F])")
#: Where Python puts a byte that is not UTF-8 (PEP 383).
_ESCAPED: Final = 0xDC00
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK, because opening a FIFO that replaced a file would wait for its writer.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: So many names of a folder are taken at a time.
_PIECE: Final = 1000


class Fingerprint(msgspec.Struct, frozen=True):
    """What changes when a file's content does. ctime is there because it can't be set back, unlike mtime."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def from_stat(cls, status: os.stat_result) -> "Fingerprint":
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Entry(msgspec.Struct, frozen=True):
    """One name in a folder. `fingerprint` is None for what is no regular file: links, FIFOs, devices."""

    path: str
    fingerprint: Fingerprint | None


class Folder(msgspec.Struct, frozen=True):
    """One folder as it was found: the names in it that are not folders. `path` is empty for the volume's root.

    `problem` is the reason why it could not be read, or read on; then `entries` is empty. A large folder comes in
    several of these, none of which is `whole`.
    """

    path: str
    entries: tuple[Entry, ...] = ()
    problem: OSError | None = None
    whole: bool = True


class OpenFile(Protocol):
    """A regular file of the volume, open for reading from its beginning."""

    #: How it looked when it was opened.
    found: Fingerprint

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        ...

    def seek(self, offset: int) -> None:
        """Read on from byte `offset`."""
        ...

    def fingerprint(self) -> Fingerprint:
        """How the open file looks now."""
        ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Volume(Protocol):
    """The files of the pod. Paths are relative to its root."""

    def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
        """Every folder with its files, each once. `enter` is called with a folder's path before it is read."""
        ...

    def open(self, path: str) -> OpenFile:
        """The regular file at `path`. OSError when it is gone, not regular, behind a link or forbidden."""
        ...

    def fingerprint(self, path: str) -> Fingerprint | None:
        """How the regular file at `path` looks now; None when there is none."""
        ...

    def name_of(self, folder: str, inode: int) -> str | None:
        """The path of the regular file with this inode in a folder (not in its subfolders); None when there is none."""
        ...

    def writer(self, path: str) -> Writer:
        """Whether somebody has the file open for writing at this moment; UNKNOWN where nobody can tell."""
        ...


class _LocalFile:
    __slots__ = ("_descriptor", "found")

    def __init__(self, descriptor: int, found: Fingerprint) -> None:
        self._descriptor = descriptor
        self.found = found

    def read(self, size: int) -> bytes:
        data = os.read(self._descriptor, size)
        while 0 < len(data) < size and (more := os.read(self._descriptor, size - len(data))):
            data += more
        return data

    def seek(self, offset: int) -> None:
        os.lseek(self._descriptor, offset, os.SEEK_SET)

    def fingerprint(self) -> Fingerprint:
        return Fingerprint.from_stat(os.fstat(self._descriptor))

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)


class LocalVolume:
    """A folder of this machine."""

    def __init__(self, root: str) -> None:
        self._root = root

    def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            enter(path)
            try:
                yield from self._read(path, waiting)
            except FileNotFoundError as error:
                if not path:
                    yield Folder(path, problem=error)
            except OSError as error:
                yield Folder(path, problem=error)

    def open(self, path: str) -> OpenFile:
        descriptor = self._open(path, _FILE_FLAGS)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "no longer a regular file", path)
        return _LocalFile(descriptor, Fingerprint.from_stat(status))

    def fingerprint(self, path: str) -> Fingerprint | None:
        try:
            descriptor = self._open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return Fingerprint.from_stat(status) if stat.S_ISREG(status.st_mode) else None

    def name_of(self, folder: str, inode: int) -> str | None:
        try:
            entries = (entry for piece in self._read(folder, []) for entry in piece.entries)
            return next(
                (entry.path for entry in entries if entry.fingerprint and entry.fingerprint.inode == inode), None
            )
        except OSError:
            return None

    def writer(self, path: str) -> Writer:
        """By trying for a read lease, which the kernel refuses while anybody may write to the file, by mmap too. It
        gives one only to the file's owner and not on every file system. Held for an instant, until the file is closed:
        a writer who opens it meanwhile waits that long.
        """
        try:
            descriptor = self._open(path, _FILE_FLAGS)
        except OSError:
            return Writer.UNKNOWN
        try:
            # The kernel's word for "somebody wants to write" would end the process; this one is ignored by default.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return Writer.OPEN if error.errno == errno.EAGAIN else Writer.UNKNOWN
        finally:
            os.close(descriptor)
        return Writer.NONE

    def _read(self, path: str, folders: list[str]) -> Iterator[Folder]:
        """A folder in pieces, so that memory does not depend on its size. Adds its subfolders to `folders`."""
        entries: list[Entry] = []
        whole = True
        descriptor = self._open(path, _FOLDER_FLAGS)
        try:
            with os.scandir(descriptor) as names:
                for name in names:
                    inner = f"{path}/{name.name}" if path else name.name
                    if name.is_dir(follow_symlinks=False):
                        folders.append(inner)
                        continue
                    try:
                        status = name.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    regular = stat.S_ISREG(status.st_mode)
                    if len(entries) == _PIECE:
                        whole = False
                        yield Folder(path, tuple(entries), whole=False)
                        entries.clear()
                    entries.append(Entry(inner, Fingerprint.from_stat(status) if regular else None))
            yield Folder(path, tuple(entries), whole=whole)
        finally:
            os.close(descriptor)

    def _open(self, path: str, flags: int) -> int:
        """A descriptor of what lies at `path`, reached one component at a time; only the root may be a link itself."""
        if not path:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        first, *others = path.split("/")
        descriptor = os.open(f"{self._root}/{first}", _FOLDER_FLAGS if others else flags)
        for number, part in enumerate(others, 1):
            try:
                inner = os.open(part, flags if number == len(others) else _FOLDER_FLAGS, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor


class NoVolume:
    """Where there is nothing to look at: a buffer that was found without its volume."""

    def scan(self, enter: Callable[[str], None]) -> Iterator[Folder]:
        enter("")
        yield Folder("")

    def open(self, path: str) -> OpenFile:
        raise FileNotFoundError(errno.ENOENT, "there is no volume", path)

    def fingerprint(self, path: str) -> Fingerprint | None:  # noqa: ARG002 - the Protocol's
        return None

    def name_of(self, folder: str, inode: int) -> str | None:  # noqa: ARG002 - the Protocol's
        return None

    def writer(self, path: str) -> Writer:  # noqa: ARG002 - the Protocol's
        return Writer.UNKNOWN


def folder_of(path: str) -> str:
    """The folder that `path` lies in; empty for the volume's root."""
    return path.rpartition("/")[0]


def wire_path(path: str) -> str:
    """`path` as UTF-8 can call it: unchanged, or with `%XX` for each byte that is not UTF-8, and `%` as `%25` then.

    A name of UTF-8 that looks like such a spelling (`%25`, `%80` to `%FF`) is spelled too, so that no two names are
    spelled alike.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        pass
    else:
        if not _LIKE_A_SPELLING.search(path):
            return path
    return "".join(_spelled(character) for character in path)


def local_path(wire: str) -> str:
    """The name that `wire_path` spells so."""
    spelled = _LIKE_A_SPELLING.sub(lambda found: chr(int(found[1], 16) + _ESCAPED), wire)
    return spelled.replace(chr(0x25 + _ESCAPED), "%")


def _spelled(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"%{code - _ESCAPED:02X}"
    return "%25" if character == "%" else character
