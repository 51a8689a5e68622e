"""Sets: a manifest goes ashore after all the files that it names, or not at all.

Its copy is taken first, so the names stand fast whatever happens to the folder, and is then held in the journal.
Reading it makes two things: a promise to the intake that the named files are complete, and a list of what the manifest
waits for. When nothing of that list is left it goes the way of any file. A set that is not whole when the pod's writers
have ended never will be: its manifest is quarantined, and the reason names what is missing.
"""

import hashlib
import logging
import random
from collections.abc import Callable
from typing import Final
from uuid import UUID

from pinnace.ids import artifact_id
from pinnace.records import FileState
from pinnace_sidecar import backoff
from pinnace_sidecar.backoff import Backoff
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.files import Volume, wire_path
from pinnace_sidecar.intake import Intake
from pinnace_sidecar.journal import Awaited, Held, Journal, JournaledFile, arrived, satisfies
from pinnace_sidecar.lifecycle import DUTIES, Event
from pinnace_sidecar.manifest import MAX_MANIFEST_BYTES, InvalidManifest, Member, parse
from pinnace_sidecar.problems import Problems
from pinnace_sidecar.store_calls import CopyDamaged

_log = logging.getLogger(__name__)

#: How many files of a waiting set are looked at to find one that will not come.
_EXAMINED: Final = 100
#: How often that is done.
_EXAMINE_S: Final = 2.0
#: So often in a row a copy may fail to be read before it is given up.
_MAX_UNREAD: Final = 5
_INCOMPLETE: Final = "SetIncomplete"
_INVALID: Final = "ManifestInvalid"


