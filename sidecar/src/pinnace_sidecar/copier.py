"""From the volume into the buffer: complete files are copied, as far as there is room, and journaled."""

import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final
from uuid import UUID

import msgspec

from pinnace.digests import Digests
from pinnace.ids import artifact_id, object_name
from pinnace.records import FINAL_STATES, FileState
from pinnace.stores.store import MAX_PARTS
from pinnace_sidecar import backoff
from pinnace_sidecar.adoption import COPIES
from pinnace_sidecar.backoff import Backoff
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.compressing import Compression
from pinnace_sidecar.copying import BufferFailed, BufferFull, Copied
from pinnace_sidecar.crash import Crash, CrashPoint
from pinnace_sidecar.files import Volume, wire_path
from pinnace_sidecar.intake import Intake
from pinnace_sidecar.journal import Copy, Held, Journal, JournaledFile, Refusal
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.manifest import is_manifest
from pinnace_sidecar.originals import Changed, CopyError, Gone, Order, Unreadable
from pinnace_sidecar.problems import Problems
from pinnace_sidecar.settings import Tuning
from pinnace_sidecar.sighting import Sighting
from pinnace_sidecar.store_calls import CopyDamaged
from pinnace_sidecar.workers import Workers
from pinnace_sidecar.writing import gives_way

_log = logging.getLogger(__name__)

#: Files up to this size are copied together, as many as this and as much as this at a time: they become durable
#: together, which costs little more than one of them alone.
_SMALL_BYTES: Final = 2**20
_BATCH_FILES: Final = 128
_BATCH_BYTES: Final = 8 * 2**20

#: When room is wanted, copies of this many quarantined files may go.
_QUARANTINED_LOOKED_AT: Final = 1000
#: A copy that could not say so often what it is gives way like one that says nothing.
_MOST_UNREAD: Final = 10
_NEARLY_FULL: Final = "the disk that the buffer lies on is nearly full; free some of it, or wait for uploads"

#: Uploads make room all the time, and finding out costs little.
_LONGEST_BUFFER_PAUSE_S: Final = 5.0

#: The store has content in these states already; another copy of it is not needed.
_ASHORE: Final = (FINAL_STATES - {FileState.QUARANTINED}) | {FileState.VERIFIED}
_ON_THEIR_WAY: Final = (FileState.BUFFERED, FileState.UPLOADED, FileState.VERIFIED)

#: The subject of problems that keep every file out of the buffer.
BUFFER: Final = "buffer"


class CopyAnswer(msgspec.Struct, frozen=True):
    """What came of copying a file as it was sighted."""

    sighting: Sighting
    order: Order
    result: Copied | CopyError


@dataclass(slots=True)
class _Pauses:
    """Files whose copying failed, and the buffer itself."""

    buffer: Backoff = backoff.NONE
    files: dict[str, Backoff] = field(default_factory=dict)


