"""What must hold, judged from outside: by the volume's ledger, the store's objects and the API's rows."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from pinnace.digests import manifest_sha256
from pinnace.ids import artifact_id, is_own_key
from pinnace.records import Artifact, FileState, PodReport
from pinnace_sidecar.journal import JournaledFile
from pinnace_sidecar.manifest import is_manifest
from support.simulation.api import SimulatedApi
from support.simulation.disk import COPIES, copies_in
from support.simulation.filesystem import FileSystem
from support.simulation.machine import Machine
from support.simulation.store import SimulatedStore
from support.simulation.training import METRICS, Training
from support.store_content import content_of

_EXCLUDED: Final = (".tmp", ".done")
_ENDS: Final = {FileState.RECORDED, FileState.SUSPECT, FileState.EXCLUDED}


class Oracle:
    """Collects what is wrong in `violations`; the first one is the interesting one."""

    store: SimulatedStore
    api: SimulatedApi
    training: Training
    #: Copies that the disk spoilt: what is gone from the volume too can't be had any more.
    rotten: set[str]

    def __init__(self, machine: Machine, buffer: FileSystem, *, iteration: UUID, prefix: str, limit: int) -> None:
        self._machine = machine
        self._buffer = buffer
        self._iteration = iteration
        self._prefix = prefix
        #: The same content may be compressed anew, to other bytes. What was sent before and got lost on the way to its
        #: row then stays behind without one.
        self.recompressing = False
        self._limit = limit
        self.violations: list[str] = []
        #: Contents whose copy the journal knew, by artifact; with their path.
        self.acknowledged: dict[UUID, str] = {}
        #: Keys that hold the right bytes.
        self._landed: set[str] = set()
        #: Keys that the sidecar was shown to hold them, and those that it has sent and not looked at since.
        self._shown: set[str] = set()
        self._unseen: set[str] = set()
        #: Keys whose object got lost: another one that comes late has not the ETag that was acknowledged.
        self._replaced: set[str] = set()
        self.final: PodReport | None = None
        self.journal_was_damaged = False

    def violated(self, words: str) -> None:
        self._machine.note("!!!", words)
        self.violations.append(f"at {self._machine.elapsed:.3f} s: {words}")

    # --- while it runs

    def journaled(self, files: Iterable[JournaledFile]) -> None:
        """These copies are durable, as the journal has it: from now on their bytes may not get lost."""
        for file in files:
            if file.artifact_id not in self.acknowledged:
                self.acknowledged[file.artifact_id] = file.path
                name = file.name
                if name not in self.rotten and not self._survives(name):
                    self.violated(f"the copy of {file.path} is journaled, and would not survive a power cut")
                if bytes.fromhex(file.digest.sha256) not in self.training.history.get(file.path, set()):
                    self.violated(f"{file.path} was copied with a content that it never had")

    def _survives(self, name: str) -> bool:
        listing = self._buffer.listing(COPIES)
        return any(
            name in copies_in(file, inode.data) and self._buffer.survives(f"{COPIES}/{file}")
            for file, inode in listing.items()
        )

    def grew(self, size: int) -> None:
        if size > self._limit:
            self.violated(f"the buffer holds {size} bytes, and {self._limit} are allowed")

    def begun(self, key: str) -> None:
        """An object is about to be sent, or an upload of it to be begun."""
        if key in self._shown and key not in self._replaced:
            self.violated(f"{key} is sent again although the store showed that it has it")
        elif key in self._landed and key in self._unseen:
            self.violated(f"{key} is sent again without looking")

    def sent(self, key: str) -> None:
        """An object is on its way to the store, or has come there in parts and is to be made of them."""
        self._unseen.add(key)

    def looked(self, key: str) -> None:
        """The store is asked what it holds."""
        self._unseen.discard(key)
        if key in self._landed:
            self._shown.add(key)

    def stored(self, key: str) -> None:
        """The store holds the right bytes."""
        self._landed.add(key)

    def lost(self, key: str) -> None:
        """The store has lost what it acknowledged."""
        self._replaced.add(key)
        for known in (self._landed, self._shown, self._unseen):
            known.discard(key)

    def told(self, rows: Sequence[Artifact]) -> None:
        """Rows arrive at the API."""
        for row in rows:
            held = self.store.objects.get(row.location.key)
            if held is None:
                self.violated(f"a row of {row.path} comes before its object")
            elif content_of(row, held.data) is None:
                self.violated(f"a row of {row.path} comes, and the object has other bytes")
            if not self._is_own(row, row.location.key):
                self._machine.note("  row of", row.path, "shares an object")
                if not self._is_another(row):
                    self.violated(f"the row of {row.path} names the wrong key")
            if bytes.fromhex(row.sha256) not in self.training.history.get(row.path, set()):
                self.violated(f"{row.path} never had the content of its row")

    def _is_another(self, row: Artifact) -> bool:
        """Whether the row's object is that of another artifact with the same content, which is recorded."""
        rows = self.api.truth.rows.values()
        return any(
            (other.sha256, other.stored) == (row.sha256, row.stored) and self._is_own(other, row.location.key)
            for other in rows
        )

    def _is_spoilt(self, key: str) -> bool:
        """Whether it was to hold what a copy that rotted did."""
        return key.rpartition("/")[2] in self.rotten

    def _is_own(self, row: Artifact, key: str) -> bool:
        return key.startswith(f"{self._prefix}/") and is_own_key(key, row.id, row.stored.sha256 if row.stored else "")

    def reported(self, report: PodReport, said_at: float) -> None:
        """A report arrives at the API."""
        if not report.final:
            return
        self.final = report
        if self.training.over_at is None:
            self.violated("the final report comes while writers write")
        else:
            if said_at > self.training.cut_at:  # else the volume is not any more what it is about
                self._all_is_there("final report")
            self._final_states(report)

    def settled(self) -> None:
        """Writers are quiet and nothing failed for minutes: everything but growing files must be recorded."""
        self._all_is_there("quiet", growing=False)

    # --- at the end

    def ended(self) -> None:
        """The sidecar has said its last word, and all that was late has come."""
        if self.final is None:
            self.violated("there is no final report")
            return
        self._all_is_there("end")
        given_up = self._manifests_not_recorded()
        for upload in self.store.uploads:
            is_given_up = self._is_spoilt(upload.key) or upload.key.rpartition("/")[2] in given_up
            if is_given_up and self.journal_was_damaged:
                continue  # nobody knows any more what it was to become
            self.violated(f"{upload.upload_id} of {upload.key} is left dangling")
        mine = [artifact for _, artifact in self.api.truth.sources]
        if (len(mine), manifest_sha256(mine)) != (self.final.manifest.count, self.final.manifest.sha256):
            self.violated(f"the final report counts {self.final.manifest.count} artifacts, the API {len(mine)}")
        worthless = self.rotten | given_up
        for file, inode in self._buffer.listing(COPIES).items():
            # One that was given up is empty.
            if worthless.isdisjoint(copies_in(file, inode.data) if inode.data else self.rotten):
                self.violated(f"the copy {file} is left in the buffer")
        rows = self.api.truth.rows.values()
        for key in self.store.objects:
            is_former = self.recompressing and any(str(row.id) in key for row in rows)
            if not (is_former or self._is_spoilt(key) or any(self._is_own(row, key) for row in rows)):
                self.violated(f"the object {key} has no row")

    def _manifests_not_recorded(self) -> set[str]:
        """Copies of manifests that were given up; they lie in packs with others, maybe."""
        contents = ((path, sha256) for path, known in self.training.history.items() for sha256 in known)
        ids = (artifact_id(self._iteration, path, sha256.hex()) for path, sha256 in contents if is_manifest(path))
        return {str(id_) for id_ in ids if id_ not in self.api.truth.rows}

    def suspects(self, *, since: float, clean: bool) -> None:
        """Which rows must be suspect, and which must not. `since`: files written later may be torn."""
        rows = {(row.path, row.sha256): row for row in self.api.truth.rows.values()}
        for path, inode in self.training.files().items():
            row = rows.get((path, hashlib.sha256(inode.data).hexdigest()))
            if row is None:
                continue
            if clean and row.suspect:
                self.violated(f"{path} is suspect, and its writer ended well")
            torn = path in self.training.unfinished and self.training.written_at.get(path, 0.0) > since
            if not clean and torn and not row.suspect:
                self.violated(f"{path} was torn by its writer's end, and is not suspect")

    def _all_is_there(self, when: str, *, growing: bool = True) -> None:
        rows = Counter((row.path, row.sha256) for row in self.api.truth.rows.values())
        for path, inode in self.training.files().items():
            if path.endswith(_EXCLUDED) or (path == METRICS and not growing):
                continue
            number = rows[path, hashlib.sha256(inode.data).hexdigest()]
            if number != 1 and not (number == 0 and self._speaks_for_nothing(path)):
                self.violated(f"{when}: {number} rows of {path} as it lies on the volume")
        for artifact, path in self.acknowledged.items():
            is_rotten = any(name.startswith(str(artifact)) for name in self.rotten)
            if artifact not in self.api.truth.rows and not is_rotten and not is_manifest(path):
                self.violated(f"{when}: no row of {path} ({artifact}), which was copied")
        for row in self.api.truth.rows.values():
            held = self.store.objects.get(row.location.key)
            if held is None or content_of(row, held.data) is None:
                self.violated(f"{when}: the row of {row.path} has no bytes")
            if row.id != artifact_id(self._iteration, row.path, row.sha256):
                self.violated(f"{when}: the row of {row.path} has a wrong id")
        if growing:
            self._points(when)
            self._sets(when)

    def _speaks_for_nothing(self, path: str) -> bool:
        """Whether it is a manifest of files that are not what they were when it was written."""
        return is_manifest(path) and path not in self.training.sets

    def _sets(self, when: str) -> None:
        """A set that was written whole is ashore as one, however its writer ended."""
        rows = {(row.path, row.sha256): row for row in self.api.truth.rows.values()}
        files = self.training.files()
        for manifest, shards in self.training.sets.items():
            own = hashlib.sha256(files[manifest].data).hexdigest()
            for path, digest in [*shards.items(), (manifest, own)]:
                row = rows.get((path, digest))
                if row is None or (row.suspect and manifest not in self.training.repeated):
                    self.violated(f"{when}: {manifest} is whole, and {path} of it is {'suspect' if row else 'missing'}")

    def _points(self, when: str) -> None:
        points = Counter(step for _, step, _, _ in self.api.truth.points)
        # A damaged journal takes along which generation of a metric file this is: that is a known limit.
        may_repeat = self.journal_was_damaged and bool(self.training.rotated)
        for step, times in points.items():
            if times > 1 and not may_repeat:
                self.violated(f"{when}: the point of step {step} is there {times} times")
        missing = [step for step in self.training.lines if step not in points and step not in self.training.rotated]
        if missing:
            self.violated(f"{when}: no points of steps {missing}")

    def _final_states(self, report: PodReport) -> None:
        unfinished = {state: count for state, count in report.files.items() if state not in _ENDS}
        given_up = sum(self._speaks_for_nothing(path) for path in self.training.files())
        if unfinished.get(FileState.QUARANTINED, 0) <= len(self.rotten) + given_up:
            unfinished.pop(FileState.QUARANTINED, None)
        if unfinished:
            self.violated(f"a final report with {unfinished}")
        if not report.files.get(FileState.QUARANTINED, 0):
            for artifact in self.acknowledged.keys() - self.api.truth.rows.keys():
                if not is_manifest(self.acknowledged[artifact]):
                    self.violated(f"the final report says that all is well, and {self.acknowledged[artifact]} is lost")
        recorded = report.files.get(FileState.RECORDED, 0) + report.files.get(FileState.SUSPECT, 0)
        if recorded != report.manifest.count:
            self.violated(f"{recorded} files at their end, and {report.manifest.count} in the manifest")
