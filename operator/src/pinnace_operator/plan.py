"""What to do next about one Experiment: (experiment, observed, platform, now) → actions. Pure, and level-based.

It is asked the same question whatever happened, and looks at the whole state each time. On a world in which every
action has been carried out, the plan is empty. An iteration that the status once counted as ended is never run again,
and an Experiment whose artifacts are proven is left alone for ever, even if its Jobs are deleted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from pinnace.records import ExperimentWrite, Iteration, IterationState, IterationWrite
from pinnace_operator import deletion
from pinnace_operator.acceptance import Accepted, NotAcceptedError, accept
from pinnace_operator.actions import (
    Action,
    Announce,
    CreateJob,
    EndJob,
    Hold,
    PutExperimentRow,
    PutIterationRow,
    RecordImages,
    Release,
    SuspendJob,
    TrashExperiment,
    WriteStatus,
)
from pinnace_operator.conditions import transitions
from pinnace_operator.engines.objects import build_object
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.experiment_status import Status
from pinnace_operator.expiry import expiries, released
from pinnace_operator.job import build_job, build_service
from pinnace_operator.observed import Observed, PodView, Refusal, Trouble
from pinnace_operator.progress import IterationProgress, Stage, progress
from pinnace_operator.proof import Standing
from pinnace_operator.recipe import recipe
from pinnace_operator.rescue import rescues
from pinnace_operator.search.values import Combination
from pinnace_operator.settings import Platform
from pinnace_operator.statuses import only_figures_moved, status_of, status_of_deleted, status_of_refused
from pinnace_operator.suspensions import halt, is_to_be_halted, suspensions
from pinnace_operator.turns import chosen, next_ones, to_stop
from pinnace_operator.volumes import claim

#: Rows written in one round, so that a large sweep does not keep the others waiting.
MAX_ROWS: Final = 100


#: Figures that move while pods run, and nothing else, are written no more often than this.
FIGURES_PAUSE: Final = timedelta(seconds=20)


#: What a Job's activeDeadlineSeconds is set to when it is to end at once, or one more.
_END_S: Final = 1

#: So long until a Job that was told to end and has not is told anew. Kubernetes' Job controller waits five minutes for
#: a pod that it could not make in a namespace that ends, declares no Job over meanwhile, and looks again only when the
#: Job changes.
_TOLD_ANEW_S: Final = 360.0

#: How often to look at something that will hardly change by itself.
SLOW_POLL_S: Final = 300.0


def plan(experiment: Experiment, observed: Observed, platform: Platform, now: datetime) -> tuple[Action, ...]:
    """The actions, in the order in which they are to be carried out; Jobs first, because training waits for nothing."""
    if deletion.is_deleted(experiment):
        return tuple(_deletion(experiment, observed, platform, now)) if deletion.is_held(experiment) else ()
    if experiment.status.done:
        return (
            *expiries(experiment, observed, now),
            *_write_status(experiment, observed, _up_to_date(experiment, observed), now),
            *_hold(experiment, has_work=False),
        )
    try:
        accepted = accept(experiment, platform, observed.offers)
    except NotAcceptedError as error:
        return tuple(_write_status(experiment, observed, status_of_refused(experiment, error, now), now))
    observed = _with_withheld(experiment, observed, accepted)
    iterations = progress(experiment, observed, accepted)
    stops = to_stop(experiment, iterations, observed)
    free = _free(experiment, iterations)
    changes: tuple[Action, ...] = tuple(suspensions(experiment, iterations, stops, free))
    turn: Sequence[IterationProgress] = ()
    may_create = not observed.namespace_ends and not _holds_back(observed.refusal, experiment.metadata.generation, now)
    if observed.namespace_ends:
        changes = tuple(_ends(observed, now))
    elif may_create:
        resumed = sum(isinstance(action, SuspendJob) and not action.suspend for action in changes)
        turn = next_ones(experiment, iterations, free - resumed)
    parameters = chosen(experiment, iterations, turn, observed, accepted)
    creations = tuple(_creation(experiment, one, accepted, platform) for one in turn if one.stage is Stage.WAITING)
    status = status_of(experiment, iterations, observed, now)
    return (
        *_hold(
            msgspec.structs.replace(experiment, status=status),
            has_work=bool(creations or observed.jobs or observed.pods),
        ),
        *changes,
        *creations,
        *(rescues(experiment, iterations, observed, accepted, platform) if may_create else ()),
        *_rows(experiment, iterations, observed, parameters),
        *_images(iterations, observed),
        *expiries(experiment, observed, now),
        *_write_status(experiment, observed, status, now),
    )


def next_look(experiment: Experiment, observed: Observed, platform: Platform, now: datetime) -> float | None:
    """Seconds until it is worth looking again without being woken; None: only when something changes.

    `experiment` with its new status.
    """
    if deletion.is_deleted(experiment):
        left = (deletion.deadline(experiment) - now).total_seconds()
        return min(platform.poll_seconds, max(left, 1.0)) if deletion.is_held(experiment) else None
    if experiment.status.done:
        return None if experiment.settled else platform.poll_seconds
    return _next_look_at_work(experiment, observed, platform)


def _next_look_at_work(experiment: Experiment, observed: Observed, platform: Platform) -> float | None:
    try:
        accepted = accept(experiment, platform, observed.offers)
    except NotAcceptedError:
        return None
    observed = _with_withheld(experiment, observed, accepted)
    iterations = progress(experiment, observed, accepted)
    if observed.rows is None:
        return platform.poll_seconds
    if all(iteration.ended for iteration in iterations):
        verdicts = [iteration.verdict.standing for iteration in iterations if iteration.verdict is not None]
        stuck = max(verdicts, default=Standing.SYNCED) >= Standing.QUARANTINED
        return SLOW_POLL_S if stuck else platform.poll_seconds
    alive = any(not pod.ended for pod in observed.pods)
    hopeless = observed.refusal is not None and observed.refusal.retry_at is None
    if (experiment.spec.suspend or hopeless) and not alive:
        return SLOW_POLL_S
    return platform.poll_seconds


def _hold(experiment: Experiment, *, has_work: bool) -> Iterator[Hold | Release]:
    wanted = deletion.should_hold(experiment, has_work=has_work)
    if wanted is not deletion.is_held(experiment):
        yield Hold() if wanted else Release()


def _deletion(experiment: Experiment, observed: Observed, platform: Platform, now: datetime) -> Iterator[Action]:
    end = deletion.parting(experiment, observed, now)
    if end is None:
        if observed.namespace_ends:
            yield from _ends(observed, now)
        else:
            for job in filter(is_to_be_halted, observed.jobs.values()):
                yield halt(job, [pod for pod in observed.pods if pod.index == job.index])
            yield from _last_rescues(experiment, observed, platform, now)
        message = deletion.waits(experiment, observed)
        status = status_of_deleted(experiment, observed, message, now)
        if status != experiment.status:
            yield WriteStatus(status=status)
        if observed.namespace_ends is None or not deletion.is_told(experiment):
            # Told once, however often it is said; and whether it can be said tells of the namespace.
            yield Announce(reason=deletion.WAITING, message=message, is_good=True)
        return
    for row, state in deletion.last_states(experiment, observed):
        if _RANK[state] > _RANK[row.state]:
            yield PutIterationRow(id=row.id, row=_ended_row(row, state, now))
    if deletion.is_to_be_trashed(experiment) and not observed.is_trashed:
        yield TrashExperiment(id=experiment.id)
    yield Announce(reason=end.reason, message=end.message, is_good=end.is_good)
    yield Release(after_trash=deletion.is_to_be_trashed(experiment) and not end.is_final)


def _last_rescues(experiment: Experiment, observed: Observed, platform: Platform, now: datetime) -> Iterator[Action]:
    """Claims go with the Experiment: what lies there is shipped while it is held."""
    if _holds_back(observed.refusal, experiment.metadata.generation, now):
        return
    try:
        accepted = accept(experiment, platform, observed.offers)
    except NotAcceptedError:
        return
    if accepted.withheld is None:
        yield from rescues(experiment, progress(experiment, observed, accepted), observed, accepted, platform)


def _ends(observed: Observed, now: datetime) -> Iterator[EndJob | SuspendJob]:
    """In a namespace that is being deleted: it waits for the pods, and they for their Job, which can't replace them."""
    seconds = _END_S + int(now.timestamp() // _TOLD_ANEW_S) % 2
    for job in observed.jobs.values():
        if job.engine is not EngineKind.JOB:
            if is_to_be_halted(job):
                yield halt(job)
        elif job.end is None and job.deadline_seconds != seconds:
            yield EndJob(name=job.name, uid=job.uid, seconds=seconds)


def _ended_row(row: Iteration, state: IterationState, now: datetime) -> IterationWrite:
    return IterationWrite(
        experiment_id=row.experiment_id,
        index=row.index,
        parameters=row.parameters,
        state=state,
        started_at=row.started_at,
        ended_at=row.ended_at or now,
        environment={},
    )


def _with_withheld(experiment: Experiment, observed: Observed, accepted: Accepted) -> Observed:
    """A store that is not to be had holds Jobs back as an API server does that refuses them."""
    if accepted.withheld is None:
        return observed
    trouble = Trouble(reason=accepted.withheld.reason, message=str(accepted.withheld))
    return replace(observed, refusal=Refusal(trouble=trouble, generation=experiment.metadata.generation, retry_at=None))


def _creation(
    experiment: Experiment, iteration: IterationProgress, accepted: Accepted, platform: Platform
) -> CreateJob:
    index = iteration.index
    if experiment.spec.engine.kind is not EngineKind.JOB:
        return CreateJob(index=index, manifest=build_object(experiment, index, iteration.parameters, accepted))
    manifest = build_job(experiment, index, iteration.parameters, accepted, platform)
    return CreateJob(
        index=index,
        manifest=manifest,
        claim=claim(experiment, manifest),
        service=build_service(experiment, index, manifest),
    )


def _free(experiment: Experiment, iterations: Sequence[IterationProgress]) -> int:
    """Places for iterations beside those that run. One that is to be stopped keeps its place until it is seen to be."""
    active = [iteration.job for iteration in iterations if iteration.stage is Stage.ACTIVE]
    return experiment.spec.parallelism - sum(
        job is not None and not (job.suspended_by_us or job.is_halted) for job in active
    )


def _holds_back(refusal: Refusal | None, generation: int, now: datetime) -> bool:
    """Whether a refused Job is not to be tried again yet."""
    if refusal is None or refusal.generation != generation:
        return False
    return refusal.retry_at is None or now < refusal.retry_at


def _rows(
    experiment: Experiment,
    iterations: Sequence[IterationProgress],
    observed: Observed,
    chosen: Mapping[int, Combination],
) -> Iterable[PutExperimentRow | PutIterationRow]:
    if observed.rows is None:
        return ()
    row = ExperimentWrite(
        project=experiment.project,
        name=experiment.name,
        namespace=experiment.namespace,
        description=experiment.spec.description,
        tags=_tags(experiment.spec.tags),
    )
    puts: list[PutExperimentRow | PutIterationRow] = []
    if row != observed.experiment_row:
        puts.append(PutExperimentRow(id=experiment.id, row=row))
    for iteration in iterations:
        if iteration.index in chosen:
            asked = _iteration_row(experiment, replace(iteration, parameters=chosen[iteration.index]))
            puts.append(PutIterationRow(id=iteration.id, row=asked, asked=True))
    # Those with a Job first: their sidecars wait for the row. Those that will never have one need no row.
    ours = [it for it in iterations if it.row is not None or it.stage not in (Stage.OPEN, Stage.SKIPPED)]
    for iteration in sorted(ours, key=lambda iteration: (not iteration.begun, iteration.index)):
        wanted = _iteration_row(experiment, iteration)
        if _differs(iteration, wanted) and len(puts) < MAX_ROWS:
            puts.append(PutIterationRow(id=iteration.id, row=wanted))
    return puts


def _images(iterations: Sequence[IterationProgress], observed: Observed) -> Iterable[RecordImages]:
    """Those of the newest pod of each iteration that has a row."""
    rows = {} if observed.rows is None else observed.rows.iterations
    newest = {pod.index: pod.images for pod in sorted(observed.pods, key=_age) if pod.trained and pod.images}
    records = [
        RecordImages(id=iteration.id, images=newest[iteration.index])
        for iteration in iterations
        if iteration.index in newest
        and iteration.index in rows
        and observed.images.get(iteration.id) != newest[iteration.index]
    ]
    return records[:MAX_ROWS]


def _age(pod: PodView) -> tuple[str, str]:
    return (pod.created_at.isoformat() if pod.created_at else "", pod.uid)


def _tags(spec: Sequence[str]) -> dict[str, str]:
    """`baseline` and `team=vision` as `{"baseline": "", "team": "vision"}`."""
    parts = [(tag, *tag.partition("=")) for tag in spec]
    return {key or tag: value if key else "" for tag, key, _, value in parts}


def _iteration_row(experiment: Experiment, iteration: IterationProgress) -> IterationWrite:
    job, row = iteration.job, iteration.row
    return IterationWrite(
        experiment_id=experiment.id,
        index=iteration.index,
        parameters=iteration.parameters,
        state=iteration.state,
        started_at=(row.started_at if row else None) or (job.started_at if job else None),
        ended_at=(row.ended_at if row else None) or (job.ended_at if job else None),
        error=f"stopped: {job.stopped}" if job and iteration.stage is Stage.STOPPED else "",
        # Taken when the row is made.
        environment={} if row else recipe(experiment),
    )


#: A row's state never goes back, for instance when a Job is made again.
_RANK: Final = {
    IterationState.PENDING: 0,
    #: What the cluster says of a Job counts more than signs of life that stopped.
    IterationState.LOST: 0,
    IterationState.RUNNING: 1,
    IterationState.SUCCEEDED: 2,
    IterationState.FAILED: 2,
    IterationState.KILLED: 2,
}


def _differs(iteration: IterationProgress, wanted: IterationWrite) -> bool:
    row = iteration.row
    if row is None:
        return True
    forward = _RANK[wanted.state] > _RANK[row.state]
    same_state = wanted.state is row.state
    times = (wanted.started_at, wanted.ended_at) != (row.started_at, row.ended_at)
    return forward or (same_state and times)


def _write_status(experiment: Experiment, observed: Observed, status: Status, now: datetime) -> Iterator[WriteStatus]:
    if status == experiment.status:
        return
    due = observed.written_at is None or now - observed.written_at >= FIGURES_PAUSE
    if due or not only_figures_moved(experiment.status, status):
        news = tuple(transitions(experiment.status.conditions, status.conditions))
        yield WriteStatus(status=status, transitions=news)


def _up_to_date(experiment: Experiment, observed: Observed) -> Status:
    """A finished Experiment's spec may still be edited: say that it was seen; and its Jobs may go. Nothing else."""
    before = experiment.status
    iterations = msgspec.structs.replace(before.iterations, released_indexes=str(released(experiment, observed)))
    return msgspec.structs.replace(before, observed_generation=experiment.metadata.generation, iterations=iterations)
