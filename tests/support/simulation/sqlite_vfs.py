"""The real SQLite on the simulated file system, by a VFS of our own.

Every write, sync and removal that SQLite asks for is a seam and goes to the model, so that a power cut leaves of
database and write-ahead log exactly what SQLite's own syncs made sure of, and a torn rest. Kills and disk errors come
between any two of them. The library is the one that Python's own `sqlite3` module is linked with.
"""

import _sqlite3
import ctypes
import errno
import sqlite3
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_double, c_int, c_int64, c_void_p
from typing import Any, Final

from support.simulation.filesystem import FileSystem, Inode
from support.simulation.machine import Killed, Machine

NAME: Final = b"pinnace-simulation"
_OK, _IOERR, _FULL, _NOTFOUND, _CANTOPEN = 0, 10, 13, 12, 14
_SHORT_READ, _NO_ENTRY = 522, 5898
_OPEN_CREATE: Final = 0x4
#: Rollback journal, super-journal and write-ahead log: their name is synced with their first sync.
_OPEN_ANY_JOURNAL: Final = 0x800 | 0x4000 | 0x80000
_POWERSAFE_OVERWRITE: Final = 0x1000
_SECTOR: Final = 4096


class _File(ctypes.Structure):
    _fields_ = [("methods", c_void_p), ("handle", c_int64)]


_FILE = POINTER(_File)
#: Called thousands of times by SQLite, and of no use with one connection: done in C, by a function that returns 0 and
#: does nothing.
_NOTHING: Final = ("lock", "unlock", "shm_lock", "shm_barrier")
_METHODS: Final[dict[str, Any]] = {
    "close": CFUNCTYPE(c_int, _FILE),
    "read": CFUNCTYPE(c_int, _FILE, c_void_p, c_int, c_int64),
    "write": CFUNCTYPE(c_int, _FILE, c_void_p, c_int, c_int64),
    "truncate": CFUNCTYPE(c_int, _FILE, c_int64),
    "sync": CFUNCTYPE(c_int, _FILE, c_int),
    "file_size": CFUNCTYPE(c_int, _FILE, POINTER(c_int64)),
    "lock": CFUNCTYPE(c_int, _FILE, c_int),
    "unlock": CFUNCTYPE(c_int, _FILE, c_int),
    "check_reserved_lock": CFUNCTYPE(c_int, _FILE, POINTER(c_int)),
    "file_control": CFUNCTYPE(c_int, _FILE, c_int, c_void_p),
    "sector_size": CFUNCTYPE(c_int, _FILE),
    "device_characteristics": CFUNCTYPE(c_int, _FILE),
    "shm_map": CFUNCTYPE(c_int, _FILE, c_int, c_int, c_int, POINTER(c_void_p)),
    "shm_lock": CFUNCTYPE(c_int, _FILE, c_int, c_int, c_int),
    "shm_barrier": CFUNCTYPE(None, _FILE),
    "shm_unmap": CFUNCTYPE(c_int, _FILE, c_int),
}
_CALLS: Final[dict[str, Any]] = {
    "open": CFUNCTYPE(c_int, c_void_p, c_char_p, _FILE, c_int, POINTER(c_int)),
    "delete": CFUNCTYPE(c_int, c_void_p, c_char_p, c_int),
    "access": CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, POINTER(c_int)),
    "full_pathname": CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, c_void_p),
    "dl_open": c_void_p,
    "dl_error": c_void_p,
    "dl_sym": c_void_p,
    "dl_close": c_void_p,
    "randomness": CFUNCTYPE(c_int, c_void_p, c_int, c_void_p),
    "sleep": CFUNCTYPE(c_int, c_void_p, c_int),
    "current_time": CFUNCTYPE(c_int, c_void_p, POINTER(c_double)),
    "get_last_error": CFUNCTYPE(c_int, c_void_p, c_int, c_void_p),
}


