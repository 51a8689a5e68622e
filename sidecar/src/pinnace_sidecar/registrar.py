"""From the journal to the API: rows of verified files, metric points, the pod's report, and a question about writers;
from the training the tags and notes of its iteration.

Each kind of request is under way at most once, and what piles up meanwhile goes into the next: many small files make
few requests. Each kind has its own pauses, so rows that fail don't keep the report from saying so. Every request may be
repeated, so an answer that got lost costs nothing. What the API refuses for its content is narrowed down by halving to
the one file (quarantined) or point (dropped, counted and said).
"""

import logging
import random
from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec

from pinnace.client import ApiError, Forbidden, NotFound, Unauthorized, Unavailable, Unreachable
from pinnace.records import (
    MAX_ARTIFACTS_PER_REQUEST,
    FileState,
    IterationPatch,
    MetricPoint,
    PodReport,
    WriterEnd,
)
from pinnace_sidecar import backoff
from pinnace_sidecar.api_calls import ApiAnswer, ApiCalls, Request
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.crash import Crash, CrashPoint
from pinnace_sidecar.describing import NOTHING, joined
from pinnace_sidecar.files import wire_path
from pinnace_sidecar.journal import Journal, JournaledFile, Progress
from pinnace_sidecar.lifecycle import Event
from pinnace_sidecar.manifest import is_manifest
from pinnace_sidecar.problems import Problems
from pinnace_sidecar.sweeper import Sweeper
from pinnace_sidecar.workers import Workers

_log = logging.getLogger(__name__)

_ROWS_PER_REQUEST: Final = MAX_ARTIFACTS_PER_REQUEST
_POINTS_PER_REQUEST: Final = 10_000
#: Files up to this size share a line of the log.
_SMALL_BYTES: Final = 2**20
#: How long to wait before asking again whether writers have ended.
_ASK_AGAIN_S: Final = 2.0
#: Names of what went wrong, as conditions show them.
_REASONS: Final[tuple[tuple[type[ApiError], str], ...]] = (
    (Unreachable, "ApiUnreachable"),
    (Unavailable, "ApiUnavailable"),
    (Unauthorized, "ApiUnauthorized"),
    (Forbidden, "ApiForbidden"),
    (NotFound, "ApiNotFound"),
)


