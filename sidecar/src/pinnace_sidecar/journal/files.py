"""The journal's files: one row is one content of one path, from the moment its copy is durable."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final
from uuid import UUID

import msgspec

from pinnace.records import Artifact, FileState, RecordedContent
from pinnace.stores.store import Part
from pinnace_sidecar import lifecycle
from pinnace_sidecar.files import Fingerprint, folder_of
from pinnace_sidecar.journal import rows
from pinnace_sidecar.journal.database import Database, marks
from pinnace_sidecar.journal.entries import (
    COLUMNS,
    Copy,
    FileTotals,
    JournaledFile,
    Progress,
    Refusal,
    arrived,
    digest_of,
    encoded_digest_of,
    fingerprint_of,
    fresh_file,
    journaled,
    text_of,
)
from pinnace_sidecar.journal.rows import Row
from pinnace_sidecar.journal.sets import Held, SetTable
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.manifest import is_manifest

_COPIED: Final = lifecycle.step(FileState.SETTLED, Event.COPIED) or FileState.BUFFERED
_TO_BE_FOUND: Final = frozenset({Event.LOST, Event.UNREAD})
_IN_MANIFEST: Final = (FileState.RECORDED, FileState.SUSPECT)
_NEED_THEIR_COPY: Final = (FileState.BUFFERED, FileState.UPLOADED, FileState.VERIFIED, FileState.QUARANTINED)


class FileTable:
    """`artifact_id` is unique, so a file written again with content it had before is the same row. `current` marks the
    row that the path shows now. A state changes by `apply` and nowhere else, and `apply` asks the lifecycle. A manifest
    is held from the beginning: `in_state` does not name it before the sets release it.
    """

    def __init__(self, database: Database, sets: SetTable) -> None:
        self._database = database
        self._sets = sets
        #: The latest totals, and the database's count of changes then.
        self._totals: tuple[int, FileTotals] | None = None

    def known(self, paths: Sequence[str]) -> dict[str, Fingerprint]:
        """How those of these files looked that were dealt with, by path."""
        found = self._database.rows_in(
            "SELECT path, fingerprint FROM files WHERE current AND path IN ({})", [os.fsencode(path) for path in paths]
        )
        return {os.fsdecode(path): fingerprint_of(text) for path, text in found}

    def add_copy(self, copy: Copy) -> JournaledFile:
        """Remember a copy as buffered, or find the row that has this content already; a quarantined one begins anew.

        A row found may be in any other state. Its fingerprint becomes the copy's; how it is compressed stays as it is,
        and with that the name of its copy.
        """
        with self._database.transaction():
            etag = ""
            if self._database.rows(
                "SELECT 1 FROM files WHERE current AND path = ? UNION ALL SELECT 1 FROM files WHERE artifact_id = ?",
                os.fsencode(copy.path),
                copy.artifact,
            ):
                self._retire(copy.path)
                etag = self._renew(copy.artifact)
            self._database.execute(
                "INSERT INTO files (folder, path, current, fingerprint, state, suspect, settled_at, size, artifact_id,"
                " digest, stored, held, etag) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (artifact_id) DO UPDATE SET current = 1, folder = excluded.folder,"
                " path = excluded.path, fingerprint = excluded.fingerprint,"
                # A manifest written again with the same words may mean other versions of its files.
                " held = CASE WHEN held THEN excluded.held ELSE held END",
                os.fsencode(folder_of(copy.path)),
                os.fsencode(copy.path),
                text_of(copy.fingerprint),
                _COPIED,
                copy.suspect,
                copy.settled_at,
                copy.digests.content.size,
                copy.artifact,
                msgspec.json.encode(copy.digests.content),
                _json_of(copy.digests.stored),
                Held.UNREAD if is_manifest(copy.path) else Held.NO,
                etag,
            )
            file = self._file("artifact_id = ?", copy.artifact)
            if file.suspect and not copy.suspect:
                self.clear(file)
                file = self._file("id = ?", file.id)
            if file.state in _IN_MANIFEST and self._sets.awaits_any:
                self._sets.strike(arrived(file))
            return file

    def clear(self, file: JournaledFile) -> None:
        """A suspect file turned out to be complete."""
        with self._database.transaction():
            self._database.execute("UPDATE files SET suspect = 0 WHERE id = ?", file.id)
            if file.state is FileState.SUSPECT:
                self.apply(file.id, Event.CLEARED)

    def add_copies(self, copies: Sequence[Copy]) -> list[JournaledFile]:
        """As `add_copy` for each in turn; all that the journal has never heard of in few statements."""
        with self._database.transaction():
            paths = [os.fsencode(copy.path) for copy in copies]
            artifacts = [copy.artifact for copy in copies]
            if len(set(paths)) < len(copies) or len(set(artifacts)) < len(copies):
                return [self.add_copy(copy) for copy in copies]
            heard_of = rows.current_paths(self._database, paths) | rows.known_artifacts(self._database, artifacts)
            fresh = [
                (path, copy)
                for path, artifact, copy in zip(paths, artifacts, copies, strict=True)
                if not heard_of or (path not in heard_of and artifact not in heard_of)
            ]
            first = rows.next_id(self._database)
            added = {copy.path: _row(file_id, path, copy) for file_id, (path, copy) in enumerate(fresh, first)}
            rows.insert(self._database, list(added.values()))
            return [
                fresh_file(added[copy.path].id, copy) if copy.path in added else self.add_copy(copy) for copy in copies
            ]

    def add_recorded(self, artifacts: Iterable[Artifact]) -> int:
        """Take rows that the API holds for ends of files of ours; returns how many were unknown."""
        with self._database.transaction():
            unknown = [artifact for artifact in artifacts if not self.knows(str(artifact.id))]
            for artifact in unknown:
                # Other content of its path may lie on the volume now, or nothing.
                self._database.execute(
                    "INSERT INTO files (folder, path, current, fingerprint, state, suspect, settled_at, size,"
                    " artifact_id, digest, stored) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
                    os.fsencode(folder_of(artifact.path)),
                    os.fsencode(artifact.path),
                    text_of(Fingerprint(0, artifact.size, round(artifact.modified_at.timestamp() * 1e9), 0)),
                    FileState.SUSPECT if artifact.suspect else FileState.RECORDED,
                    artifact.suspect,
                    artifact.modified_at.timestamp(),
                    artifact.size,
                    str(artifact.id),
                    msgspec.json.encode(digest_of(artifact)),
                    _json_of(artifact.stored and encoded_digest_of(artifact.stored)),
                )
                self._sets.strike(arrived(self._file("artifact_id = ?", str(artifact.id))))
        return len(unknown)

    def add_refused(self, refusal: Refusal, fingerprint: Fingerprint, settled_at: float) -> None:
        """Remember that this content of a path can't even be copied."""
        with self._database.transaction():
            self._retire(refusal.path)
            self._database.execute(
                "INSERT INTO files (folder, path, current, fingerprint, state, settled_at, size, reason, message)"
                " VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)",
                os.fsencode(folder_of(refusal.path)),
                os.fsencode(refusal.path),
                text_of(fingerprint),
                lifecycle.step(FileState.SETTLED, Event.REFUSED),
                settled_at,
                fingerprint.size,
                refusal.reason,
                refusal.message,
            )

    def apply(self, file_id: int, *events: Event, reason: str = "", message: str = "", etag: str = "") -> FileState:
        """Let events happen to a file; returns the state it is in now (for a forgotten one, the last it was in)."""
        with self._database.transaction():
            ((state, suspect, upload_id),) = self._database.rows(
                "SELECT state, suspect, upload_id FROM files WHERE id = ?", file_id
            )
            before, after = lifecycle.through(FileState(state), events, suspect=bool(suspect))
            if after is None:
                self._database.execute("DELETE FROM files WHERE id = ?", file_id)
                return before
            self._database.execute(
                "UPDATE files SET state = ?, reason = ?, message = ?, etag = coalesce(nullif(?, ''), etag)"
                " WHERE id = ?",
                after,
                reason,
                message,
                etag,
                file_id,
            )
            if upload_id and after is not FileState.BUFFERED:
                self.set_upload(file_id, "")
            if not _TO_BE_FOUND.isdisjoint(events):
                self._database.execute("UPDATE files SET current = 0 WHERE id = ?", file_id)
            if Event.UNSHARED in events:
                self._database.execute("UPDATE files SET shared = NULL, etag = '' WHERE id = ?", file_id)
            if after in _IN_MANIFEST and self._sets.awaits_any:
                self._sets.strike(arrived(self._file("id = ?", file_id)))
            return after

    def apply_all(self, steps: Mapping[int, Progress]) -> None:
        """As `apply` for each of these files, by id; the usual steps in few statements."""
        with self._database.transaction():
            usual = {row.id: after for row in rows.read(self._database, steps) if (after := _after(row, steps[row.id]))}
            rows.advance(self._database, usual.values())
            if len(usual) == len(steps) and not self._sets.awaits_any:
                return
            for file_id, progress in steps.items():
                if file_id not in usual:
                    self.apply(file_id, *progress.events, etag=progress.etag)
                elif usual[file_id].state in _IN_MANIFEST and self._sets.awaits_any:
                    self._sets.strike(arrived(self._file("id = ?", file_id)))

    def share(self, file_id: int, recorded: RecordedContent) -> None:
        """Remember that the file's row will point at this object, until it is UNSHARED."""
        self._database.execute("UPDATE files SET shared = ? WHERE id = ?", msgspec.json.encode(recorded), file_id)

    def forget_uncopied(self) -> None:
        """Give files that never reached the buffer another try: rights and limits may be other ones by now."""
        self._database.execute("DELETE FROM files WHERE artifact_id IS NULL")

    def in_state(self, *states: FileState, after: int = 0, limit: int) -> list[JournaledFile]:
        """The first `limit` copied files in any of `states` whose id is greater than `after`, by id; none held."""
        found = self._database.rows(
            f"SELECT {COLUMNS} FROM files WHERE state IN ({marks(states)}) AND id > ?"  # noqa: S608
            " AND artifact_id IS NOT NULL AND NOT held ORDER BY id LIMIT ?",
            *states,
            after,
            limit,
        )
        return [journaled(row) for row in found]

    def held(self, *kinds: Held) -> list[tuple[JournaledFile, str]]:
        """The manifests that are held for one of these reasons, each with what was said about it."""
        found = self._database.rows(
            f"SELECT {COLUMNS}, message FROM files WHERE held IN ({marks(kinds)}) ORDER BY id",  # noqa: S608
            *kinds,
        )
        return [(journaled(row[:-1]), row[-1]) for row in found]

    def current(self, path: str) -> JournaledFile | None:
        """The copied content that `path` showed last."""
        return self._find("current AND path = ? AND artifact_id IS NOT NULL", os.fsencode(path))

    def content(self, artifact_id: UUID) -> JournaledFile | None:
        """The copied content that is this artifact."""
        return self._find("artifact_id = ?", str(artifact_id))

    def last_id(self) -> int:
        """The highest id there is; 0 without any."""
        ((last,),) = self._database.rows("SELECT coalesce(max(id), 0) FROM files")
        return int(last)

    def count(self, state: FileState) -> int:
        ((number,),) = self._database.rows("SELECT count(*) FROM files WHERE state = ?", state)
        return int(number)

    def refusals(self, limit: int) -> list[Refusal]:
        """The latest quarantined files."""
        found = self._database.rows(
            "SELECT path, reason, message FROM files WHERE state = ? ORDER BY id DESC LIMIT ?",
            FileState.QUARANTINED,
            limit,
        )
        return [Refusal(path=os.fsdecode(path), reason=reason, message=message) for path, reason, message in found]

    def refused_copies(self, reason: str) -> list[str]:
        """The copies of files that are quarantined for this reason."""
        found = self._database.rows(
            f"SELECT {COLUMNS} FROM files"  # noqa: S608
            " WHERE state = ? AND reason = ? AND artifact_id IS NOT NULL ORDER BY id",
            FileState.QUARANTINED,
            reason,
        )
        return [journaled(row).name for row in found]

    def buffered_names(self) -> set[str]:
        """The copies in the buffer that are still needed."""
        found = self._database.each(
            f"SELECT {COLUMNS} FROM files WHERE state IN ({marks(_NEED_THEIR_COPY)})"  # noqa: S608
            " AND artifact_id IS NOT NULL",
            *_NEED_THEIR_COPY,
        )
        return {journaled(row).name for row in found}

    def knows(self, name: str) -> bool:
        """Whether there is a row of the artifact of this name (its copy's or its own), in any state."""
        return bool(self._database.rows("SELECT 1 FROM files WHERE artifact_id = ?", name.partition(".")[0]))

    def recorded_artifacts(self) -> Iterator[str]:
        """The artifacts that the API acknowledged, sorted. Changing the journal ends this."""
        # By the index of artifacts, not by that of states: nothing is to be sorted, in memory or in a temporary file.
        rows = self._database.each(
            f"SELECT artifact_id FROM files WHERE +state IN ({marks(_IN_MANIFEST)})"  # noqa: S608
            " AND artifact_id IS NOT NULL ORDER BY artifact_id",
            *_IN_MANIFEST,
        )
        return (artifact for (artifact,) in rows)

    def totals(self) -> FileTotals:
        """Counted only when something changed: it goes over all files, and is asked for again and again."""
        if self._totals is None or self._totals[0] != self._database.changes:
            self._totals = self._database.changes, self._count_all()
        return self._totals[1]

    def _count_all(self) -> FileTotals:
        found = self._database.rows("SELECT state, count(*), sum(size) FROM files GROUP BY state")
        waiting = tuple(lifecycle.DUTIES)
        ((oldest,),) = self._database.rows(
            f"SELECT min(settled_at) FROM files WHERE state IN ({marks(waiting)})",  # noqa: S608
            *waiting,
        )
        return FileTotals(
            states={FileState(state): count for state, count, _ in found},
            bytes_recorded=sum(size for state, _, size in found if state in _IN_MANIFEST),
            oldest_settled_at=oldest,
        )

    def set_upload(self, file_id: int, upload_id: str) -> None:
        """Which multipart upload the file's parts go to; empty: none. Another upload has other parts."""
        with self._database.transaction():
            self._database.execute("DELETE FROM parts WHERE file = ?", file_id)
            self._database.execute("UPDATE files SET upload_id = ? WHERE id = ?", upload_id, file_id)

    def add_parts(self, file_id: int, parts: Iterable[Part]) -> None:
        """Remember parts that the store acknowledged."""
        with self._database.transaction():
            for part in parts:
                self._database.execute(
                    "INSERT OR REPLACE INTO parts (file, number, size, etag, crc32c) VALUES (?, ?, ?, ?, ?)",
                    *(file_id, part.number, part.size, part.etag, part.crc32c),
                )

    def parts(self, file_id: int) -> list[Part]:
        found = self._database.rows(
            "SELECT number, size, etag, crc32c FROM parts WHERE file = ? ORDER BY number", file_id
        )
        return [Part(number=number, size=size, etag=etag, crc32c=crc32c) for number, size, etag, crc32c in found]

    def _retire(self, path: str) -> None:
        """The path shows something else now. What was never copied is gone for good; copies go their way."""
        raw = os.fsencode(path)
        self._database.execute("DELETE FROM files WHERE current AND path = ? AND artifact_id IS NULL", raw)
        self._database.execute("UPDATE files SET current = 0 WHERE current AND path = ?", raw)

    def _renew(self, artifact: str) -> str:
        """The ETag of what the store acknowledged of a quarantined content before: it may be replaced. Else empty."""
        found = self._database.rows(
            "SELECT id, etag, shared FROM files WHERE artifact_id = ? AND state = ?", artifact, FileState.QUARANTINED
        )
        for quarantined, _, _ in found:
            self.apply(quarantined, Event.RENEWED)
        return next((str(etag) for _, etag, shared in found if shared is None), "")

    def _file(self, where: str, value: object) -> JournaledFile:
        file = self._find(where, value)
        assert file is not None
        return file

    def _find(self, where: str, value: object) -> JournaledFile | None:
        found = self._database.rows(f"SELECT {COLUMNS} FROM files WHERE {where}", value)  # noqa: S608
        return journaled(found[0]) if found else None