class _IoMethods(ctypes.Structure):
    _fields_ = [("version", c_int), *_METHODS.items()]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("max_pathname", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        *_CALLS.items(),
    ]


class _Handle:
    __slots__ = ("inode", "new_name", "path", "shared")

    def __init__(self, inode: Inode, path: str, *, new_name: bool) -> None:
        self.inode = inode
        self.path = path
        #: Sync the folder with the first sync of the file, as SQLite's own VFS does for a new log.
        self.new_name = new_name
        self.shared: list[Any] = []


class JournalDisk:
    """Where the journal's files lie at the moment; one per world."""

    def __init__(self, machine: Machine, system: FileSystem) -> None:
        self.machine = machine
        self.system = system
        self.fault_rate = 0.0
        #: Until then nothing works.
        self.away_until = 0.0
        #: Whether an error was given since the process began.
        self.failed = False

    def enter(self, what: str, path: str, *codes: int) -> int:
        """A seam; returns SQLite's code for an error that is to happen here, or 0."""
        self.machine.seam("journal", what, path.rpartition("/")[2])
        is_away = self.machine.elapsed < self.away_until
        if is_away or self.machine.chance(self.fault_rate):
            self.failed = True
            code = errno.EIO if is_away else self.machine.rng.choice(codes)
            self.machine.note("  fails:", errno.errorcode[code])
            return _FULL if code == errno.ENOSPC else _IOERR
        return _OK


