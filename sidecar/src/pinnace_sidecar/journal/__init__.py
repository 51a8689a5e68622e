"""What the sidecar remembers: a SQLite database beside the buffer's files, WAL with synchronous=FULL, one writer.

Everything inside `transaction()` becomes durable at once or not at all. The journal is a log of work, never the truth:
lost or damaged, it is begun again from what volume, buffer, store and API hold.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from pinnace_sidecar.journal.database import STARTS, Database
from pinnace_sidecar.journal.files import Copy, FileTable, FileTotals, JournaledFile, Refusal, arrived
from pinnace_sidecar.journal.metrics import MetricTable, MetricTotals, Tail
from pinnace_sidecar.journal.place import JournalError, LocalPlace
from pinnace_sidecar.journal.sets import Arrived, Awaited, Held, Promise, SetTable, satisfies

__all__ = [
    "Arrived",
    "Awaited",
    "Copy",
    "FileTable",
    "FileTotals",
    "Held",
    "Journal",
    "JournalError",
    "JournaledFile",
    "MetricTable",
    "MetricTotals",
    "Promise",
    "Refusal",
    "SetTable",
    "Tail",
    "arrived",
    "satisfies",
]


class Journal:
    """`files`, `sets` and `metrics`, in one database. For one thread; a second process is kept out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.sets = SetTable(database)
        self.files = FileTable(database, self.sets)
        self.metrics = MetricTable(database)
        self.begun_anew = database.begun_anew

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """The journal at `path`, created when it isn't there; see Database.open. JournalError when another has it."""
        return cls(Database.open(LocalPlace(path)))

    def transaction(self) -> AbstractContextManager[None]:
        """Group what is inside into one commit. Transactions inside it are part of it."""
        return self._database.transaction()

    def count_start(self) -> int:
        """One more process has begun with this journal; returns which one it is, counted from 1."""
        return self._database.count(STARTS)

    def close(self) -> None:
        self._database.close()
