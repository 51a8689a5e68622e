"""Where a journal lies: its files on the machine's own disk, and the lock that keeps other processes away from them."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final, Protocol

from pinnace.errors import PinnaceError

#: A database, and what SQLite writes beside it.
SUFFIXES: Final = ("", "-wal", "-shm")


class JournalError(PinnaceError):
    """The journal can't be used: held by another process or written by a newer version. Nothing was changed."""


class Place(Protocol):
    """The place of one database, held by this process alone until `release`."""

    @property
    def path(self) -> Path:
        """The database's; for messages."""
        ...

    def connect(self) -> sqlite3.Connection:
        """A fresh connection, in autocommit mode; there may be no database yet, or a damaged one."""
        ...

    def set_aside(self) -> None:
        """Let the database's files be called `<name>.damaged`. Nobody is connected."""
        ...

    def writable(self) -> bool:
        """Whether the disk lets us write to the database."""
        ...

    def had_one(self) -> bool:
        """Whether a journal was begun here once, whatever became of it."""
        ...

    def begun(self) -> None:
        """A journal is begun here: `had_one` says so from now on, whatever happens."""
        ...

    def release(self) -> None:
        """Safe to call twice."""
        ...


class LocalPlace:
    """A path of this machine. JournalError when another process holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # What is written into the lock file says that there has been a journal.
        self._lock = path.with_suffix(".lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise JournalError(
                f"{path} is in use by another sidecar", hint="one buffer serves one pod; wait for the other to end"
            ) from None

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=10)

    def set_aside(self) -> None:
        for suffix in SUFFIXES:
            damaged = Path(f"{self.path}{suffix}")
            if damaged.exists():
                damaged.replace(f"{damaged}.damaged")

    def writable(self) -> bool:
        return os.access(self.path, os.W_OK)

    def had_one(self) -> bool:
        return os.fstat(self._lock.fileno()).st_size > 0

    def begun(self) -> None:
        self._lock.write(b"begun\n")
        self._lock.flush()
        os.fsync(self._lock.fileno())

    def release(self) -> None:
        self._lock.close()