def _json_of(value: object) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _row(file_id: int, path: bytes, copy: Copy) -> Row:
    """The row of a content that the journal has never heard of; `path` as the volume has it."""
    return Row(
        id=file_id,
        folder=path.rpartition(b"/")[0],
        path=path,
        current=1,
        fingerprint=text_of(copy.fingerprint),
        state=_COPIED.value,
        suspect=int(copy.suspect),
        settled_at=float(copy.settled_at),
        size=copy.digests.content.size,
        artifact_id=copy.artifact,
        digest=msgspec.json.encode(copy.digests.content),
        stored=_json_of(copy.digests.stored),
        held=int(Held.UNREAD if is_manifest(copy.path) else Held.NO),
    )


def _after(row: Row, progress: Progress) -> Row | None:
    """The row after these events; None when more changes with them than the state."""
    _, after = _through(row.state, progress.events, bool(row.suspect))
    if after is None or row.upload_id or Event.UNSHARED in progress.events:
        return None
    return row._replace(state=after.value, etag=progress.etag or row.etag, reason="", message="")


@cache
def _through(state: str, events: tuple[Event, ...], suspect: bool) -> tuple[FileState, FileState | None]:
    """As lifecycle.through; there are few ways to go."""
    return lifecycle.through(FileState(state), events, suspect=suspect)
