"""Where the simulated journal lies (pinnace_sidecar.journal.place.Place), and what may happen to it there."""

import errno
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pinnace_sidecar.journal.place import SUFFIXES
from support.simulation.disk import FOLDER
from support.simulation.filesystem import FileSystem, failure
from support.simulation.sqlite_vfs import JournalDisk, connect

_JOURNAL = f"{FOLDER}/journal.db"
_LOCK = f"{FOLDER}/journal.lock"


class SimulatedPlace:
    """The place of the one journal. A dead process holds nothing, so there is nothing to release."""

    path = Path(_JOURNAL)

    def __init__(self, disk: JournalDisk) -> None:
        self._disk = disk
        if _LOCK not in disk.system.names:
            self._enter("create", _LOCK)
            disk.system.create(_LOCK)

    def connect(self) -> sqlite3.Connection:
        connection = connect(self._disk, _JOURNAL)
        # As if the journal were large: what is in the log goes to the database now and then.
        connection.execute(f"PRAGMA wal_autocheckpoint = {self._disk.machine.rng.choice([10, 100, 1000])}")
        return connection

    def set_aside(self) -> None:
        for suffix in SUFFIXES:
            if (name := f"{_JOURNAL}{suffix}") in self._disk.system.names:
                self._enter("set aside", name)
                self._disk.system.rename(name, f"{name}.damaged")

    def writable(self) -> bool:
        return True

    def had_one(self) -> bool:
        return bool(self._disk.system.find(_LOCK).data)

    def begun(self) -> None:
        lock = self._disk.system.find(_LOCK)
        self._enter("write", _LOCK)
        lock.write(len(lock.data), b"begun\n")
        self._enter("sync", _LOCK)
        lock.sync()

    def release(self) -> None: ...

    def _enter(self, what: str, path: str) -> None:
        if self._disk.enter(what, path, errno.EIO):
            raise failure(errno.EIO, path)


def damage(disk: JournalDisk) -> None:
    """Let some of the database be lost or changed, for good."""
    machine, system = disk.machine, disk.system
    inode = system.names.get(_JOURNAL)
    if inode is None or not inode.data:
        return
    _checkpoint(system)
    at = machine.rng.randrange(len(inode.data))
    match machine.rng.choice(["flipped", "cut", "gone"]):
        case "flipped":
            machine.note("--- byte", at, "of the journal changes")
            inode.write(at, bytes([inode.data[at] ^ machine.rng.randrange(1, 256)]))
        case "cut":
            machine.note("--- the journal is cut at", at)
            inode.truncate(at)
        case _:
            machine.note("--- the journal is gone")
            for suffix in SUFFIXES:
                if (name := f"{_JOURNAL}{suffix}") in system.names:
                    system.unlink(name)
    system.sync_all()


def _checkpoint(system: FileSystem) -> None:
    """Bring the log into the database, unless that is torn: it would cover up what is damaged there."""
    there = [name for suffix in SUFFIXES if (name := f"{_JOURNAL}{suffix}") in system.names]
    with TemporaryDirectory() as folder:
        for name in there:
            Path(folder, Path(name).name).write_bytes(system.find(name).data)
        copy = Path(folder, Path(_JOURNAL).name)
        with closing(sqlite3.connect(copy)) as connection, suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA journal_mode = DELETE")
        system.find(_JOURNAL).write(0, copy.read_bytes())
    for name in there:
        if name != _JOURNAL:
            system.unlink(name)
