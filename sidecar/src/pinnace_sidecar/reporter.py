"""When a report goes to the API, and what the loop publishes about itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

import msgspec

from pinnace.digests import EMPTY_SHA256, manifest_of_sorted
from pinnace.records import FileState, Manifest, PodReport
from pinnace_sidecar import summary
from pinnace_sidecar.adoption import Adoption
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.clock import Clock
from pinnace_sidecar.health import Status
from pinnace_sidecar.inotify import Watcher
from pinnace_sidecar.intake import Intake
from pinnace_sidecar.journal import Journal
from pinnace_sidecar.problems import Problems
from pinnace_sidecar.registrar import Registrar
from pinnace_sidecar.shipper import Shipper
from pinnace_sidecar.summary import Standing
from pinnace_sidecar.tailing import Tailer

#: A report goes out when something changed, not more often than the first, and anyway after the second.
_REPORT_MIN_S: Final = 2.0
_REPORT_MAX_S: Final = 30.0
#: Working out the manifest takes at most this part of the time, but for the final report.
_MANIFEST_SHARE: Final = 50.0
#: How often the figures for /metrics are counted anew.
_PUBLISH_S: Final = 1.0


class Reporter:
    """Puts together what the other parts know; changes nothing but the registrar's next report."""

    def __init__(
        self,
        *,
        iteration_id: UUID,
        pod_uid: str,
        injected: bool,
        journal: Journal,
        intake: Intake,
        tailer: Tailer,
        shipper: Shipper,
        registrar: Registrar,
        buffer: Buffer,
        adoption: Adoption,
        watcher: Watcher,
        problems: Problems,
        clock: Clock,
        store_bandwidth_limit: int,
        credentials_expire_at: Callable[[], float | None],
    ) -> None:
        self._iteration_id = iteration_id
        self._pod_uid = pod_uid
        self._injected = injected
        self._journal = journal
        self._intake = intake
        self._tailer = tailer
        self._shipper = shipper
        self._registrar = registrar
        self._buffer = buffer
        self._adoption = adoption
        self._watcher = watcher
        self._problems = problems
        self._clock = clock
        self._store_bandwidth_limit = store_bandwidth_limit
        self._credentials_expire_at = credentials_expire_at
        # A later process's reports are newer than all of an earlier one's.
        self._sequence = journal.count_start() * 1_000_000
        self._manifest = Manifest(count=-1, sha256=EMPTY_SHA256)
        self._manifest_due_at = clock.monotonic()
        self._latest: PodReport | None = None
        self._final: PodReport | None = None
        self._lessons = 0
        self._looked_at = self._reported_at = self._published_at = clock.monotonic() - _REPORT_MIN_S
        self.status = Status(last_pass_at=clock.monotonic())

    @property
    def final(self) -> PodReport | None:
        """The final report once the API has acknowledged it."""
        return self._final if self._final and self._registrar.acknowledged == self._final else None

    def report(self, *, final: bool = False) -> PodReport:
        """The report of this moment."""
        self._sequence += 1
        standing = self._standing()
        return summary.report(
            standing,
            iteration_id=self._iteration_id,
            pod_uid=self._pod_uid,
            injected=self._injected,
            sequence=self._sequence,
            manifest=self._manifest_of(standing, exact=final),
            final=final,
        )

    def _manifest_of(self, standing: Standing, *, exact: bool) -> Manifest:
        """Of what is recorded; may be some seconds old while a great many files are on their way, unless `exact`."""
        states = standing.files.states
        count = states.get(FileState.RECORDED, 0) + states.get(FileState.SUSPECT, 0)
        began = self._clock.monotonic()
        if exact or (count != self._manifest.count and began >= self._manifest_due_at):
            count, sha256 = manifest_of_sorted(self._journal.files.recorded_artifacts())
            self._manifest = Manifest(count=count, sha256=sha256)
            ended = self._clock.monotonic()
            self._manifest_due_at = ended + _MANIFEST_SHARE * (ended - began)
        return self._manifest

    def hand_in_final(self) -> None:
        """Everything is done: say so, and again only when the API taught us of rows that the journal had lost."""
        if self._final is None or self._lessons < self._registrar.lessons:
            self._lessons = self._registrar.lessons
            self._final = self.report(final=True)
            self._registrar.hand_in(self._final)

    def hand_in(self) -> None:
        """Report when something changed, or when it has been quiet for long."""
        now = self._clock.monotonic()
        self._looked_at = now
        if self._final is not None or now - self._reported_at < _REPORT_MIN_S:
            return
        report = self.report()
        if now - self._reported_at >= _REPORT_MAX_S or _differs(report, self._latest):
            self._latest, self._reported_at = report, now
            self._registrar.hand_in(report)

    def due_in(self) -> float | None:
        """Seconds until a change that came too soon after the latest report can be reported; None: none did."""
        due_at = self._reported_at + _REPORT_MIN_S
        return due_at - self._clock.monotonic() if self._final is None and self._looked_at < due_at else None

    def publish(self) -> None:
        """Bring `status` up to date: that the loop lives each time, the figures once a second."""
        now = self._clock.monotonic()
        if now - self._published_at < _PUBLISH_S:
            self.status = replace(self.status, last_pass_at=now)
            return
        self._published_at = now
        standing = self._standing()
        self.status = Status(
            last_pass_at=now,
            files=standing.states,
            oldest_unshipped_seconds=standing.oldest_unshipped_seconds,
            uploaded_bytes=self._shipper.uploaded_bytes,
            shared_bytes=self._shipper.shared_bytes,
            upload_failures=dict(self._shipper.failures),
            buffer_bytes=self._buffer.used_bytes,
            buffer_limit_bytes=self._buffer.limit_bytes,
            rescans=self._intake.looks,
            inotify_overflows=self._watcher.overflows,
            verified={str(by): count for by, count in self._shipper.verified.items()},
            store_operations_limit=self._shipper.operations_allowed,
            store_bandwidth_limit=self._store_bandwidth_limit,
            credentials_expire_seconds=self._seconds_until(self._credentials_expire_at()),
        )

    def _seconds_until(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self._clock.now()

    def _standing(self) -> Standing:
        return Standing(
            now=self._clock.now(),
            files=self._journal.files.totals(),
            metrics=self._journal.metrics.totals(),
            on_volume=self._intake.states(),
            oldest_on_volume=self._intake.oldest_settled_at(),
            unknown_copies=self._adoption.unknown(),
            refusals=tuple(self._journal.files.refusals(1)),
            unreadable=self._intake.unreadable,
            tails=self._tailer.all(),
            problems=self._problems.problems(),
        )


def _differs(report: PodReport, before: PodReport | None) -> bool:
    """Whether a report says something new; that time goes by is nothing new."""
    if before is None:
        return True
    return report != _with_time_of(before, report)


def _with_time_of(before: PodReport, report: PodReport) -> PodReport:
    return msgspec.structs.replace(
        before, sequence=report.sequence, oldest_unshipped_seconds=report.oldest_unshipped_seconds
    )