class Registrar:
    """One loop calls `collect` and `submit` in turn."""

    def __init__(
        self,
        *,
        api_calls: ApiCalls,
        workers: Workers[ApiAnswer],
        journal: Journal,
        sweeper: Sweeper,
        send_alone: Callable[[JournaledFile], None],
        problems: Problems,
        clock: Clock,
        rng: random.Random,
        crash: Crash,
    ) -> None:
        self._calls = api_calls
        self._workers = workers
        self._journal = journal
        self._sweeper = sweeper
        self._send_alone = send_alone
        self._problems = problems
        self._clock = clock
        self._rng = rng
        self._crash = crash
        self._backoffs = dict.fromkeys(Request, backoff.NONE)
        self._gave_at = 0.0
        self._under_way: set[Request] = set()
        self._asked_at = -_ASK_AGAIN_S
        self._question = False
        self._report: PodReport | None = None
        self._description = NOTHING
        #: A lost journal knew of rows; whatever waits for them is to hear of them early.
        self._ask_what_is_held = journal.begun_anew
        self._compared = False
        #: The latest answers.
        self.writers: WriterEnd | None = None
        self.acknowledged: PodReport | None = None
        #: How often the journal was completed from what the API holds.
        self.lessons = 0

    def ask_for_writers(self) -> None:
        """Find out whether the pod's writers have ended, and go on asking while they haven't."""
        self._question = True

    @property
    def learns(self) -> bool:
        """Whether the API is still to say which rows it holds of this pod."""
        return self._ask_what_is_held

    def hand_in(self, report: PodReport) -> None:
        """Send this report as soon as possible; it replaces one that waits."""
        self._report = report

    def describe(self, change: IterationPatch) -> None:
        """Change the iteration so, as soon as possible and after what waits already."""
        self._description = joined(self._description, change)

    @property
    def describes(self) -> bool:
        """Whether a change of the iteration is still to be acknowledged."""
        return self._description != NOTHING or Request.DESCRIPTION in self._under_way

    # --- answers

    def collect(self) -> int:
        """Act on the answers that are there; returns how many there were."""
        answers = self._workers.collect()
        for answer in answers:
            self._under_way.discard(answer.request)
            if answer.error is None:
                self._backoffs[answer.request] = backoff.NONE
                self._problems.cleared(_subject(answer.request))
                self._succeeded(answer)
            else:
                self._failed(answer, answer.error)
        return len(answers)

    def _succeeded(self, answer: ApiAnswer) -> None:
        match answer.request:
            case Request.ROWS:
                self._recorded(answer.files, dict(answer.refused))
            case Request.POINTS:
                self._sent(answer)
            case Request.DESCRIPTION:
                for _, why in answer.refused:
                    _log.error("the API refused tags or notes", extra={"why": why})
            case Request.REPORT:
                self._acknowledged(answer)
            case Request.HELD:
                self._learn(answer)
            case Request.WRITERS:
                self.writers = answer.writers
                self._question = answer.writers is WriterEnd.RUNNING

    def _acknowledged(self, answer: ApiAnswer) -> None:
        assert answer.report is not None
        if answer.report.final and answer.recorded != answer.report.manifest and not self._compared:
            # Both speak of all that this pod shipped. A journal that lost something learns it from the API, once.
            self._compared = self._ask_what_is_held = True
            return
        self.acknowledged = answer.report
        if answer.report.final:
            self._crash(CrashPoint.REPORT_SENT)

    def _learn(self, answer: ApiAnswer) -> None:
        added = self._journal.files.add_recorded(answer.held)
        self._ask_what_is_held = False
        self.lessons += 1
        _log.warning("asked the API what this pod had shipped", extra={"rows learnt": added})

    def _recorded(self, files: tuple[JournaledFile, ...], refused: dict[UUID | None, str]) -> None:
        self._crash(CrashPoint.ROW_SENT)
        recorded = [file for file in files if file.artifact_id not in refused] if refused else list(files)
        with self._journal.transaction():
            self._journal.files.apply_all({file.id: Progress((Event.REGISTERED,)) for file in recorded})
            self._journal.sets.forget(file.artifact_id for file in recorded if is_manifest(file.path))
            for file in files if refused else ():
                if (why := refused.get(file.artifact_id)) and file.shared is not None:
                    _log.warning("an object is not shared after all", extra={"path": wire_path(file.path), "why": why})
                    self._journal.files.apply(file.id, Event.UNSHARED)
                elif why:
                    self._journal.files.apply(file.id, Event.REFUSED, reason="RowRefused", message=why)
        self._crash(CrashPoint.ROW_JOURNALED)
        for file in files if refused else ():
            if file.artifact_id in refused and file.shared is not None:
                self._send_alone(msgspec.structs.replace(file, state=FileState.BUFFERED, shared=None, etag=""))
        if recorded:
            self._sweeper.sweep([file.name for file in recorded])
        _say_recorded(recorded)

    def _sent(self, answer: ApiAnswer) -> None:
        self._crash(CrashPoint.POINTS_SENT)
        self._journal.metrics.sent(answer.last, refused=len(answer.refused))
        if answer.refused:
            _, why = answer.refused[0]
            _log.error("the API refused metric points", extra={"points": len(answer.refused), "first": why})

    def _failed(self, answer: ApiAnswer, error: ApiError) -> None:
        now = self._clock.monotonic()
        wish = error.retry_after if isinstance(error, Unavailable) else None
        pause = self._backoffs[answer.request].failed(now, self._rng, at_least=wish or 0.0)
        self._backoffs[answer.request] = pause
        if answer.report is not None and self._report is None:
            self._report = answer.report
        if answer.change is not None:
            self._description = joined(answer.change, self._description)
        self._problems.raised(_subject(answer.request), _reason(error), str(error), now, files=len(answer.files))

    # --- requests

    def submit(self) -> int:
        """Send what waits and is not in a pause; returns how many requests that were."""
        now = self._gave_at = self._clock.monotonic()
        before = len(self._under_way)
        if self._may(Request.ROWS):
            self._give_rows()
        if self._may(Request.POINTS):
            self._give_points()
        if self._description != NOTHING and self._may(Request.DESCRIPTION):
            change, self._description = self._description, NOTHING
            self._send(ApiAnswer(Request.DESCRIPTION, change=change))
        if self._question and self._may(Request.WRITERS) and now - self._asked_at >= _ASK_AGAIN_S:
            self._asked_at = now
            self._send(ApiAnswer(Request.WRITERS))
        if self._ask_what_is_held and self._may(Request.HELD):
            self._send(ApiAnswer(Request.HELD))
        if self._report is not None and self._may(Request.REPORT):
            report, self._report = self._report, None
            self._send(ApiAnswer(Request.REPORT, report=report))
        return len(self._under_way) - before

    def due_in(self) -> float | None:
        """Seconds until there may be something to send without anything new happening; None: nothing."""
        times = [pause.due_at for pause in self._backoffs.values() if pause.failures]
        if self._question and Request.WRITERS not in self._under_way:
            times.append(self._asked_at + _ASK_AGAIN_S)
        now = self._clock.monotonic()
        return min((due_at - now for due_at in times if due_at > self._gave_at), default=None)

    def _may(self, request: Request) -> bool:
        return request not in self._under_way and self._backoffs[request].due(self._gave_at)

    def _give_rows(self) -> None:
        files = tuple(self._journal.files.in_state(FileState.VERIFIED, limit=_ROWS_PER_REQUEST))
        if files:
            manifests = (file.artifact_id for file in files if is_manifest(file.path))
            self._send(ApiAnswer(Request.ROWS, files=files, sets=self._journal.sets.members(manifests)))

    def _give_points(self) -> None:
        last, points = self._journal.metrics.outbox(_POINTS_PER_REQUEST)
        if points:
            self._send(ApiAnswer(Request.POINTS, last=last), points)

    def _send(self, answer: ApiAnswer, points: tuple[MetricPoint, ...] = ()) -> None:
        self._under_way.add(answer.request)
        self._workers.submit(lambda: self._calls.ask(answer, points))


def _say_recorded(files: list[JournaledFile]) -> None:
    """A line for each file, but only one for all the small ones of a request: there may be thousands a second."""
    small = [file for file in files if file.digest.size <= _SMALL_BYTES]
    if len(small) > 1 and _log.isEnabledFor(logging.INFO):
        _log.info(
            "recorded small files",
            extra={
                "files": len(small),
                "bytes": sum(file.digest.size for file in small),
                "first": wire_path(small[0].path),
            },
        )
    for file in files:
        level = logging.DEBUG if len(small) > 1 and file.digest.size <= _SMALL_BYTES else logging.INFO
        if _log.isEnabledFor(level):
            _log.log(
                level,
                "recorded",
                extra={"path": wire_path(file.path), "artifact": str(file.artifact_id), "bytes": file.digest.size},
            )


def _subject(request: Request) -> str:
    return f"api {request}"


def _reason(error: ApiError) -> str:
    if isinstance(error, NotFound) and error.code == "iteration-not-found":
        return "IterationNotFound"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "ApiFailed")