class Copier:
    """One loop calls `collect` and `submit` in turn. `stuck`: the files that may never be sent, by their ids."""

    def __init__(
        self,
        *,
        iteration_id: UUID,
        tuning: Tuning,
        compression: Compression,
        intake: Intake,
        volume: Volume,
        buffer: Buffer,
        journal: Journal,
        workers: Workers[tuple[CopyAnswer, ...]],
        stuck: Callable[[], Collection[int]],
        problems: Problems,
        clock: Clock,
        rng: random.Random,
        crash: Crash,
    ) -> None:
        self._iteration_id = iteration_id
        self._tuning = tuning
        self._compression = compression
        self._intake = intake
        self._volume = volume
        self._buffer = buffer
        self._journal = journal
        self._workers = workers
        self._stuck = stuck
        self._problems = problems
        self._clock = clock
        self._rng = rng
        self._crash = crash
        self._pauses = _Pauses()
        #: Copies to be removed.
        self._worthless: set[str] = set()
        #: Whether a file waits for the room of copies that nobody can count on.
        self.needs_room = False
        self._gave_at = 0.0

    # --- answers

    def collect(self) -> int:
        """Journal the copies that are there, all durable together; returns how many answers there were."""
        answers = [answer for batch in self._workers.collect() for answer in batch]
        if answers:
            needless: list[str] = []
            with self._journal.transaction():
                for failed, some in groupby(answers, lambda answer: isinstance(answer.result, CopyError)):
                    if failed:
                        for answer in some:
                            self._failed(answer)
                    else:
                        needless += self._copied(list(some))
            self._crash(CrashPoint.COPY_JOURNALED)
            for name in needless:
                self._buffer.remove(name)
        return len(answers)

    def _copied(self, answers: Sequence[CopyAnswer]) -> list[str]:
        """Returns the copies that turned out to be of content that was shipped before, or that there is a copy of."""
        copies = []
        self._pauses.buffer = backoff.NONE
        self._problems.cleared(BUFFER)
        for answer in answers:
            copied, order = answer.result, answer.order
            assert isinstance(copied, Copied)
            self._pauses.files.pop(order.path, None)
            self._problems.cleared(order.path)
            self._buffer.settle(order.fingerprint.size, copied)
            self._worthless.discard(copied.name)
            copies.append(_copy_of(order, copied))
        files = self._journal.files.add_copies(copies)
        for answer in answers:
            self._intake.happened(answer.sighting, Event.COPIED)
        for file in files:
            if file.state in _ASHORE and is_manifest(file.path):
                _log.warning(
                    "a manifest with these words is recorded already: it adds no set; if it means other contents, give"
                    " it sha256 or written",
                    extra={"path": wire_path(file.path)},
                )
        return [
            copy.name
            for copy, file in zip(copies, files, strict=True)
            if file.state in _ASHORE or file.name != copy.name
        ]

    def _failed(self, answer: CopyAnswer) -> None:
        now, sighting, error = self._clock.monotonic(), answer.sighting, answer.result
        assert isinstance(error, CopyError)
        self._buffer.settle(answer.order.fingerprint.size, None)
        match error:
            case Changed():
                self._intake.happened(sighting, Event.CHANGED)
            case Gone():
                self._intake.happened(sighting, Event.VANISHED)
            case Unreadable():
                self._refuse(sighting, error.code, str(error))
            case BufferFull() | BufferFailed():
                self._intake.give_back(sighting)
                # Files copied together fail together: that is one failure.
                if self._pauses.buffer.due(now):
                    self._pauses.buffer = self._pauses.buffer.failed(now, self._rng, longest=_LONGEST_BUFFER_PAUSE_S)
                self._problems.raised(BUFFER, error.code, str(error), now)
            case _:
                sighting.failures += 1
                self._intake.give_back(sighting)
                pause = self._pauses.files.get(sighting.path, backoff.NONE)
                self._pauses.files[sighting.path] = pause.failed(now, self._rng)
                self._problems.raised(sighting.path, error.code, str(error), now)

    def _refuse(self, sighting: Sighting, reason: str, message: str) -> None:
        refusal = Refusal(path=sighting.path, reason=reason, message=message)
        self._journal.files.add_refused(refusal, sighting.fingerprint, sighting.settled_at)
        self._intake.happened(sighting, Event.REFUSED)

    # --- operations

    def submit(self) -> int:
        """Have files copied, those first that were complete first; returns how many."""
        now = self._gave_at = self._clock.monotonic()
        given = 0
        self._remove_worthless()
        if self._pauses.buffer.due(now):
            while self._workers.busy < 2 * self._workers.size and (batch := self._next_batch(now)):
                self._give(batch)
                given += len(batch)
        return given

    def _next_batch(self, now: float) -> list[Sighting]:
        """The files that are copied together next, with room in the buffer for each."""
        batch: list[Sighting] = []
        total = 0
        self.needs_room = False
        for sighting in self._intake.ready():
            size = sighting.fingerprint.size
            if not self._pauses.files.get(sighting.path, backoff.NONE).due(now):
                continue
            if self._gives_way(sighting, now):
                continue
            if batch and (size > _SMALL_BYTES or total + size > _BATCH_BYTES):
                break
            if size > self._buffer.limit_bytes:
                self._refuse(
                    sighting,
                    "FileTooLarge",
                    f"{sighting.path} has {size} bytes, and the whole buffer {self._buffer.limit_bytes}"
                    " (raise spec.artifacts.buffer.sizeLimit)",
                )
            elif not (batch or self._may_take(size)):
                self._pauses.buffer = self._pauses.buffer.failed(now, self._rng)
                self._problems.raised(BUFFER, "DiskNearlyFull", f"{sighting.path} waits: {_NEARLY_FULL}", now)
                break
            elif self._buffer.reserve(size) or (self._make_room() and self._buffer.reserve(size)):
                sighting.taken = True
                batch.append(sighting)
                total += size
                if size > _SMALL_BYTES or len(batch) == _BATCH_FILES:
                    break
            else:
                # Later files wait too: small ones passing by would keep a large one out for ever.
                self._say_full(now)
                break
        return batch

    def _gives_way(self, sighting: Sighting, now: float) -> bool:
        # Once the writers have ended there is only the drain's time to be spared.
        return self._intake.ending is None and gives_way(
            self._intake.writing,
            sighting.fingerprint.size,
            now - sighting.since,
            much=self._tuning.much_bytes,
            patience=self._tuning.patience_seconds,
        )

    def copy_again(self, file: JournaledFile) -> None:
        """The file lies on the volume, and what is left of its copy is worth nothing but the room it takes."""
        self._worthless.add(file.name)
        self._intake.look_again()

    def _remove_worthless(self) -> None:
        # A copy under way may be of the same content, and there already.
        if self._worthless and not self._workers.busy:
            for name in sorted(self._worthless):
                self._buffer.remove(name)
            self._worthless.clear()

    def due_in(self) -> float | None:
        """Seconds until a pause ends; None when none is under way."""
        now = self._clock.monotonic()
        pauses = [pause for pause in (self._pauses.buffer, *self._pauses.files.values()) if pause.failures]
        return min((pause.due_at - now for pause in pauses if pause.due_at > self._gave_at), default=None)

    def _say_full(self, now: float) -> None:
        waiting = self._intake.states()[FileState.SETTLED]
        self._problems.raised(
            BUFFER,
            "BufferFull",
            f"{waiting} complete files wait for room: {self._buffer.used_bytes} of {self._buffer.limit_bytes} bytes of"
            f" the buffer hold files on their way to the store, {self._buffer.copies} of {self._buffer.limit_copies}",
            now,
            files=waiting,
        )

    def _may_take(self, size: int) -> bool:
        # One file at a time goes on when there is nothing to wait for.
        return self._buffer.leaves_free(size) or self._nothing_will_go()

    def _nothing_will_go(self) -> bool:
        """Whether no copy is on its way out of the buffer, so that no room will come of waiting."""
        if not self._buffer.used_bytes:
            return True
        if self._workers.busy:
            return False
        stuck = self._stuck()
        on_their_way = self._journal.files.in_state(*_ON_THEIR_WAY, limit=len(stuck) + 1)
        return all(file.id in stuck for file in on_their_way)

    def _make_room(self) -> bool:
        """Give up copies that can be had again, or else, when waiting won't help, such as nobody can ship; whether
        there were any.
        """
        spare = self._copies_on_volume()
        if not spare and self._nothing_will_go():
            if self._give_up_useless():
                self.needs_room = False
                return True
            spare = self._waiting_manifests()
            self.needs_room = not spare
        for name in spare:
            self._buffer.remove(name)
        return bool(spare)

    def _copies_on_volume(self) -> list[str]:
        """The copies of quarantined files that still lie on the volume as they were."""
        quarantined = self._journal.files.in_state(FileState.QUARANTINED, limit=_QUARANTINED_LOOKED_AT)
        return [
            file.name
            for file in quarantined
            if self._buffer.holds(file.name) and self._volume.fingerprint(file.path) == file.fingerprint
        ]

    def _waiting_manifests(self) -> list[str]:
        """Copies of manifests that wait for files which find no room. Those still meant are found on the volume."""
        held = [file for file, _ in self._journal.files.held(Held.UNREAD, Held.WAITING, Held.INVALID)]
        with self._journal.transaction():
            for file in held:
                self._journal.files.apply(file.id, Event.WITHDRAWN)
        if held:
            self._intake.look_again()
        return [file.name for file in held]

    def _give_up_useless(self) -> bool:
        """Copies that are known not to be what they were, and such as don't say what they are, were kept for a person
        to look at, but not at the price of files that could be shipped. Returns whether there were any.
        """
        damaged = [name for name in self._journal.files.refused_copies(CopyDamaged.code) if self._buffer.holds(name)]
        nameless = [
            name
            for name in sorted(self._buffer.names())
            if not (self._journal.files.knows(name) or self._buffer.is_given_up(name))
            and not 0 < self._buffer.unread[name] < _MOST_UNREAD
            and self._buffer.record(name) is None
        ]
        if damaged or nameless:
            _log.error("damaged copies are given up: files wait for room", extra={"copies": damaged + nameless})
        for name in damaged:
            self._buffer.remove(name)
        for name in nameless:
            self._buffer.give_up(name)
        if nameless:
            self._problems.raised(
                COPIES,
                "CopiesGivenUp",
                f"{len(nameless)} copies in the buffer did not say what they were, and were emptied because files"
                " waited for room",
                self._clock.monotonic(),
                files=len(nameless),
            )
        return bool(damaged or nameless)

    def _give(self, batch: list[Sighting]) -> None:
        orders = [
            Order(
                sighting.path,
                sighting.fingerprint,
                self._tuning.part_size(sighting.fingerprint.size, MAX_PARTS),
                suspect=sighting.suspect,
                settled_at=sighting.settled_at,
                zstd_level=self._compression.level_for(sighting.path, sighting.fingerprint.size),
            )
            for sighting in batch
        ]
        self._workers.submit(lambda: self._copy(batch, orders))

    def _copy(self, batch: list[Sighting], orders: list[Order]) -> tuple[CopyAnswer, ...]:
        results = self._buffer.copying.copy_all(self._volume, orders, self._name)
        if any(isinstance(result, Copied) for result in results):
            self._crash(CrashPoint.COPY_WRITTEN)
        return tuple(map(CopyAnswer, batch, orders, results))

    def _name(self, path: str, digests: Digests) -> str:
        artifact = artifact_id(self._iteration_id, wire_path(path), digests.content.sha256)
        return object_name(artifact, digests.stored_sha256)


def _copy_of(order: Order, copied: Copied) -> Copy:
    return Copy(
        path=order.path,
        fingerprint=order.fingerprint,
        suspect=order.suspect,
        settled_at=order.settled_at,
        name=copied.name,
        digests=copied.digests,
    )
