"""From the buffer to the store: hands out errands for the files under way and turns the answers into steps.

Two kinds of pauses: a file's own, when only it fails, and the store's, when every file would fail; then one errand at a
time finds out whether it works again. Nothing is given up: a file ends in quarantine only when the store says that
this very file can't be stored.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pinnace.ids import object_key
from pinnace.records import FileState
from pinnace.stores.store import CorruptContent, Multipart, NoSuchMultipart, StoreError
from pinnace_sidecar import backoff
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.crash import Crash, CrashPoint
from pinnace_sidecar.hands import Hands
from pinnace_sidecar.journal import Journal, JournaledFile
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.porter import (
    Acknowledged,
    Answer,
    Compared,
    CopyDamaged,
    Failed,
    Found,
    Listed,
    Opened,
    Porter,
    Sent,
)
from pinnace_sidecar.troubles import Troubles
from pinnace_sidecar.voyage import Errand, Job, Verdict, Voyage

#: The subject of troubles that concern every file.
STORE: Final = "store"
#: More files than this are not kept in memory at a time, however many have failed.
_MAX_VOYAGES: Final = 1000
#: After these the store may have done what was asked although no answer says so.
_AMBIGUOUS: Final = frozenset({Errand.PUT, Errand.OPEN, Errand.COMPLETE})


class Shipper:
    """`take` and `give` are called in turn by one loop. `lies_there` says whether a file is on the volume as it was;
    `look_at_everything`: the journal was lost, so the store may hold any file already.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        porter: Porter,
        hands: Hands[Answer],
        prefix: str,
        lies_there: Callable[[JournaledFile], bool],
        troubles: Troubles,
        clock: Clock,
        rng: random.Random,
        crash: Crash,
        look_at_everything: bool,
    ) -> None:
        self._journal = journal
        self._porter = porter
        self._hands = hands
        self._prefix = prefix
        self._lies_there = lies_there
        self._troubles = troubles
        self._clock = clock
        self._rng = rng
        self._crash = crash
        self._look_at_everything = look_at_everything
        #: Files with ids up to this were journaled by an earlier process, which may have sent them.
        self._last_inherited = journal.files.last_id()
        self._voyages: dict[int, Voyage] = {}
        self._loaded_up_to = 0
        self._store_backoff = backoff.NONE
        self._gave_at = 0.0
        self._crash_points: list[CrashPoint] = []
        #: Since the start of the process.
        self.uploaded_bytes = 0
        self.failures: Counter[str] = Counter()

    # --- answers

    def take(self) -> int:
        """Turn the answers that are there into steps, all durable together; returns how many there were."""
        answers = self._hands.take()
        if answers:
            with self._journal.transaction():
                for answer in answers:
                    self._settle(answer)
            for point in self._crash_points:
                self._crash(point)
            self._crash_points.clear()
        return len(answers)

    def _settle(self, answer: Answer) -> None:
        job, voyage = answer.job, self._voyages[answer.job.file.id]
        if job.errand is Errand.SEND:
            voyage.sending.discard(job.number)
        else:
            voyage.busy = False
        if isinstance(answer.result, Failed):
            self._failed(voyage, job, answer.result.error)
        else:
            self._store_backoff = voyage.backoff = backoff.NONE
            self._troubles.cleared(STORE)
            self._troubles.cleared(voyage.key)
            self._succeeded(voyage, answer)
        if voyage.verdict and voyage.idle and (voyage.upload is None or job.errand is Errand.ABORT):
            self._end(voyage, voyage.verdict)

    def _succeeded(self, voyage: Voyage, answer: Answer) -> None:
        match answer.result:
            case Found(etag=str() as etag):
                self._stored(voyage, etag, verified=True)
            case Acknowledged(stored):
                whole = answer.job.errand is Errand.PUT
                self.uploaded_bytes += voyage.file.digest.size if whole else 0
                self._stored(voyage, stored.etag, verified=whole and stored.crc32c == voyage.file.digest.crc32c)
            case Compared(difference=""):
                self._confirmed(voyage)
            case Compared(difference):
                self._refuted(voyage, difference)
            case _:
                self._came_nearer(voyage, answer)

    def _came_nearer(self, voyage: Voyage, answer: Answer) -> None:
        """A step of a multipart upload that does not change the file's state."""
        match answer.result:
            case Found(upload=upload):
                voyage.look = False
                self._set_upload(voyage, upload)
                voyage.listed = upload is None
            case Opened(upload):
                self._set_upload(voyage, upload)
                voyage.listed = True
                self._crash_points.append(CrashPoint.UPLOAD_JOURNALED)
            case Listed(parts):
                # A part that is not the one acknowledged to us is sent again, like one that is missing.
                ours = {part.number: part.etag for part in self._journal.files.parts(voyage.file.id)}
                voyage.listed = True
                voyage.parts = {part.number: part for part in parts if ours.get(part.number, part.etag) == part.etag}
                self._journal.files.add_parts(voyage.file.id, voyage.parts.values())
            case Sent(part):
                self.uploaded_bytes += part.size
                if answer.job.upload == voyage.upload:
                    voyage.parts[part.number] = part
                    self._journal.files.add_parts(voyage.file.id, [part])
                    self._crash_points.append(CrashPoint.PART_JOURNALED)

    def _stored(self, voyage: Voyage, etag: str, *, verified: bool) -> None:
        state = self._journal.files.apply(voyage.file.id, Event.STORED, etag=etag)
        voyage.file = replace(voyage.file, state=state, etag=etag, upload_id="")
        voyage.upload = None
        voyage.parts.clear()
        self._crash_points.append(CrashPoint.STORED_JOURNALED)
        if verified:
            self._confirmed(voyage)

    def _confirmed(self, voyage: Voyage) -> None:
        self._journal.files.apply(voyage.file.id, Event.CONFIRMED)
        del self._voyages[voyage.file.id]
        self._crash_points.append(CrashPoint.VERIFIED_JOURNALED)

    def _refuted(self, voyage: Voyage, difference: str) -> None:
        state = self._journal.files.apply(voyage.file.id, Event.REFUTED)
        voyage.file = replace(voyage.file, state=state, etag="")
        voyage.look = voyage.listed = False
        voyage.backoff = voyage.backoff.failed(self._clock.monotonic(), self._rng)
        self._raise(voyage, "ContentDiffers", f"{voyage.file.path}: {difference}; it is sent again")

    def _failed(self, voyage: Voyage, job: Job, error: StoreError | CopyDamaged) -> None:
        now = self._clock.monotonic()
        self.failures[error.code if isinstance(error, StoreError) else "CopyDamaged"] += 1
        voyage.look = voyage.look or job.errand in _AMBIGUOUS
        if isinstance(error, CopyDamaged):
            self._condemn_damaged(voyage, str(error))
        elif isinstance(error, NoSuchMultipart):
            voyage.look = True
            voyage.backoff = voyage.backoff.failed(now, self._rng)
            self._set_upload(voyage, None)
            voyage.listed = False
        elif error.whole_store:
            if self._store_backoff.due(now):
                self._store_backoff = self._store_backoff.failed(now, self._rng)
            self._troubles.raised(STORE, error.code, str(error), now, files=len(self._voyages))
        elif error.try_again or isinstance(error, CorruptContent) or job.errand is Errand.COMPLETE:
            # A completion that is refused had wrong parts in it: the store's own list mends that.
            voyage.listed = voyage.listed and job.errand is not Errand.COMPLETE
            voyage.backoff = voyage.backoff.failed(now, self._rng)
            self._raise(voyage, error.code, f"{voyage.file.path}: {error}")
        else:
            voyage.verdict = Verdict(Event.REFUSED, error.code, str(error))

    def _condemn_damaged(self, voyage: Voyage, message: str) -> None:
        if self._lies_there(voyage.file):
            voyage.verdict = Verdict(Event.LOST, "CopyDamaged", f"{message}; it is copied again")
        else:
            voyage.verdict = Verdict(Event.REFUSED, "CopyDamaged", f"{message}, and the file is gone from the volume")

    def _end(self, voyage: Voyage, verdict: Verdict) -> None:
        file = voyage.file
        self._journal.files.apply(file.id, verdict.event, reason=verdict.reason, message=verdict.message)
        self._troubles.cleared(voyage.key)
        del self._voyages[file.id]

    def _raise(self, voyage: Voyage, reason: str, message: str) -> None:
        self._troubles.raised(voyage.key, reason, message, self._clock.monotonic())

    def _set_upload(self, voyage: Voyage, upload: Multipart | None) -> None:
        if upload == voyage.upload:
            return
        voyage.upload = upload
        voyage.parts.clear()
        self._journal.files.set_upload(voyage.file.id, upload.upload_id if upload else "")

    # --- errands

    def give(self) -> int:
        """Hand out what can be done now; returns how many errands that were."""
        now = self._gave_at = self._clock.monotonic()
        if not self._store_backoff.due(now):
            return 0
        given = 0
        for voyage in self._under_way(now):
            room = self._room()
            if room < 1:
                break
            for job in voyage.next_jobs(room):
                self._send(voyage, job)
                given += 1
        return given

    def due_in(self) -> float | None:
        """Seconds until a pause ends; None when none is under way."""
        now = self._clock.monotonic()
        pauses = [voyage.backoff for voyage in self._voyages.values() if voyage.backoff.failures]
        if self._store_backoff.failures:
            pauses.append(self._store_backoff)
        # A pause that was over when errands were given out waits for hands, and those ring.
        return min((pause.due_at - now for pause in pauses if pause.due_at > self._gave_at), default=None)

    def _room(self) -> int:
        if self._store_backoff.failures:
            return 1 - self._hands.busy
        return 2 * self._hands.size - self._hands.busy

    def _under_way(self, now: float) -> list[Voyage]:
        """Files with something to do, oldest first, loading more of them from the journal as there is room."""
        waiting = [voyage for voyage in self._voyages.values() if voyage.backoff.due(now)]
        room = max(0, min(self._room(), _MAX_VOYAGES - len(self._voyages)))
        files = self._journal.files.in_state(
            FileState.BUFFERED, FileState.UPLOADED, after=self._loaded_up_to, limit=room
        )
        for file in files:
            self._loaded_up_to = file.id
            waiting.append(self._board(file))
        return waiting

    def _board(self, file: JournaledFile) -> Voyage:
        key = object_key(self._prefix, file.artifact_id)
        voyage = Voyage(
            file=file,
            key=key,
            look=self._look_at_everything or file.id <= self._last_inherited,
            upload=Multipart(key=key, upload_id=file.upload_id) if file.upload_id else None,
        )
        self._voyages[file.id] = voyage
        return voyage

    def _send(self, voyage: Voyage, job: Job) -> None:
        if job.errand is Errand.SEND:
            voyage.sending.add(job.number)
        else:
            voyage.busy = True
        self._hands.give(lambda: self._porter.carry(job))
