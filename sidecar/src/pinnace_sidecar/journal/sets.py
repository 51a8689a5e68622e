"""The journal's sets: which manifests are held back, and for which of their files.

A manifest is held from the moment its copy is journaled; nobody hands it out before `release`. The files that it waits
for are struck off as the API acknowledges them, in the same transaction, so a set is complete when none is left. Which
contents they were is kept until the API knows it too.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

from pinnace.records import FileState
from pinnace_sidecar.files import Fingerprint, folder_of
from pinnace_sidecar.journal.database import Database


class Held(IntEnum):
    """Why a file is not handed out yet."""

    #: It is.
    NO = 0
    #: A manifest whose copy nobody has read yet.
    UNREAD = 1
    #: A manifest that waits for files of its set.
    WAITING = 2
    #: A manifest that says nothing about a set.
    INVALID = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """One file that a manifest waits for. With an `artifact_id` that very content must come; otherwise a content of
    `size` (None: any), written at `mtime_ns` (None: any).
    """

    path: str
    size: int | None = None
    artifact_id: UUID | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One content of a path that the API has."""

    path: str
    state: FileState
    size: int
    artifact_id: UUID
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What a manifest written at `written_ns` says of a file: it is complete, and has `size` bytes where given."""

    written_ns: int
    size: int | None

    def holds(self, found: Fingerprint) -> bool:
        """Whether a file that looks like this is the one that was meant."""
        return found.mtime_ns <= self.written_ns and self.size in (None, found.size)


def satisfies(arrived: Arrived, awaited: Awaited) -> bool:
    """Whether a content that arrived is the one that a set waits for."""
    if awaited.size not in (None, arrived.size):
        return False
    if awaited.artifact_id is not None:
        # The digest proves it, however its writer ended.
        return arrived.artifact_id == awaited.artifact_id and arrived.state in (FileState.RECORDED, FileState.SUSPECT)
    return arrived.state is FileState.RECORDED and awaited.mtime_ns in (None, arrived.mtime_ns)


_COLUMNS: Final = "path, size, artifact_id, mtime_ns"


class SetTable:
    """Which manifests are held, and what for. Manifests themselves are files like any other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        ((self._awaits_any,),) = database.rows("SELECT EXISTS (SELECT 1 FROM members)")

    @property
    def awaits_any(self) -> bool:
        """Whether a manifest may wait for some file; False saves asking for each."""
        return bool(self._awaits_any)

    def held(self) -> int:
        """How many manifests are held back."""
        ((number,),) = self._database.rows("SELECT count(*) FROM files WHERE held")
        return int(number)

    def unread(self) -> int:
        """How many manifests nobody has read yet."""
        ((number,),) = self._database.rows("SELECT count(*) FROM files WHERE held = ?", Held.UNREAD)
        return int(number)

    def wait_for(self, manifest: int, files: Iterable[Awaited], there: Iterable[UUID] = ()) -> None:
        """From now on the manifest waits for these files, and for nothing else; the contents that are `there` already
        are of its set, too."""
        self._awaits_any = True
        with self._database.transaction():
            self._forget(manifest)
            for content in there:
                self._name(manifest, content)
            for file in files:
                self._database.execute(
                    f"INSERT INTO members (manifest, folder, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                    manifest,
                    os.fsencode(folder_of(file.path)),
                    os.fsencode(file.path),
                    file.size,
                    str(file.artifact_id) if file.artifact_id else None,
                    file.mtime_ns,
                )
            self._database.execute("UPDATE files SET held = ? WHERE id = ?", Held.WAITING, manifest)

    def reject(self, manifest: int, why: str) -> None:
        """The manifest names no set: it is held until somebody writes it again."""
        self._database.execute("UPDATE files SET held = ?, message = ? WHERE id = ?", Held.INVALID, why, manifest)

    def strike(self, arrived: Arrived) -> None:
        """No set waits for this content any longer."""
        waiting = self._database.rows(
            f"SELECT manifest, {_COLUMNS} FROM members WHERE path = ?",  # noqa: S608
            os.fsencode(arrived.path),
        )
        for manifest, *columns in waiting:
            if satisfies(arrived, _awaited(columns)):
                self._name(manifest, arrived.artifact_id)
                self._database.execute(
                    "DELETE FROM members WHERE manifest = ? AND path = ?", manifest, os.fsencode(arrived.path)
                )

    def awaited(self, manifest: int, limit: int) -> list[Awaited]:
        """The first `limit` files that a manifest waits for."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM members WHERE manifest = ? ORDER BY path LIMIT ?",  # noqa: S608
            manifest,
            limit,
        )
        return [_awaited(row) for row in rows]

    def promises(self, paths: Sequence[str]) -> dict[str, Promise]:
        """What the waiting manifests say of these files, by path."""
        if not self._awaits_any:
            return {}
        rows = self._database.rows_in(
            "SELECT m.path, m.size, f.fingerprint FROM members m JOIN files f ON f.id = m.manifest"
            " WHERE m.path IN ({})",
            [os.fsencode(path) for path in paths],
        )
        return {os.fsdecode(path): Promise(int(text.split(":")[2]), size) for path, size, text in rows}

    def release_complete(self) -> int:
        """Hand out the manifests that wait for nothing any more, each as the latest in line; returns how many."""
        with self._database.transaction():
            complete = self._database.rows(
                "SELECT id FROM files WHERE held = ? AND NOT EXISTS (SELECT 1 FROM members WHERE manifest = files.id)",
                Held.WAITING,
            )
            for (manifest,) in complete:
                self._hand_out(manifest)
        return len(complete)

    def release(self, manifest: int) -> None:
        """Hand out a manifest as a file that speaks for no set."""
        with self._database.transaction():
            self._forget(manifest)
            self._hand_out(manifest)

    def members(self, manifests: Iterable[UUID]) -> dict[UUID, tuple[UUID, ...]]:
        """The contents of those sets among these that are complete and that the API is yet to hear of, by manifest."""
        return {manifest: found for manifest in manifests if (found := self._members(str(manifest)))}

    def forget(self, manifests: Iterable[UUID]) -> None:
        """The API knows these sets."""
        for manifest in manifests:
            self._database.execute("DELETE FROM named WHERE manifest = ?", str(manifest))

    def _members(self, manifest: str) -> tuple[UUID, ...]:
        found = self._database.rows("SELECT member FROM named WHERE manifest = ? ORDER BY member", manifest)
        return tuple(UUID(member) for (member,) in found)

    def _name(self, manifest: int, content: UUID) -> None:
        self._database.execute(
            "INSERT OR IGNORE INTO named (manifest, member) SELECT artifact_id, ? FROM files WHERE id = ?",
            str(content),
            manifest,
        )

    def _forget(self, manifest: int) -> None:
        self._database.execute("DELETE FROM members WHERE manifest = ?", manifest)
        self._database.execute(
            "DELETE FROM named WHERE manifest = (SELECT artifact_id FROM files WHERE id = ?)", manifest
        )

    def _hand_out(self, manifest: int) -> None:
        """It takes a new id, because whoever hands out files goes by id and has passed this."""
        self._database.execute("DELETE FROM members WHERE manifest = ?", manifest)
        self._database.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'files'")
        self._database.execute(
            "UPDATE files SET held = ?, id = (SELECT seq FROM sqlite_sequence WHERE name = 'files') WHERE id = ?",
            Held.NO,
            manifest,
        )


def _awaited(row: Any) -> Awaited:
    path, size, artifact, mtime_ns = row
    return Awaited(
        path=os.fsdecode(path), size=size, artifact_id=UUID(artifact) if artifact else None, mtime_ns=mtime_ns
    )
