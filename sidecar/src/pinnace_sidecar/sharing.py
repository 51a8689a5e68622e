"""Which files hold content that their experiment has recorded already, so that they need not be sent again.

The API is asked in batches: one request is under way at a time, and what comes meanwhile goes into the next. Nothing
depends on its answers: a file that hears nothing in time is sent, and while the API fails nobody waits for it. What is
answered is not believed: the store is asked for the object, and the API again when the row is made.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pinnace.client import ApiError
from pinnace.records import MAX_ARTIFACTS_PER_REQUEST, Content, ContentQuery, FileState, RecordedContent
from pinnace_sidecar import backoff
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.manifest import is_manifest
from pinnace_sidecar.transfer import Transfer
from pinnace_sidecar.workers import Workers

_log = logging.getLogger(__name__)

#: How long files wait for an answer.
_PATIENCE_S: Final = 2.0

Ask = Callable[[ContentQuery], tuple[RecordedContent, ...]]


@dataclass(frozen=True, slots=True)
class ContentAnswer:
    """What came of a question about files (by their ids in the journal); `found` by SHA-256, None without an answer."""

    asked: dict[int, Content]
    found: dict[str, RecordedContent] | None


class Sharing:
    """One loop calls `collect`, `awaits` and `submit` in turn. Files below `least_bytes` are not asked about (0: none
    are), because sending one costs no more than asking.
    """

    def __init__(
        self,
        *,
        ask: Ask,
        workers: Workers[ContentAnswer],
        endpoint: str,
        bucket: str,
        least_bytes: int,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._ask = ask
        self._workers = workers
        self._endpoint = endpoint
        self._bucket = bucket
        self._least_bytes = least_bytes
        self._clock = clock
        self._rng = rng
        self._backoff = backoff.NONE
        self._asked_at = self._passed_at = 0.0
        #: By the file's id: what is to be asked, until when it waits, and what was answered.
        self._questions: dict[int, Content] = {}
        self._deadlines: dict[int, float] = {}
        self._answers: dict[int, RecordedContent | None] = {}

    def collect(self) -> None:
        """Take the answers that are there."""
        for answer in self._workers.collect():
            found = answer.found or {}
            if answer.found is None:
                self._backoff = self._backoff.failed(self._clock.monotonic(), self._rng)
            else:
                self._backoff = backoff.NONE
            for file_id, content in answer.asked.items():
                if self._deadlines.pop(file_id, None) is not None:
                    self._answers[file_id] = found.get(content.sha256)

    def awaits(self, transfer: Transfer) -> bool:
        """Whether nothing is to be sent of this file yet, because the API is asked about it. Sets `transfer.shared`."""
        if not transfer.asks:
            return False
        file_id, now = transfer.file.id, self._clock.monotonic()
        if file_id in self._deadlines:
            if now < self._deadlines[file_id]:
                return True
        elif file_id not in self._answers and self._is_worth_asking(transfer) and self._may_ask(now):
            digest = transfer.file.digest
            self._questions[file_id] = Content(size=digest.size, sha256=digest.sha256, crc32c=digest.crc32c)
            self._deadlines[file_id] = now + _PATIENCE_S
            return True
        transfer.asks = False
        transfer.shared = self._answers.pop(file_id, None)
        self._questions.pop(file_id, None)
        self._deadlines.pop(file_id, None)
        return False

    def submit(self) -> None:
        """Ask what is to be asked, unless an answer is still to come."""
        self._passed_at = self._clock.monotonic()
        if not self._questions or self._workers.busy:
            return
        asked = dict(list(self._questions.items())[:MAX_ARTIFACTS_PER_REQUEST])
        for file_id in asked:
            del self._questions[file_id]
        self._asked_at = self._passed_at
        self._workers.submit(lambda: self._find(asked))

    def due_in(self) -> float | None:
        """Seconds until a file has waited long enough; None when none waits."""
        now = self._clock.monotonic()
        # One that had waited enough already is held up by the store's pause, which ends by itself.
        return min((due_at - now for due_at in self._deadlines.values() if due_at > self._passed_at), default=None)

    def _is_worth_asking(self, transfer: Transfer) -> bool:
        # A manifest has an object of its own, so that nothing can send it back once the API has its set.
        file = transfer.file
        return (
            0 < self._least_bytes <= file.digest.size
            and file.state is FileState.BUFFERED
            and transfer.upload is None
            and not is_manifest(file.path)
        )

    def _may_ask(self, now: float) -> bool:
        hangs = self._workers.busy and now - self._asked_at >= _PATIENCE_S
        return self._backoff.due(now) and not hangs

    def _find(self, asked: dict[int, Content]) -> ContentAnswer:
        contents = tuple({content.sha256: content for content in asked.values()}.values())
        try:
            found = self._ask(ContentQuery(endpoint=self._endpoint, bucket=self._bucket, contents=contents))
        except ApiError as error:
            _log.info("files are sent without knowing what is recorded", extra={"error": str(error)})
            return ContentAnswer(asked, None)
        return ContentAnswer(asked, {recorded.sha256: recorded for recorded in found})
