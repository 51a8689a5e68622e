"""What is on the volume now, which of it is complete, and which of it the journal knows already.

Every look is a full scan; whatever woke us only decides when. Memory holds files that are not copied yet, up to a
limit, and during a scan a piece of one folder: what is dealt with stands in the journal, which is asked piece by piece.
Files beyond the limit wait, and a later look finds them again.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from pinnace.naming import DONE_SUFFIX
from pinnace.records import FileState
from pinnace.settings import SidecarSettings
from pinnace_sidecar import lifecycle
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.completeness import Ending, Evidence, Verdict, Writer, judge, writers_may_write
from pinnace_sidecar.files import Fingerprint, Folder, Volume
from pinnace_sidecar.inotify import Watcher
from pinnace_sidecar.journal import Promise
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.manifest import is_manifest
from pinnace_sidecar.patterns import Patterns
from pinnace_sidecar.sighting import Sighting
from pinnace_sidecar.writing import REST_S, Writing

_log = logging.getLogger(__name__)

#: A manifest that so many tries to copy it could not read, within some minutes, holds up nobody any longer.
_MAX_FAILURES: Final = 10
#: With inotify at work, a scan without any reason finds what its events missed. Such scans come the less often the
#: longer they take, up to a limit: the last one, when the writers have ended, is what completeness rests on.
IDLE_S: Final = 60.0
LONGEST_IDLE_S: Final = 300.0
_IDLE_SHARE: Final = 1000.0
#: Without inotify, scans are all there is.
POLL_S: Final = 2.0
#: Scans take at most one fiftieth of the time, so that a hundred thousand files cost no more of a core than ten; but a
#: slow volume puts off the next one for IDLE_S at most. Files that a scan finds new or complete pay for it: it may cost
#: so much for each, less than shipping one. Even so it looks at all there is, and pauses for ten times as long.
_SHARE: Final = 50.0
_WORTH_S: Final = 100e-6
_PAID_SHARE: Final = 10.0
_SHORTEST_PAUSE_S: Final = 0.05


class Intake:
    """The volume's side of the sidecar. `known` is the journal's knowledge of some files, `promises` what manifests say
    of them, `unread` how many of these nobody has read yet, `is_late` whether time is short. At most `places` files are
    held in memory, twice as many with manifests; `much_bytes` is what `writing` takes for much.
    """

    def __init__(
        self,
        settings: SidecarSettings,
        *,
        volume: Volume,
        watcher: Watcher,
        known: Callable[[Sequence[str]], Mapping[str, Fingerprint]],
        promises: Callable[[Sequence[str]], Mapping[str, Promise]],
        unread: Callable[[], int],
        is_late: Callable[[], bool],
        clock: Clock,
        places: int,
        much_bytes: int,
    ) -> None:
        self._settings = settings
        self._include = Patterns(settings.include)
        self._exclude = Patterns(settings.exclude)
        self._metrics = Patterns(settings.metrics_files)
        self._volume = volume
        self._watcher = watcher
        self._known = known
        self._promises = promises
        self._unread = unread
        self._is_late = is_late
        self._clock = clock
        self._places = places
        #: Of the latest look: files that found no place, files with one that can't settle, and whether these give way.
        self._waiting = 0
        self._unsettling = 0
        self._crowded = False
        self._sightings: dict[str, Sighting] = {}
        self._settled: deque[Sighting] = deque()
        #: How many sightings are settled; counting them in each pass would cost more than shipping them.
        self._settled_count = 0
        #: When the earliest unsettled file was seen as it is; infinity without any.
        self._unsettled_since = math.inf
        self._renamed: set[str] = set()
        self._looks = self._looks_at_end = 0
        self._last_began = self._last_ended = clock.monotonic()
        #: How many files the latest look found new, changed or complete.
        self._found = 0
        self._woken = True
        self.ending: Ending | None = None
        self._much_bytes = much_bytes
        #: What is being written to the volume, as far as the looks can tell.
        self.writing = Writing()
        #: Of the latest look: files left out, and folders that could not be read (with the reason).
        self.excluded = 0
        self.unreadable: tuple[Folder, ...] = ()
        #: Large folders in which a marker was seen: it may lie in another piece of it than its file.
        self._marked_folders: set[str] = set()
        #: Metric files seen so far.
        self.metric_files: set[str] = set()

    # --- what others ask

    @property
    def looks(self) -> int:
        """How many scans there have been."""
        return self._looks

    def states(self) -> dict[FileState, int]:
        """How many files are seen, settled and excluded."""
        return {
            FileState.SEEN: len(self._sightings) - self._settled_count + self._waiting,
            FileState.SETTLED: self._settled_count,
            FileState.EXCLUDED: self.excluded,
        }

    def oldest_settled_at(self) -> float | None:
        """When the oldest file that is complete and not copied yet became so."""
        return min((s.settled_at for s in self._sightings.values() if s.state is FileState.SETTLED), default=None)

    def ready(self) -> Iterator[Sighting]:
        """Complete files that nobody has taken, in the order in which they became so.

        Whoever takes one says so by `taken` before asking for the next.
        """
        passed: list[Sighting] = []
        try:
            while self._settled:
                sighting = self._settled.popleft()
                gone = self._sightings.get(sighting.path) is not sighting or sighting.state is not FileState.SETTLED
                if gone or sighting.taken:  # one that changed and settled again stands here twice
                    continue
                passed.append(sighting)
                yield sighting
        finally:
            self._settled.extendleft(sighting for sighting in reversed(passed) if not sighting.taken)

    def looked_since_end(self) -> bool:
        """Whether a whole scan came after the news that the writers have ended."""
        return self.ending is not None and self._looks_at_end < self._looks

    def leaves_out(self, path: str) -> bool:
        """Whether the file at `path` is not to be shipped."""
        if self._settings.markers and path.endswith(DONE_SUFFIX):
            return True
        return not self._include.match(path) or self._exclude.match(path)

    # --- what others tell

    def wake(self) -> None:
        """There is a reason to look again."""
        self._woken = True

    def end(self, ending: Ending) -> None:
        """The writers are said to have ended, or how they ended became known."""
        if self.ending is None:
            self._looks_at_end = self._looks
        self.ending = ending
        self._woken = True

    def look_again(self) -> None:
        """Something that had been dealt with has to be found anew; no look before this counts as the last one."""
        self._looks_at_end = self._looks
        self._woken = True

    def give_back(self, sighting: Sighting) -> None:
        """It could not be copied this time: it is ready again."""
        sighting.taken = False
        self._settled.append(sighting)

    def happened(self, sighting: Sighting, event: Event) -> None:
        """What came of copying a file: COPIED, CHANGED, VANISHED or REFUSED."""
        sighting.taken = False
        current = self._sightings.get(sighting.path)
        if current is not sighting:
            return
        after = lifecycle.step(sighting.state, event)
        if after is FileState.SEEN:
            self._turn(sighting, after)
            sighting.looks, sighting.since = 0, self._clock.monotonic()
            self._woken = True
        else:
            self._forget(sighting.path)

    # --- looking

    def due_in(self) -> float:
        """Seconds until the next look is worth while; 0 or less: now."""
        now = self._clock.monotonic()
        took = self._last_ended - self._last_began
        pause = took - self._found * _WORTH_S
        if self.ending is None and not self._has_places_again():  # else nobody is to be spared, or files wait for looks
            pause = max(_SHARE * pause, _PAID_SHARE * took)
        pause = max(_SHORTEST_PAUSE_S, min(pause, IDLE_S))
        return self._last_ended + max(pause, self._wanted_pause()) - now if self._looks else 0.0

    def _wanted_pause(self) -> float:
        if self._woken or self._watcher.stirred or self._has_places_again():
            return 0.0
        # A root that is gone can't tell us that it is there again.
        pause = POLL_S
        if self._watcher.works and not self.unreadable:
            pause = max(IDLE_S, min(_IDLE_SHARE * (self._last_ended - self._last_began), LONGEST_IDLE_S))
        if self.writing.much_at is not None:
            pause = min(pause, REST_S)
        settles_at = self._unsettled_since + self._settings.settle_seconds
        pause = min(pause, max(0.0, settles_at - self._last_ended))
        if self.ending is not None and self._sightings:
            pause = min(pause, 1.0)
        return pause

    def _has_places_again(self) -> bool:
        """Whether files wait for a place and enough are free to be worth a look."""
        return self._waiting > 0 and len(self._sightings) - self._unsettling <= self._places // 2

    def look(self) -> None:
        """Scan the volume once and judge every file on it that is not copied yet."""
        self._woken = False
        self._last_began = self._clock.monotonic()
        self._looks += 1
        self._found = 0
        waited, self._waiting = self._waiting, 0
        self._crowded = waited > 0 and writers_may_write(self.ending)
        excluded = total = 0
        unreadable: list[Folder] = []
        # A rename may be told before the scan comes to the folder, or after: it counts for two looks.
        fresh = self._renames()
        renamed, self._renamed = self._renamed | fresh, fresh
        for folder in self._volume.scan(self._watcher.enter):
            if folder.problem:
                unreadable.append(folder)
                self._keep(folder.path)
            else:
                excluded += self._look_into(folder, renamed)
                total += sum(entry.fingerprint.size for entry in folder.entries if entry.fingerprint)
        self.writing = self.writing.after(total, self._last_began, self._much_bytes)
        self._drop_vanished()
        self._settle_torn()
        seen = [sighting for sighting in self._sightings.values() if sighting.state is FileState.SEEN]
        self._unsettled_since = min((s.since for s in seen if not s.unsettling), default=math.inf)
        self._unsettling = sum(s.unsettling for s in seen)
        self.excluded, self.unreadable = excluded, tuple(unreadable)
        if self._waiting and not waited:
            _log.info("files wait for those seen before them", extra={"files": self._waiting})
        self._last_ended = self._clock.monotonic()

    def _renames(self) -> set[str]:
        # Only out of an excluded name: who renames another file may go on writing to it (log rotation does).
        return {move.target for move in self._watcher.take_moves() if self._exclude.match(move.source)}

    def _look_into(self, folder: Folder, renamed: set[str]) -> int:
        """Judge the files of one folder, or of a piece of it; returns how many of them are left out."""
        paths = [entry.path for entry in folder.entries]
        known = self._known([path for path in paths if path not in self._sightings])  # what is held is not dealt with
        promises = self._promises(paths)
        markers, excluded = self._markers(folder), 0
        if markers and not folder.whole and folder.path not in self._marked_folders:
            self._marked_folders.add(folder.path)
            self._woken = True  # for what was judged before
        for entry in folder.entries:
            path, fingerprint = entry.path, entry.fingerprint
            grows = fingerprint is not None and self._metrics.match(path)
            if grows:
                self.metric_files.add(path)
            excluded += fingerprint is None
            if fingerprint is None or known.get(path) == fingerprint:
                continue
            if path not in self._sightings and self.leaves_out(path):
                excluded += 1
            elif self._has_place(path, fingerprint):
                sighting = self._see(path, fingerprint, grows=grows)
                sighting.renamed = sighting.renamed or path in renamed
                if sighting.state is FileState.SEEN:
                    marked = markers.get(path, -1) >= fingerprint.mtime_ns
                    if not marked and folder.path in self._marked_folders:
                        marked = self._is_marked_elsewhere(path, fingerprint)
                    self._judge(sighting, marked=marked, promise=promises.get(path))
        return excluded

    def _has_place(self, path: str, found: Fingerprint) -> bool:
        """Whether a file is held in memory, or can be."""
        held = self._sightings.get(path)
        if held is not None and self._crowded and held.gives_way(found):
            self._forget(path)
            fits = False
        else:
            # Nothing is torn before the manifests are read, so these find a place where the others have none left.
            places = self._places * (2 if is_manifest(path) else 1)
            fits = held is not None or len(self._sightings) < places
        self._waiting += not fits
        return fits

    def _is_marked_elsewhere(self, path: str, fingerprint: Fingerprint) -> bool:
        """Whether a file of a large folder has a marker in another piece of it."""
        marker = self._volume.fingerprint(path + DONE_SUFFIX)
        return marker is not None and marker.mtime_ns >= fingerprint.mtime_ns

    def _markers(self, folder: Folder) -> dict[str, int]:
        """The names marked as complete in a folder, with the marker's own mtime in nanoseconds."""
        if not self._settings.markers:
            return {}
        return {
            entry.path.removesuffix(DONE_SUFFIX): entry.fingerprint.mtime_ns
            for entry in folder.entries
            if entry.fingerprint is not None and entry.path.endswith(DONE_SUFFIX)
        }

    def _see(self, path: str, fingerprint: Fingerprint, *, grows: bool) -> Sighting:
        sighting = self._sightings.get(path)
        if sighting is None or (sighting.taken and sighting.fingerprint != fingerprint):
            # The copy under way is of the file as it was; its outcome finds that it speaks of another sighting.
            self._forget(path)
            sighting = Sighting(path, fingerprint, self._last_began, grows=grows)
            self._sightings[path] = sighting
            self._found += 1
        elif sighting.fingerprint != fingerprint:
            after = lifecycle.step(sighting.state, Event.CHANGED)
            assert after is not None
            self._turn(sighting, after)
            sighting.fingerprint, sighting.since = fingerprint, self._last_began
            sighting.looks, sighting.renamed, sighting.written = 1, False, False
            self._found += 1
        elif sighting.number != self._looks:
            sighting.looks += 1
        sighting.number = self._looks
        return sighting

    def _judge(self, sighting: Sighting, *, marked: bool, promise: Promise | None) -> None:
        evidence = Evidence(
            modified_at=sighting.fingerprint.mtime_ns / 1e9,
            unchanged_for=self._last_began - sighting.since,
            looks=sighting.looks,
            marked=marked,
            renamed=sighting.renamed,
            promised=promise is not None and promise.holds(sighting.fingerprint),
            grows=sighting.grows,
        )
        verdict = judge(evidence, self._settings.settle_seconds, self.ending)
        if verdict is Verdict.ASK:
            evidence = msgspec.structs.replace(evidence, writer=self._volume.writer(sighting.path))
            verdict = judge(evidence, self._settings.settle_seconds, self.ending)
            sighting.written = evidence.writer is Writer.OPEN
        sighting.suspect = verdict is Verdict.TORN
        if verdict is Verdict.COMPLETE or (sighting.suspect and is_manifest(sighting.path)):
            self._settle(sighting)

    def _settle_torn(self) -> None:
        """Nothing counts as torn before every manifest has been read, if it can be: one may say that it is complete."""
        if self.ending is None or self._awaits_manifests():
            return
        for sighting in self._sightings.values():
            if sighting.suspect and sighting.state is FileState.SEEN:
                self._settle(sighting)

    def _awaits_manifests(self) -> bool:
        # When time is short each still has a first try: how the writers ended may be known, or given up, only now.
        most, unread = (1, 0) if self._is_late() else (_MAX_FAILURES, self._unread())
        held = self._sightings.values()
        return unread > 0 or any(is_manifest(s.path) and s.failures < most for s in held)

    def _settle(self, sighting: Sighting) -> None:
        after = lifecycle.step(sighting.state, Event.SETTLED)
        assert after is not None
        self._turn(sighting, after)
        self._found += 1
        sighting.settled_at = self._clock.now()
        self._settled.append(sighting)

    def _turn(self, sighting: Sighting, state: FileState) -> None:
        self._settled_count += (state is FileState.SETTLED) - (sighting.state is FileState.SETTLED)
        sighting.state = state

    def _forget(self, path: str) -> None:
        sighting = self._sightings.pop(path, None)
        if sighting is not None and sighting.state is FileState.SETTLED:
            self._settled_count -= 1

    def _keep(self, folder: str) -> None:
        """A folder that can't be read at the moment: what was seen in it has not vanished, and is judged later."""
        inside = f"{folder}/" if folder else ""
        for path, sighting in self._sightings.items():
            if path.startswith(inside):
                sighting.number = self._looks
                sighting.suspect = sighting.suspect and sighting.state is not FileState.SEEN

    def _drop_vanished(self) -> None:
        for path, sighting in list(self._sightings.items()):
            if sighting.number != self._looks and not sighting.taken:
                lifecycle.step(sighting.state, Event.VANISHED)
                self._forget(path)
                _log.info("disappeared before it was complete", extra={"path": path})