class Sets:
    """One loop calls `advance` in each pass, and `give_up` when no file will come any more."""

    def __init__(
        self,
        *,
        iteration_id: UUID,
        journal: Journal,
        buffer: Buffer,
        volume: Volume,
        intake: Intake,
        copy_again: Callable[[JournaledFile], None],
        problems: Problems,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._iteration_id = iteration_id
        self._journal = journal
        self._buffer = buffer
        self._volume = volume
        self._intake = intake
        self._copy_again = copy_again
        self._problems = problems
        self._clock = clock
        self._rng = rng
        #: Manifests whose copy could not be read, by the id of their file.
        self._unread: dict[int, Backoff] = {}
        self._examined_at = -_EXAMINE_S
        self._said: set[str] = set()

    def held(self) -> int:
        """How many manifests are held back."""
        return self._journal.sets.held()

    def advance(self) -> None:
        """Read the manifests that are new, and hand out those whose sets are whole."""
        if not self.held():
            self._unread.clear()
            if self._said:
                self._tell({})
            return
        now = self._clock.monotonic()
        unread = [file for file, _ in self._journal.files.held(Held.UNREAD)]
        self._unread = {file.id: self._unread.get(file.id, backoff.NONE) for file in unread}
        for file in unread:
            if self._unread[file.id].due(now):
                with self._journal.transaction():
                    self._read(file)
                self._intake.wake()
        self._journal.sets.release_complete()
        if now - self._examined_at >= _EXAMINE_S:
            self._examined_at = now
            self._examine()

    def due_in(self) -> float | None:
        """Seconds until a manifest is to be read again; None when all have been read."""
        now = self._clock.monotonic()
        return min((max(0.0, pause.due_at - now) for pause in self._unread.values()), default=None)

    def give_up(self, *, on_volume: bool) -> None:
        """No file will come any more: every set that is not whole comes to its end. `on_volume`: whether the volume
        can be asked if the manifest is still meant.
        """
        gone: list[JournaledFile] = []
        with self._journal.transaction():
            for file, mistake in self._journal.files.held(Held.WAITING, Held.INVALID):
                if self._withdrawn(file, on_volume=on_volume):
                    self._journal.files.apply(file.id, Event.WITHDRAWN)
                    gone.append(file)
                    continue
                reason = _INVALID if mistake else _INCOMPLETE
                message = mistake or f"{wire_path(file.path)} is not recorded: {self._why(file, ended=True)}"
                self._journal.files.apply(file.id, Event.REFUSED, reason=reason, message=message)
                _log.error(message, extra={"reason": reason, "path": wire_path(file.path)})
                self._journal.sets.release(file.id)
        for file in gone:
            self._buffer.remove(file.name)
        self._tell({})

    # --- reading

    def _read(self, file: JournaledFile) -> None:
        try:
            members = parse(self._text(file), file.path)
        except OSError as error:
            self._failed(file, error)
            return
        except InvalidManifest as error:
            if file.suspect:
                # Torn when its writer was killed: it speaks for no set, and goes ashore marked as what it is.
                self._journal.sets.release(file.id)
            else:
                self._journal.sets.reject(file.id, str(error)[:1000])
        else:
            awaited = [self._awaited(member) for member in members]
            there = {each.path: found.artifact_id for each in awaited if (found := self._there(each))}
            missing = [each for each in awaited if each.path not in there]
            self._journal.sets.wait_for(file.id, missing, there.values())
            if file.suspect:
                # Half a JSON object is none, so its writer's end has not torn it.
                self._journal.files.clear(file)
        self._unread.pop(file.id, None)

    def _text(self, file: JournaledFile) -> bytes:
        """What the copy of a manifest says; more than it may if it is too large. OSError when it is not what it was."""
        with self._buffer.open(file.name) as copy:
            text = copy.read(min(file.digest.size, MAX_MANIFEST_BYTES + 1))
        if len(text) <= MAX_MANIFEST_BYTES and hashlib.sha256(text).hexdigest() != file.digest.sha256:
            raise OSError(f"the copy of {file.path} is not what it was")
        return text

    def _failed(self, file: JournaledFile, error: OSError) -> None:
        pause = self._unread.pop(file.id, backoff.NONE).failed(self._clock.monotonic(), self._rng)
        _log.warning("a manifest can't be read", extra={"path": wire_path(file.path), "error": str(error)})
        if pause.failures < _MAX_UNREAD:
            self._unread[file.id] = pause
            return
        if not self._withdrawn(file, on_volume=True):
            # At once, so that nothing of its set is taken for torn meanwhile.
            message = f"{error}; it was to be copied again"
            self._journal.files.apply(file.id, Event.LOST, reason=CopyDamaged.code, message=message)
            self._copy_again(file)
        self._journal.sets.release(file.id)

    def _awaited(self, member: Member) -> Awaited:
        if member.sha256 is not None:
            wanted = artifact_id(self._iteration_id, wire_path(member.path), member.sha256)
            return Awaited(path=member.path, size=member.size, artifact_id=wanted)
        # Without a digest the version is meant that lies there now, or lay there last.
        found = self._volume.fingerprint(member.path)
        if found is None and (current := self._journal.files.current(member.path)):
            found = current.fingerprint
        return Awaited(path=member.path, size=member.size, mtime_ns=found.mtime_ns if found else None)

    def _there(self, awaited: Awaited) -> JournaledFile | None:
        file = self._candidate(awaited)
        return file if file is not None and satisfies(arrived(file), awaited) else None

    def _candidate(self, awaited: Awaited) -> JournaledFile | None:
        files = self._journal.files
        return files.content(awaited.artifact_id) if awaited.artifact_id else files.current(awaited.path)

    # --- telling

    def _examine(self) -> None:
        """Say which sets will stay incomplete unless somebody does something."""
        found: dict[str, tuple[str, str]] = {}
        for file, message in self._journal.files.held(Held.WAITING, Held.INVALID):
            if self._withdrawn(file, on_volume=True):
                continue
            if message:
                found[f"set {file.path}"] = (_INVALID, message)
            elif why := self._why(file, ended=False):
                found[f"set {file.path}"] = (_INCOMPLETE, f"{wire_path(file.path)} waits: {why}")
        self._tell(found)

    def _tell(self, found: dict[str, tuple[str, str]]) -> None:
        for subject in self._said - set(found):
            self._problems.cleared(subject)
        for subject, (reason, message) in found.items():
            self._problems.raised(subject, reason, message, self._clock.monotonic())
        self._said = set(found)

    def _withdrawn(self, file: JournaledFile, *, on_volume: bool) -> bool:
        current = self._journal.files.current(file.path)
        if current is None or current.id != file.id:
            return True
        return on_volume and self._volume.fingerprint(file.path) != file.fingerprint

    def _why(self, manifest: JournaledFile, *, ended: bool) -> str:
        """Why a set is not whole, by the first file that will not come; empty when all may still come."""
        limit = 1 if ended else _EXAMINED
        for awaited in self._journal.sets.awaited(manifest.id, limit):
            if why := self._why_not(awaited, ended=ended):
                return f"{wire_path(awaited.path)} {why}"
        return ""

    def _why_not(self, awaited: Awaited, *, ended: bool) -> str:
        if self._intake.leaves_out(awaited.path):
            return "is left out by the patterns of what to ship"
        candidate = self._candidate(awaited)
        if candidate is not None and candidate.state is FileState.QUARANTINED:
            return "can't be shipped"
        found = self._volume.fingerprint(awaited.path)
        if found is None and candidate is None:
            return "is not there"
        if found is not None and awaited.size not in (None, found.size):
            return f"has {found.size} bytes, and the manifest says {awaited.size}"
        current = self._journal.files.current(awaited.path)
        settled = current is not None and current.state not in DUTIES and current.fingerprint == found
        if settled or ended:
            return "is not what the manifest names" if awaited.artifact_id else "is not as it was or is suspect"
        return ""
