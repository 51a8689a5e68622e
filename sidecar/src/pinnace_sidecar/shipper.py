"""From the buffer to the store: hands out operations for the files under way and turns the answers into steps.

Two kinds of pauses: a file's own, when only it fails, and the store's, when every file would fail; then one operation
at a time finds out whether it works again. Nothing is given up: a file ends in quarantine only when the store says
that this very file can't be stored, or when its only copy is worth nothing or can't be read for as long as anybody can
wait.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from pinnace.records import FileState
from pinnace.stores.store import CorruptContent, Evidence, Multipart, NoSuchMultipart, StoreError
from pinnace_sidecar import backoff
from pinnace_sidecar.batches import LONGEST_S, MOST_JOBS, batches, is_small
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.concurrency import Concurrency
from pinnace_sidecar.crash import Crash, CrashPoint
from pinnace_sidecar.journal import Journal, JournaledFile, Progress
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.lost_copies import LostCopies
from pinnace_sidecar.problems import Problems
from pinnace_sidecar.sharing import Sharing
from pinnace_sidecar.store_calls import (
    Acknowledged,
    Answer,
    Carrier,
    CopyDamaged,
    CopyUnreadable,
    Failed,
    Found,
    Listed,
    Opened,
    Sent,
    Untried,
)
from pinnace_sidecar.transfer import DEMANDS, Job, Operation, Transfer, Verdict, may_work_later
from pinnace_sidecar.verification import Compared
from pinnace_sidecar.workers import Workers

#: The subject of problems that concern every file.
STORE: Final = "store"
#: More files than this are not kept in memory at a time, however many have failed.
_MAX_TRANSFERS: Final = 1000
#: While the store fails for every file it is asked again at least this often, so that it is soon noticed when somebody
#: has mended it. It costs one request at a time.
_LONGEST_STORE_PAUSE_S: Final = 10.0
#: After these the store may have done what was asked although no answer says so.
_AMBIGUOUS: Final = frozenset({Operation.PUT, Operation.OPEN, Operation.COMPLETE})


class Shipper:
    """One loop calls `collect` and `submit` in turn. `look_at_everything`: the journal was lost, so the store may hold
    any file.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        store_calls: Carrier,
        workers: Workers[tuple[Answer, ...]],
        prefix: str,
        lost_copies: LostCopies,
        whole_bytes: int,
        problems: Problems,
        clock: Clock,
        rng: random.Random,
        crash: Crash,
        look_at_everything: bool,
        sharing: Sharing,
    ) -> None:
        self._journal = journal
        self._calls = store_calls
        self._workers = workers
        self._prefix = prefix
        self._lost_copies = lost_copies
        self._whole_bytes = whole_bytes
        self._problems = problems
        self._clock = clock
        self._rng = rng
        self._crash = crash
        self._look_at_everything = look_at_everything
        self._sharing = sharing
        #: Files with ids up to this were journaled by an earlier process, which may have sent them.
        self._last_inherited = journal.files.last_id()
        self._transfers: dict[int, Transfer] = {}
        self._loaded_up_to = 0
        self._store_backoff = backoff.NONE
        #: How much was asked of the store when it failed for every file.
        self._failing_at = 0
        self._concurrency = Concurrency(workers.size)
        self._gave_at = 0.0
        self._crash_points: list[CrashPoint] = []
        self._verified: dict[int, Progress] = {}  # journaled together, after all other answers
        #: Since the start of the process.
        self.uploaded_bytes = 0
        self.shared_bytes = 0
        self.failures: Counter[str] = Counter()
        self.verified: Counter[Evidence] = Counter()

    @property
    def operations_allowed(self) -> int:
        """How many may be under way at the store at a time."""
        return 1 if self._store_backoff.failures else self._concurrency.allowed

    def unreadable(self) -> set[int]:
        """The files whose copies can't be read, by their ids in the journal: these may never come ashore."""
        return {file_id for file_id, transfer in self._transfers.items() if transfer.unreadable}

    # --- answers

    def collect(self) -> int:
        """Turn the answers that are there into steps, all durable together; returns how many there were."""
        answers = [answer for batch in self._workers.collect() for answer in batch]
        if answers:
            with self._journal.transaction():
                for answer in answers:
                    self._settle(answer)
                self._journal.files.apply_all(self._verified)
                self._verified.clear()
            while self._crash_points:
                self._crash(self._crash_points.pop(0))
        return len(answers)

    def _settle(self, answer: Answer) -> None:
        job, transfer = answer.job, self._transfers[answer.job.file.id]
        transfer.came_back(job)
        if isinstance(answer.result, Untried):
            return
        if isinstance(answer.result, Failed):
            # What can't be looked at is not shared.
            transfer.shared = None
            self._failed(transfer, job, answer.result.error)
        else:
            transfer.backoff = backoff.NONE
            self._concurrency.worked()
            self._problems.cleared(transfer.key)
            self._succeeded(transfer, answer)
            if DEMANDS[job.operation] >= self._failing_at:
                self._store_works()
        is_pending = isinstance(answer.result, Failed) and answer.result.may_pass
        if job.operation is Operation.ABORT and not is_pending:
            transfer.begins_anew = False
            self._set_upload(transfer, None)
        if transfer.verdict and transfer.idle and transfer.upload is None:
            self._end(transfer, transfer.verdict)
        if not self._transfers and self._failing_at:
            # Nothing is left that could show whether that works again.
            self._store_works()

    def _succeeded(self, transfer: Transfer, answer: Answer) -> None:
        match answer.result:
            case Found() as found if answer.job.operation is Operation.SHARE:
                self._shared(transfer, found)
            case Found(etag=str() as etag, evidence=evidence):
                self._stored(transfer, etag, evidence)
            case Acknowledged(stored, verified):
                whole = answer.job.operation is Operation.PUT
                self.uploaded_bytes += transfer.file.kept.size if whole else 0
                self._stored(transfer, stored.etag, Evidence.CRC32C if verified else None)
            case Compared(difference="", evidence=evidence):
                self._confirmed(transfer, evidence)
            case Compared(difference):
                self._refuted(transfer, difference)
            case _:
                self._came_nearer(transfer, answer)

    def _came_nearer(self, transfer: Transfer, answer: Answer) -> None:
        """A step of a multipart upload that does not change the file's state."""
        match answer.result:
            case Found(upload=upload):
                transfer.look = False
                transfer.in_parts = transfer.in_parts or upload is not None
                self._set_upload(transfer, upload)
                transfer.listed = upload is None
            case Opened(upload):
                self._set_upload(transfer, upload)
                transfer.listed = True
                self._crash_points.append(CrashPoint.UPLOAD_JOURNALED)
            case Listed(parts):
                # A part that is not the one acknowledged to us is sent again, like one that is missing.
                ours = {part.number: part.etag for part in self._journal.files.parts(transfer.file.id)}
                transfer.listed = True
                transfer.parts = {part.number: part for part in parts if ours.get(part.number, part.etag) == part.etag}
                self._journal.files.add_parts(transfer.file.id, transfer.parts.values())
            case Sent(part):
                self.uploaded_bytes += part.size
                transfer.unread = 0
                if answer.job.upload == transfer.upload:
                    transfer.parts[part.number] = part
                    self._journal.files.add_parts(transfer.file.id, [part])
                    self._crash_points.append(CrashPoint.PART_JOURNALED)

    def _shared(self, transfer: Transfer, found: Found) -> None:
        recorded, transfer.shared = transfer.shared, None
        if recorded is None or found.etag is None:
            return  # it is sent like any other
        self._journal.files.share(transfer.file.id, recorded)
        self._stored(transfer, found.etag, found.evidence)
        self.shared_bytes += transfer.file.digest.size
        self._crash_points.append(CrashPoint.SHARE_JOURNALED)

    def send_alone(self, file: JournaledFile) -> None:
        """Send a file that can't share another artifact's object after all, and is `buffered` again."""
        transfer = self._begin(file)
        transfer.look, transfer.asks = True, False

    def _stored(self, transfer: Transfer, etag: str, evidence: Evidence | None = None) -> None:
        """The store has all of it; with `evidence` it needs no further look."""
        self._crash_points.append(CrashPoint.STORED_JOURNALED)
        if evidence is not None:
            self._confirmed(transfer, evidence, Event.STORED, Event.CONFIRMED, etag=etag)
            return
        state = self._journal.files.apply(transfer.file.id, Event.STORED, etag=etag)
        transfer.file = replace(transfer.file, state=state, etag=etag, upload_id="")
        transfer.upload = None
        transfer.parts.clear()

    def _confirmed(self, transfer: Transfer, evidence: Evidence, *events: Event, etag: str = "") -> None:
        self.verified[evidence] += 1
        self._verified[transfer.file.id] = Progress(events or (Event.CONFIRMED,), etag)
        del self._transfers[transfer.file.id]
        self._crash_points.append(CrashPoint.VERIFIED_JOURNALED)

    def _refuted(self, transfer: Transfer, difference: str) -> None:
        state = self._journal.files.apply(transfer.file.id, Event.REFUTED)
        transfer.file = replace(transfer.file, state=state)  # keeps the ETag: what was acknowledged may be replaced
        transfer.look = transfer.listed = False
        transfer.backoff = transfer.backoff.failed(self._clock.monotonic(), self._rng)
        self._raise(transfer, "ContentDiffers", f"{transfer.file.path}: {difference}; it is sent again")

    def _failed(self, transfer: Transfer, job: Job, error: StoreError | CopyDamaged | CopyUnreadable) -> None:
        now = self._clock.monotonic()
        self.failures[error.code] += 1
        smaller_next = transfer.divide() if job.operation is Operation.PUT else False
        if isinstance(error, StoreError):
            self._heed(error, now)
        if isinstance(error, CopyUnreadable):
            # Not ambiguous: the store can't have got all the bytes. Parts that fail together are one failure.
            if transfer.backoff.due(now):
                transfer.unread += 1
                transfer.backoff = transfer.backoff.failed(now, self._rng)
            self._raise(transfer, error.code, str(error))
        else:
            transfer.unread = 0
            transfer.look = transfer.look or job.operation in _AMBIGUOUS
        if isinstance(error, CopyDamaged | CopyUnreadable):
            self._lost_copies.judge(transfer, error)
        elif isinstance(error, NoSuchMultipart):
            transfer.look = True
            transfer.backoff = transfer.backoff.failed(now, self._rng)
            self._set_upload(transfer, None)
            transfer.listed = False
        elif error.whole_store:
            if self._store_backoff.due(now):
                self._store_backoff = self._store_backoff.failed(now, self._rng, longest=_LONGEST_STORE_PAUSE_S)
            self._failing_at = max(self._failing_at, DEMANDS[job.operation])
            self._problems.raised(STORE, error.code, str(error), now, files=len(self._transfers))
        elif may_work_later(error, job.operation) or (smaller_next and error.code == "EntityTooLarge"):
            transfer.refused(job, bytes_wrong=isinstance(error, CorruptContent))
            transfer.backoff = transfer.backoff.failed(now, self._rng)
            self._raise(transfer, error.code, f"{transfer.file.path}: {error}")
        elif transfer.verdict is None:
            transfer.verdict = Verdict(Event.REFUSED, error.code, str(error))

    def _store_works(self) -> None:
        self._store_backoff = backoff.NONE
        self._failing_at = 0
        self._problems.cleared(STORE)

    def _heed(self, error: StoreError, now: float) -> None:
        """Do less when it is too much for the store, and nothing for as long as it asks."""
        if error.code == "SlowDown" or error.status in (429, 503):
            self._concurrency.throttled(now)
        self._concurrency.asked_to_wait(now, error.retry_after)

    def _end(self, transfer: Transfer, verdict: Verdict) -> None:
        if self._lost_copies.is_copied_again(transfer):
            return
        file = transfer.file
        self._journal.files.apply(file.id, verdict.event, reason=verdict.reason, message=verdict.message)
        self._problems.cleared(transfer.key)
        del self._transfers[file.id]
        if verdict.event is Event.LOST:
            self._lost_copies.ended(file)

    def _raise(self, transfer: Transfer, reason: str, message: str) -> None:
        self._problems.raised(transfer.key, reason, message, self._clock.monotonic())

    def _set_upload(self, transfer: Transfer, upload: Multipart | None) -> None:
        if upload == transfer.upload:
            return
        transfer.upload = upload
        transfer.parts.clear()
        self._journal.files.set_upload(transfer.file.id, upload.upload_id if upload else "")

    # --- operations

    def submit(self) -> int:
        """Hand out what can be done now; returns how many operations that were."""
        now = self._gave_at = self._clock.monotonic()
        if not self._store_backoff.due(now) or self._concurrency.wait_left(now) > 0 or self._room() < 1:
            return 0
        given = 0
        small: list[Job] = []
        for transfer in self._under_way(now):
            room = self._room() - -(-len(small) // self._most_together)
            if room < 1:
                break
            if self._sharing.awaits(transfer):
                continue
            for job in transfer.next_jobs(room):
                transfer.gave(job)
                given += 1
                if is_small(job):
                    small.append(job)
                else:
                    self._send([job])
        for batch in batches(small, self._room()):
            self._send(batch)
        return given

    def due_in(self) -> float | None:
        """Seconds until a pause ends; None when none is under way."""
        now = self._clock.monotonic()
        pauses = [transfer.backoff for transfer in self._transfers.values() if transfer.backoff.failures]
        if self._store_backoff.failures:
            pauses.append(self._store_backoff)
        silence = self._concurrency.wait_left(now)
        if silence > 0 and self._transfers:
            return silence
        # A pause that was over when operations were given out waits for workers, and those ring.
        return min((pause.due_at - now for pause in pauses if pause.due_at > self._gave_at), default=None)

    def _room(self) -> int:
        if self._store_backoff.failures:
            return 1 - self._workers.busy
        if self._concurrency.is_reduced:
            return self._concurrency.allowed - self._workers.busy
        return 2 * self._workers.size - self._workers.busy

    @property
    def _most_together(self) -> int:
        return 1 if self._store_backoff.failures or self._concurrency.is_reduced else MOST_JOBS

    def _under_way(self, now: float) -> list[Transfer]:
        """Files with something to do, oldest first, loading more of them from the journal as there is room."""
        waiting = [each for each in self._transfers.values() if not each.busy and each.backoff.due(now)]
        places = _MAX_TRANSFERS - len(self._transfers)
        if places <= 0:
            places += len(self.unreadable())  # nobody knows how long these stay
        room = max(0, min(self._room() * self._most_together, places))
        files = self._journal.files.in_state(
            FileState.BUFFERED, FileState.UPLOADED, after=self._loaded_up_to, limit=room
        )
        for file in files:
            self._loaded_up_to = file.id
            waiting.append(self._begin(file))
        return waiting

    def _begin(self, file: JournaledFile) -> Transfer:
        key = file.key(self._prefix)
        begun = self._look_at_everything or file.id <= self._last_inherited
        transfer = Transfer(
            file=file,
            key=key,
            look=begun,
            # What an earlier process may have begun goes on where it ended: sent whole, a file would never get there
            # in a pod that is restarted over and over.
            in_parts=begun or file.kept.size > self._whole_bytes or not self._calls.hashes_parts,
            upload=Multipart(key=key, upload_id=file.upload_id) if file.upload_id else None,
        )
        self._transfers[file.id] = transfer
        return transfer

    def _send(self, jobs: Sequence[Job]) -> None:
        self._workers.submit(lambda: self._calls.call(jobs, LONGEST_S))
