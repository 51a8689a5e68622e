"""How far an Experiment has come: what was observed, joined with what its status remembers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from pinnace.ids import iteration_id
from pinnace.records import Iteration, IterationState, PodStanding
from pinnace_operator.acceptance import Accepted
from pinnace_operator.experiment import Experiment
from pinnace_operator.observed import JobEnd, JobView, Observed, PodView, Rescue, Trouble
from pinnace_operator.proof import LOST, Abandoned, Standing, Verdict, abandoned, judge, standings_by_iteration
from pinnace_operator.search import Combination
from pinnace_operator.volumes import is_persistent

#: A Job that has had no pod for so long, or a pod that is being set up for so long, deserves a word.
SLOW_START = timedelta(seconds=60)


class Stage(StrEnum):
    #: No Job yet.
    WAITING = "waiting"
    #: A Job that has not ended.
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationProgress:
    index: int
    id: UUID
    parameters: Combination
    stage: Stage
    job: JobView | None
    pods: tuple[PodView, ...]
    row: Iteration | None
    #: It had a Job with pods that somebody deleted before it ended.
    lost: bool
    #: None: can't be told, because the API does not answer or nothing has started.
    verdict: Verdict | None
    #: Its pods that ended without a final report, as far as is known.
    abandoned: tuple[Abandoned, ...] = ()

    @property
    def ended(self) -> bool:
        return self.stage in (Stage.SUCCEEDED, Stage.FAILED)

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
        return bool(self.pods) or (job is not None and job.pods_active + job.pods_ended > 0)

    @property
    def state(self) -> IterationState:
        """As the metadata API calls it."""
        match self.stage:
            case Stage.SUCCEEDED:
                return IterationState.SUCCEEDED
            case Stage.FAILED:
                return IterationState.FAILED
            case Stage.ACTIVE if any(pod.trained for pod in self.pods):
                return IterationState.RUNNING
            case _:
                return IterationState.PENDING

    @property
    def failure(self) -> str:
        """Why it failed: the training's own end if it was seen, else the Job's."""
        ends = [pod.failure for pod in self.pods if pod.failure]
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
        live = [pod for pod in self.pods if not pod.ended]
        if not live and not self.job.pods_active and not self.job.pods_ended and _slow(self.job.created_at, now):
            return Trouble(
                reason="PodNotCreated",
                message=f"Job {self.job.name} has no pod yet; a quota or an admission rule may refuse it: look at "
                f"kubectl describe job {self.job.name}",
            )
        return None


def progress(experiment: Experiment, observed: Observed, accepted: Accepted) -> tuple[IterationProgress, ...]:
    """Every iteration, by index."""
    status = experiment.status
    succeeded, failed, synced, started, lost = (
        status.succeeded,
        status.failed,
        status.synced,
        status.started,
        status.lost,
    )
    persistent = is_persistent(experiment)
    ids = [iteration_id(experiment.id, index) for index in range(len(accepted.combinations))]
    standings = None
    if observed.rows is not None:
        by_id = {str(id_): index for index, id_ in enumerate(ids)}
        standings = standings_by_iteration(observed.rows.standings, by_id)
    pods: dict[int, list[PodView]] = {}
    for pod in sorted(
        observed.pods, key=lambda pod: (pod.created_at is not None and pod.created_at.timestamp(), pod.name)
    ):
        pods.setdefault(pod.index, []).append(pod)

    def one(index: int) -> IterationProgress:
        job = observed.jobs.get(index)
        stage = _stage(job, index in succeeded, index in failed)
        mine = pods.get(index, [])
        is_lost = index in lost or (stage is Stage.WAITING and index in started)
        known = None if standings is None else standings.get(index, [])
        return IterationProgress(
            index=index,
            id=ids[index],
            parameters=accepted.combinations[index],
            stage=stage,
            job=job,
            pods=tuple(mine),
            row=observed.rows.iterations.get(index) if observed.rows else None,
            lost=is_lost,
            verdict=Verdict(standing=Standing.SYNCED)
            if index in synced
            else _verdict(stage, job, mine, known, observed.rescues, lost=is_lost, persistent=persistent),
            abandoned=tuple(abandoned(mine, known, observed.rescues))
            if known is not None and index not in synced
            else (),
        )

    return tuple(one(index) for index in range(len(ids)))


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
    if stage is Stage.WAITING or standings is None:
        return None
    if lost and stage is not Stage.ACTIVE:
        return LOST
    return judge(job, pods, standings, rescues, persistent=persistent)


def _stage(job: JobView | None, succeeded: bool, failed: bool) -> Stage:
    if succeeded or (job is not None and job.end is JobEnd.SUCCEEDED):
        return Stage.SUCCEEDED
    if failed or (job is not None and job.end is JobEnd.FAILED):
        return Stage.FAILED
    return Stage.WAITING if job is None else Stage.ACTIVE


def _slow(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since > SLOW_START
