"""The pod's report: what stands where, put together from journal, intake and problems; and its form as last words."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from pinnace.records import MAX_PROBLEMS_PER_REPORT, FileState, Manifest, PodReport, Problem
from pinnace_sidecar.files import Folder, wire_path
from pinnace_sidecar.journal import FileTotals, MetricTotals, Refusal, Tail

_log = logging.getLogger(__name__)

#: Kubernetes cuts a termination message at 4096 bytes.
MAX_LAST_WORDS_BYTES: Final = 4000
_MAX_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything that a report is made of. Times in seconds since the epoch."""

    now: float
    files: FileTotals
    metrics: MetricTotals
    on_volume: dict[FileState, int]
    oldest_on_volume: float | None
    #: Copies that don't say what they are: each may be the only one of a file.
    unknown_copies: int = 0
    refusals: tuple[Refusal, ...] = ()
    unreadable: tuple[Folder, ...] = ()
    tails: tuple[Tail, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def states(self) -> dict[FileState, int]:
        """How many files are in each state; every state is named."""
        states = {state: self.on_volume.get(state, 0) + self.files.states.get(state, 0) for state in FileState}
        states[FileState.QUARANTINED] += self.unknown_copies
        return states

    @property
    def oldest_unshipped_seconds(self) -> float:
        oldest = min(
            (at for at in (self.files.oldest_settled_at, self.oldest_on_volume) if at is not None), default=None
        )
        return 0.0 if oldest is None else max(0.0, self.now - oldest)


def report(
    standing: Standing,
    *,
    iteration_id: UUID,
    pod_uid: str,
    sequence: int,
    manifest: Manifest,
    final: bool,
    injected: bool = False,
) -> PodReport:
    """The report of this moment. `manifest` is of the artifacts that the API acknowledged."""
    return PodReport(
        iteration_id=iteration_id,
        pod_uid=pod_uid,
        sequence=sequence,
        final=final,
        injected=injected,
        files={state: count for state, count in standing.states.items() if count},
        bytes_recorded=standing.files.bytes_recorded,
        oldest_unshipped_seconds=round(standing.oldest_unshipped_seconds, 3),
        metric_points=standing.metrics.acknowledged,
        bad_metric_lines=standing.metrics.bad_lines,
        manifest=manifest,
        problems=problems(standing),
    )


def problems(standing: Standing) -> tuple[Problem, ...]:
    """What a person should know, the most pressing first."""
    found = [*standing.problems, *_unreadable(standing.unreadable), *_quarantined(standing)]
    if standing.metrics.bad_lines:
        first = next((tail.first_bad for tail in standing.tails if tail.first_bad), "")
        message = f"{standing.metrics.bad_lines} lines are no metric lines; the first: {first}"
        found.append(Problem(reason="BadMetricLines", message=message[:_MAX_MESSAGE]))
    if standing.metrics.refused:
        message = f"the API refused {standing.metrics.refused} metric points; the sidecar's log says why"
        found.append(Problem(reason="MetricPointsRefused", message=message))
    return tuple(found[:MAX_PROBLEMS_PER_REPORT])


def last_words(report: PodReport) -> bytes:
    """The report as JSON of at most MAX_LAST_WORDS_BYTES: problems are shortened, then left out, nothing else."""
    for length in (_MAX_MESSAGE, 200, 60):
        short = tuple(msgspec.structs.replace(p, message=_cut(p.message, length)) for p in report.problems)
        words = msgspec.json.encode(msgspec.structs.replace(report, problems=short))
        if len(words) <= MAX_LAST_WORDS_BYTES:
            return words
    return msgspec.json.encode(msgspec.structs.replace(report, problems=()))


def leave(path: Path, report: PodReport) -> None:
    """Write the report as the termination message; without one the API has it nevertheless."""
    _leave(path, last_words(report))
    _log.info("ended", extra={"final": report.final, "files": report.files})


def leave_text(path: Path, text: str) -> None:
    """The same for the end of something that has no report: why it failed."""
    _leave(path, text.encode(errors="replace")[:MAX_LAST_WORDS_BYTES])


def _leave(path: Path, words: bytes) -> None:
    """In place: Kubernetes has mounted this very file, so it can't be renamed over."""
    try:
        path.write_bytes(words)
    except OSError as error:
        _log.warning("no termination message could be left", extra={"path": str(path), "error": str(error)})


def _unreadable(folders: tuple[Folder, ...]) -> list[Problem]:
    if not folders:
        return []
    first = folders[0]
    message = (
        f"{len(folders)} folders of the volume can't be read; the first: {wire_path(first.path) or '.'}:"
        f" {first.problem} (let the training container's umask or fsGroup give the pod's group the right to read)"
    )
    return [Problem(reason="VolumeUnreadable", message=message[:_MAX_MESSAGE])]


def _quarantined(standing: Standing) -> list[Problem]:
    count = standing.files.states.get(FileState.QUARANTINED, 0)
    if not count or not standing.refusals:
        return []
    latest = standing.refusals[0]
    message = f"{count} files can't be shipped; the latest, {wire_path(latest.path)}: {latest.reason}: {latest.message}"
    return [Problem(reason="FilesQuarantined", message=message[:_MAX_MESSAGE], files=count)]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
