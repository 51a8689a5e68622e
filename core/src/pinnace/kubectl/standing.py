"""Where an Experiment stands: its iterations, their pods, the pods' files, and what is stuck and why. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from pinnace.ids import iteration_id
from pinnace.kubectl.objects import Condition, Experiment, IterationCounts, Job, Pod, indexes
from pinnace.naming import SIDECAR_CONTAINER
from pinnace.records import FileState, Iteration, PodReport, PodStanding
from pinnace.records.record import Record


class Stage(StrEnum):
    #: Has no Job yet.
    WAITING = "waiting"
    #: Its Job is held back, by spec.suspend or by a queue.
    SUSPENDED = "suspended"
    #: No container of the training runs yet.
    STARTING = "starting"
    RUNNING = "running"
    #: The training has ended, and its sidecar ships the last files.
    DRAINING = "draining"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: Ended before its own end: it was hopeless, or another one reached the target.
    STOPPED = "stopped"
    #: Never to begin.
    SKIPPED = "skipped"


_ENDED = (Stage.SUCCEEDED, Stage.FAILED, Stage.STOPPED)


#: What a container waits for while all is well.
_ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})


class PodState(Record, frozen=True, kw_only=True):
    #: Empty for one that the cluster has no more.
    name: str
    uid: str
    #: Kubernetes' word; `Gone`: only the metadata API still knows it.
    phase: str
    worker: int | None = None
    #: None: not known, because it has reported nothing or nothing holds its report.
    files: Mapping[FileState, int] | None = None
    bytes_recorded: int = 0
    oldest_unshipped_seconds: float = 0.0
    #: The sidecar has said that it will change nothing more.
    final: bool = False
    #: Why it does not start, run or ship, in words.
    troubles: tuple[str, ...] = ()


class IterationStanding(Record, frozen=True, kw_only=True):
    index: int
    id: UUID
    stage: Stage
    #: Everything that its pods wrote is proven to be ashore.
    synced: bool
    #: None: not known, because neither a Job nor the metadata API tells.
    parameters: Mapping[str, Any] | None
    pods: tuple[PodState, ...] = ()
    #: Why it failed or waits, in words of its Job; its pods' own are with them.
    troubles: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Nothing about it will change, and nobody has to look."""
        return self.stage is Stage.SKIPPED or (self.stage in (Stage.SUCCEEDED, Stage.STOPPED) and self.synced)

    @property
    def has_ended(self) -> bool:
        """After it had begun."""
        return self.stage in _ENDED


class ExperimentStanding(Record, frozen=True, kw_only=True):
    """What `kubectl pinnace status --json` prints."""

    name: str
    namespace: str
    id: str
    project: str
    suspended: bool
    conditions: tuple[Condition, ...]
    iterations: tuple[IterationStanding, ...]
    recorded: int
    bytes_recorded: int
    pending: int
    oldest_unshipped_seconds: int
    best_iteration: int | None
    best_value: str
    #: What could not be learnt, and what it takes; empty when everything was.
    missing: str = ""


class Rows(Record, frozen=True, kw_only=True):
    """What the metadata API holds of it. `missing` as in ExperimentStanding."""

    iterations: tuple[Iteration, ...] = ()
    pods: tuple[PodStanding, ...] = ()
    missing: str = ""


def standing(experiment: Experiment, jobs: Iterable[Job], pods: Iterable[Pod], rows: Rows) -> ExperimentStanding:
    status = experiment.status
    # What rescues ship is shown with the pods that they speak for.
    jobs_by_index = {job.index: job for job in sorted(jobs, key=_age) if not job.is_rescue}
    pods_by_index: dict[int, list[Pod]] = defaultdict(list)
    for pod in sorted(pods, key=_age):
        if pod.index is not None and not pod.is_rescue:
            pods_by_index[pod.index].append(pod)
    rows_by_index = {row.index: row for row in rows.iterations}
    standings_by_iteration: dict[UUID, list[PodStanding]] = defaultdict(list)
    for each in rows.pods:
        standings_by_iteration[each.iteration_id].append(each)
    ends, synced = _ends(status.iterations), indexes(status.iterations.synced_indexes)
    known = {index for index in (*jobs_by_index, *pods_by_index, *rows_by_index) if index is not None}
    return ExperimentStanding(
        name=experiment.metadata.name,
        namespace=experiment.metadata.namespace,
        id=experiment.metadata.uid,
        project=experiment.spec.project or experiment.metadata.namespace,
        suspended=experiment.spec.suspend,
        conditions=status.conditions,
        iterations=tuple(
            _iteration(
                index,
                experiment,
                end=ends.get(index),
                synced=index in synced,
                job=jobs_by_index.get(index),
                pods=pods_by_index[index],
                row=rows_by_index.get(index),
                reported=standings_by_iteration[iteration_id(experiment.id, index)],
            )
            for index in sorted(known | set(range(status.iterations.total)))
        ),
        recorded=status.artifacts.recorded,
        bytes_recorded=status.artifacts.bytes,
        pending=status.artifacts.pending,
        oldest_unshipped_seconds=status.artifacts.oldest_unshipped_seconds,
        best_iteration=status.iterations.best_iteration,
        best_value=status.iterations.best_value,
        missing=rows.missing,
    )