class _Layer:
    """The callbacks. SQLite runs in the machine's one thread."""

    def __init__(self) -> None:
        self.disk: JournalDisk
        self.handles: dict[int, _Handle] = {}
        self._numbers = 0
        self._vfs = _Vfs(
            1,
            ctypes.sizeof(_File),
            512,
            None,
            NAME,
            None,
            *(kind(getattr(self, f"v_{name}")) if kind is not c_void_p else None for name, kind in _CALLS.items()),
        )
        nothing = ctypes.cast(ctypes.CDLL(None).pthread_mutexattr_destroy, c_void_p).value
        self._methods = _IoMethods(
            2,
            *(
                kind(nothing) if name in _NOTHING else kind(_guarded(getattr(self, f"x_{name}")))
                for name, kind in _METHODS.items()
            ),
        )
        library = ctypes.CDLL(_sqlite3.__file__)
        if library.sqlite3_vfs_register(ctypes.byref(self._vfs), 0) != _OK:
            raise RuntimeError("SQLite refused the simulation's VFS")

    # --- the file system

    def v_open(self, _vfs: int, name: bytes | None, file: Any, flags: int, out: Any) -> int:
        if not name:  # a temporary file: the sidecar's container has no folder for it
            file.contents.methods = None
            return _CANTOPEN
        system, path = self.disk.system, name.decode()
        inode = system.names.get(path)
        # Whoever opens a log to write syncs its name: it may be there, and not be durable.
        new_name = bool(flags & _OPEN_CREATE) and bool(flags & _OPEN_ANY_JOURNAL)
        if inode is None:
            if not flags & _OPEN_CREATE or not self.disk.machine.alive:
                file.contents.methods = None
                return _CANTOPEN
            inode = system.create(path)
        self._numbers += 1
        self.handles[self._numbers] = _Handle(inode, path, new_name=new_name)
        file.contents.methods = ctypes.addressof(self._methods)
        file.contents.handle = self._numbers
        if out:
            out[0] = flags
        return _OK

    def v_delete(self, _vfs: int, name: bytes, sync_folder: int) -> int:
        disk, path = self.disk, name.decode()
        if path not in disk.system.names:
            return _NO_ENTRY
        try:
            if code := disk.enter("delete", path, errno.EIO):
                return code
        except Killed:
            return _IOERR
        disk.system.unlink(path)
        if sync_folder:
            disk.system.sync_folder(path.rpartition("/")[0])
        return _OK

    def v_access(self, _vfs: int, name: bytes, _flags: int, out: Any) -> int:
        out[0] = int(name.decode() in self.disk.system.names)
        return _OK

    def v_full_pathname(self, _vfs: int, name: bytes, size: int, out: int) -> int:
        ctypes.memmove(out, name + b"\0", min(len(name) + 1, size))
        return _OK

    def v_randomness(self, _vfs: int, size: int, out: int) -> int:
        ctypes.memset(out, 7, size)
        return size

    def v_sleep(self, _vfs: int, microseconds: int) -> int:
        return microseconds

    def v_current_time(self, _vfs: int, out: Any) -> int:
        out[0] = 2_460_000.0
        return _OK

    def v_get_last_error(self, _vfs: int, _size: int, _out: int) -> int:
        return 0

    # --- a file

    def x_close(self, handle: _Handle) -> int:
        return _OK

    def x_read(self, handle: _Handle, out: int, size: int, offset: int) -> int:
        data = bytes(handle.inode.data[offset : offset + size])
        ctypes.memmove(out, data, len(data))
        if len(data) == size:
            return _OK
        ctypes.memset(out + len(data), 0, size - len(data))
        return _SHORT_READ

    def x_write(self, handle: _Handle, data: int, size: int, offset: int) -> int:
        if code := self.disk.enter("write", handle.path, errno.ENOSPC, errno.EIO):
            return code
        handle.inode.write(offset, ctypes.string_at(data, size))
        return _OK

    def x_truncate(self, handle: _Handle, size: int) -> int:
        if code := self.disk.enter("truncate", handle.path, errno.EIO):
            return code
        handle.inode.truncate(size)
        return _OK

    def x_sync(self, handle: _Handle, _flags: int) -> int:
        if code := self.disk.enter("sync", handle.path, errno.EIO):
            return code
        handle.inode.sync()
        if handle.new_name:
            handle.new_name = False
            self.disk.system.sync_folder(handle.path.rpartition("/")[0])
        return _OK

    def x_file_size(self, handle: _Handle, out: Any) -> int:
        out[0] = len(handle.inode.data)
        return _OK

    def x_check_reserved_lock(self, _handle: _Handle, out: Any) -> int:
        out[0] = 0
        return _OK

    def x_file_control(self, _handle: _Handle, _operation: int, _argument: int) -> int:
        return _NOTFOUND

    def x_sector_size(self, _handle: _Handle) -> int:
        return _SECTOR

    def x_device_characteristics(self, _handle: _Handle) -> int:
        return _POWERSAFE_OVERWRITE

    def x_shm_map(self, handle: _Handle, page: int, size: int, extend: int, out: Any) -> int:
        while extend and len(handle.shared) <= page:
            handle.shared.append(ctypes.create_string_buffer(size))
        out[0] = ctypes.addressof(handle.shared[page]) if page < len(handle.shared) else None
        return _OK

    def x_shm_unmap(self, handle: _Handle, _delete: int) -> int:
        handle.shared.clear()
        return _OK


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """A process that is killed inside SQLite is told so by an I/O error; the next seam ends it."""

    def guarded(file: Any, *arguments: Any) -> Any:
        handle = file.contents.handle
        try:
            answer = call(_LAYER[0].handles[handle], *arguments)
        except Killed:
            return _IOERR
        except BaseException as error:  # noqa: BLE001 - SQLite would swallow it
            _LAYER[0].disk.machine.broken.append(error)
            return _IOERR
        if call.__name__ == "x_close":
            del _LAYER[0].handles[handle]
        return answer

    return guarded


_LAYER: list[_Layer] = []


def connect(disk: JournalDisk, path: str) -> sqlite3.Connection:
    """A connection to the database at `path` of the simulated file system. One world at a time."""
    if not _LAYER:
        _LAYER.append(_Layer())
    _LAYER[0].disk = disk
    return sqlite3.connect(f"file:{path}?vfs={NAME.decode()}", uri=True, isolation_level=None)
