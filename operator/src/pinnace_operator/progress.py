"""How far an Experiment has come: what was observed, joined with what its status remembers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from msgspec import UNSET

from pinnace.ids import iteration_id
from pinnace.records import Iteration, IterationState, PodStanding
from pinnace_operator.acceptance import Accepted
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.experiment_status import Status
from pinnace_operator.indexes import IndexSet
from pinnace_operator.observed import JobEnd, JobView, Observed, PodView, Rescue, Trouble
from pinnace_operator.proof import (
    LOST,
    Abandoned,
    Standing,
    Verdict,
    abandoned,
    judge,
    judge_without_job,
    standings_by_iteration,
)
from pinnace_operator.search.objective import Valued, reaching
from pinnace_operator.search.values import Combination
from pinnace_operator.volumes import is_persistent

#: A Job that has had no pod for so long, or a pod that is being set up for so long, deserves a word.
SLOW_START = timedelta(seconds=60)


class Stage(StrEnum):
    #: No Job yet, and its parameters are still to be chosen.
    OPEN = "open"
    #: No Job yet.
    WAITING = "waiting"
    #: A Job that has not ended.
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: Ended by us, before its own end.
    STOPPED = "stopped"
    #: Never to begin.
    SKIPPED = "skipped"


_BEFORE = (Stage.OPEN, Stage.WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationProgress:
    index: int
    id: UUID
    #: Empty while it is open.
    parameters: Combination
    stage: Stage
    job: JobView | None
    pods: tuple[PodView, ...]
    row: Iteration | None
    #: It had pods, as the status remembers.
    has_started: bool
    #: It had a Job with pods that somebody deleted before it ended.
    lost: bool
    #: None: can't be told, because the API does not answer, or nothing to be told, because nothing has started.
    verdict: Verdict | None
    #: Its pods that ended without a final report, as far as is known.
    abandoned: tuple[Abandoned, ...] = ()

    @property
    def ended(self) -> bool:
        return self.stage in (Stage.SUCCEEDED, Stage.FAILED, Stage.STOPPED, Stage.SKIPPED)

    @property
    def begun(self) -> bool:
        return self.stage not in (*_BEFORE, Stage.SKIPPED)

    @property
    def synced(self) -> bool:
        return self.verdict is not None and self.verdict.standing is Standing.SYNCED

    @property
    def running(self) -> bool:
        """Whether a pod of it is at work, or shipping what it wrote."""
        return any(pod.trained and not pod.ended and pod.trouble is None for pod in self.pods)

    @property
    def had_pods(self) -> bool:
        job = self.job
        return any(not pod.injected for pod in self.pods) or (job is not None and job.pods_active + job.pods_ended > 0)

    @property
    def is_held(self) -> bool:
        """A queue, or somebody else, has not let it begin yet."""
        job = self.job
        return (
            self.stage is Stage.ACTIVE
            and not self.has_started
            and not self.had_pods
            and job is not None
            and job.suspended
            and not job.suspended_by_us
        )

    @property
    def state(self) -> IterationState:
        """As the metadata API calls it."""
        match self.stage:
            case Stage.SUCCEEDED:
                return IterationState.SUCCEEDED
            case Stage.FAILED:
                return IterationState.FAILED
            case Stage.STOPPED | Stage.SKIPPED:
                return IterationState.KILLED
            case Stage.ACTIVE if any(pod.trained for pod in self.pods):
                return IterationState.RUNNING
            case _:
                return IterationState.PENDING

    @property
    def failure(self) -> str:
        """Why it failed: the training's own end if it was seen, else the Job's."""
        ends = [pod.failure for pod in self.pods if pod.failure and not pod.injected]
        return ends[-1] if ends else (self.job.message if self.job else "")

    def trouble(self, now: datetime) -> Trouble | None:
        """Why it does not start or run."""
        if self.stage is not Stage.ACTIVE or self.job is None or self.job.suspended:
            return None
        for pod in self.pods:
            if pod.trouble is not None and not pod.ended:
                return pod.trouble
            if pod.setting_up and _slow(pod.created_at, now):
                return Trouble(
                    reason="PodStartsSlowly",
                    message=f"pod {pod.name} is still being set up; a volume or a large image may be the cause: "
                    "look at kubectl describe pod",
                )
        live = [pod for pod in self.pods if not pod.ended and not pod.injected]
        # An engine counts no pods, and may have none between two of its steps.
        none_yet = not live and not self.job.pods_active and not self.job.pods_ended
        if (none_yet if self.job.engine is EngineKind.JOB else not self.had_pods) and _slow(self.job.created_at, now):
            kind = self.job.engine
            return Trouble(
                reason="PodNotCreated",
                message=f"{kind} {self.job.name} has no pod yet; a quota or an admission rule may refuse it: look at "
                f"kubectl describe {kind.lower()} {self.job.name}",
            )
        return None


def target_reached(experiment: Experiment, observed: Observed) -> Valued | None:
    """Who reached the target of the objective. Once the status says so it stays so, whatever is edited later."""
    known = experiment.status.iterations
    if known.target_iteration is not UNSET and known.target_value is not UNSET:
        return Valued(index=known.target_iteration, value=float(known.target_value))
    return None if observed.rows is None else reaching(experiment.spec.objective, observed.rows.iterations)


def progress(experiment: Experiment, observed: Observed, accepted: Accepted) -> tuple[IterationProgress, ...]:
    """Every iteration, by index."""
    persistent = is_persistent(experiment)
    ids = [iteration_id(experiment.id, index) for index in range(accepted.search.count)]
    standings = None
    if observed.rows is not None:
        by_id = {str(id_): index for index, id_ in enumerate(ids)}
        standings = standings_by_iteration(observed.rows.standings, by_id)
    pods: dict[int, list[PodView]] = {}
    for pod in sorted(
        observed.pods, key=lambda pod: (pod.created_at is not None and pod.created_at.timestamp(), pod.name)
    ):
        pods.setdefault(pod.index, []).append(pod)
    rows = observed.rows.iterations if observed.rows else {}
    memory = _Remembered.of(experiment.status)

    def one(index: int) -> IterationProgress:
        job, row, mine = observed.jobs.get(index), rows.get(index), pods.get(index, [])
        stage = _stage(index, job, mine, memory)
        parameters = accepted.search.parameters_of(index, _remembered(job, row))
        if parameters is None and stage is Stage.WAITING:
            stage = Stage.OPEN
        is_lost = index in memory.lost or (stage in _BEFORE and index in memory.started)
        known = None if standings is None else standings.get(index, [])
        return IterationProgress(
            index=index,
            id=ids[index],
            parameters=parameters or {},
            stage=stage,
            job=job,
            pods=tuple(mine),
            row=row,
            has_started=index in memory.started,
            lost=is_lost,
            verdict=Verdict(standing=Standing.SYNCED)
            if index in memory.synced
            else _verdict(stage, job, mine, known, observed.rescues, lost=is_lost, persistent=persistent),
            abandoned=tuple(abandoned(mine, known, observed.rescues))
            if known is not None and index not in memory.synced
            else (),
        )

    found = tuple(one(index) for index in range(len(ids)))
    return tuple(map(_closed, found)) if is_closed(experiment, observed, found) else found


def is_closed(experiment: Experiment, observed: Observed, iterations: Sequence[IterationProgress]) -> bool:
    """Whether no iteration is to begin any more."""
    if experiment.status.skipped or target_reached(experiment, observed) is not None:
        return True
    limit = experiment.spec.max_failed_iterations
    return limit is not None and sum(iteration.stage is Stage.FAILED for iteration in iterations) > limit


def _closed(iteration: IterationProgress) -> IterationProgress:
    if iteration.stage not in _BEFORE:
        return iteration
    if iteration.lost:
        # It had begun, and nobody can tell how far it came.
        return replace(iteration, stage=Stage.STOPPED, verdict=LOST)
    return replace(iteration, stage=Stage.SKIPPED)


def _remembered(job: JobView | None, row: Iteration | None) -> Mapping[str, Any]:
    """The parameters of an iteration that has some already: those that it runs with, or is about to."""
    if job is not None and job.parameters:
        return job.parameters
    return row.parameters if row is not None else {}


def _verdict(
    stage: Stage,
    job: JobView | None,
    pods: Sequence[PodView],
    standings: list[PodStanding] | None,
    rescues: Mapping[str, Rescue],
    *,
    lost: bool,
    persistent: bool,
) -> Verdict | None:
    if standings is None:
        return None
    if stage in (*_BEFORE, Stage.SKIPPED):
        return None if lost else judge_without_job(pods, standings, over=stage is Stage.SKIPPED)
    if lost and stage is not Stage.ACTIVE:
        return LOST
    return judge(job, pods, standings, rescues, persistent=persistent)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    """The index sets of a status, parsed once."""

    succeeded: IndexSet
    failed: IndexSet
    stopped: IndexSet
    skipped: IndexSet
    synced: IndexSet
    started: IndexSet
    lost: IndexSet

    @classmethod
    def of(cls, status: Status) -> "_Remembered":
        return cls(
            succeeded=status.succeeded,
            failed=status.failed,
            stopped=status.stopped,
            skipped=status.skipped,
            synced=status.synced,
            started=status.started,
            lost=status.lost,
        )


def _stage(index: int, job: JobView | None, pods: Sequence[PodView], memory: _Remembered) -> Stage:
    for ended, stage in (
        (memory.succeeded, Stage.SUCCEEDED),
        (memory.failed, Stage.FAILED),
        (memory.stopped, Stage.STOPPED),
    ):
        if index in ended:
            return stage
    if job is None:
        return Stage.SKIPPED if index in memory.skipped else Stage.WAITING
    if job.end is not None:
        return Stage.SUCCEEDED if job.end is JobEnd.SUCCEEDED else Stage.FAILED
    return Stage.STOPPED if job.over and all(pod.ended for pod in pods) else Stage.ACTIVE


def _slow(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since > SLOW_START