def _iteration(
    index: int,
    experiment: Experiment,
    *,
    end: Stage | None,
    synced: bool,
    job: Job | None,
    pods: Sequence[Pod],
    row: Iteration | None,
    reported: Sequence[PodStanding],
) -> IterationStanding:
    stage = end or _stage(job, pods)
    parameters = job.parameters if job else None
    if parameters is None and row is not None:
        parameters = row.parameters
    by_pod = {each.pod_uid: each for each in reported}
    states = [_pod(pod, by_pod.pop(pod.metadata.uid, None)) for pod in pods]
    return IterationStanding(
        index=index,
        id=iteration_id(experiment.id, index),
        stage=stage,
        synced=synced,
        parameters=parameters,
        pods=(*(_gone(each) for each in by_pod.values()), *states),
        troubles=tuple(_job_troubles(job, experiment)) if job and stage in (Stage.FAILED, Stage.SUSPENDED) else (),
    )


def _ends(counts: IterationCounts) -> Mapping[int, Stage]:
    """Of the iterations that are over, as the status remembers them."""
    remembered = (
        (counts.skipped_indexes, Stage.SKIPPED),
        (counts.stopped_indexes, Stage.STOPPED),
        (counts.succeeded_indexes, Stage.SUCCEEDED),
        (counts.failed_indexes, Stage.FAILED),
    )
    # Of an index that stands in several, the last one counts.
    return {index: stage for text, stage in remembered for index in indexes(text)}


def _stage(job: Job | None, pods: Sequence[Pod]) -> Stage:
    """Of an iteration that is not over."""
    living = [pod for pod in pods if not pod.ended]
    if job is None:
        # Another engine's pods, or those of another owner.
        return _stage_of_pods(living) if living else Stage.WAITING
    return Stage.SUSPENDED if job.spec.suspend and not living else _stage_of_pods(living)


def _stage_of_pods(living: Sequence[Pod]) -> Stage:
    trained = [each for pod in living for each in pod.status.container_statuses]
    if any(each.state.running is not None for each in trained):
        return Stage.RUNNING
    if trained and all(each.state.terminated is not None for each in trained):
        return Stage.DRAINING
    return Stage.STARTING


def _job_troubles(job: Job, experiment: Experiment) -> Iterator[str]:
    if job.spec.suspend and not experiment.spec.suspend:
        yield "its Job is suspended by something else than Pinnace, for instance a queue"
    for condition in job.status.conditions:
        if condition.type == "Failed" and condition.status == "True":
            yield ": ".join(filter(None, (condition.reason, condition.message)))


def _pod(pod: Pod, reported: PodStanding | None) -> PodState:
    # What it said at its end is the latest, and may not have reached the API.
    report = pod.report or (reported.report if reported else None)
    return PodState(
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        phase="Terminating" if pod.metadata.deletion_timestamp else pod.status.phase,
        worker=pod.worker,
        files=report.files if report else None,
        bytes_recorded=report.bytes_recorded if report else 0,
        oldest_unshipped_seconds=report.oldest_unshipped_seconds if report and not report.final else 0.0,
        final=report.final if report else False,
        troubles=(*_troubles(pod, report), *_problems(report)),
    )


def _gone(reported: PodStanding) -> PodState:
    report = reported.report
    return PodState(
        name="",
        uid=reported.pod_uid,
        phase="Gone",
        files=report.files if report else None,
        bytes_recorded=reported.bytes_recorded,
        final=report.final if report else False,
        troubles=() if report and report.final else ("it went away without a final report of its sidecar",),
    )


def _troubles(pod: Pod, report: PodReport | None) -> Iterator[str]:
    status = pod.status
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.reason == "Unschedulable":
            yield f"finds no node: {condition.message}"
    if status.phase == "Failed" and status.reason:
        yield ": ".join(filter(None, (status.reason, status.message)))
    for each in (*status.init_container_statuses, *status.container_statuses):
        waiting, ended = each.state.waiting, each.state.terminated
        if waiting is not None and waiting.reason not in _ON_ITS_WAY:
            yield f"container {each.name} waits: {': '.join(filter(None, (waiting.reason, waiting.message)))}"
        if ended is not None and ended.exit_code and each.name != SIDECAR_CONTAINER:
            why = f" ({ended.reason})" if ended.reason not in ("", "Error") else ""
            yield f"container {each.name} ended with exit code {ended.exit_code}{why}"
    if pod.ended and (report is None or not report.final) and _has_run(pod):
        yield "it ended without a final report of its sidecar"


def _has_run(pod: Pod) -> bool:
    return any(each.state.terminated is not None for each in pod.status.container_statuses)


def _problems(report: PodReport | None) -> Iterator[str]:
    for problem in report.problems if report else ():
        files = f" ({problem.files} file{'' if problem.files == 1 else 's'})" if problem.files else ""
        yield f"{problem.reason}: {problem.message}{files}"


def _age(item: Job | Pod) -> tuple[bool, float, str]:
    """The oldest first."""
    created = item.metadata.creation_timestamp
    return created is not None, created.timestamp() if created else 0.0, item.metadata.name
