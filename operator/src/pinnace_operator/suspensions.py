"""Which Jobs are to be suspended, resumed, or ended for good, and what each says of the pods that it had. Pure.

A suspension has the Job controller let go of the pods that run, so that none of the Job's counts has them. What the Job
says of them outlives the operator's memory: they have to be proven, and stand for none that is counted.
"""

from collections.abc import Iterator, Mapping, Sequence

from pinnace_operator.actions import NotePods, SuspendJob
from pinnace_operator.experiment import Experiment
from pinnace_operator.observed import JobView, PodView
from pinnace_operator.progress import IterationProgress, Stage
from pinnace_operator.turns import can_be_stopped


def suspensions(
    experiment: Experiment, iterations: Sequence[IterationProgress], stops: Mapping[int, str], free: int
) -> Iterator[SuspendJob | NotePods]:
    """Jobs to suspend, held ones for which there is a place, and what is to be said of those that a queue holds."""
    for iteration in iterations:
        job, why = iteration.job, stops.get(iteration.index)
        if job is None:
            continue
        if why is not None:
            if not job.is_halted:
                yield _suspension(job, iteration.pods, suspend=True, for_good=why)
        elif iteration.stage is not Stage.ACTIVE:
            continue
        elif job.suspended and not job.suspended_by_us:
            yield from _notes(job, iteration.pods)
        elif experiment.spec.suspend:
            # A queue would start again at once what it has admitted.
            if not job.suspended and not job.queued:
                yield _suspension(job, iteration.pods, suspend=True)
        elif job.suspended_by_us and free > 0:
            free -= 1
            yield _suspension(job, iteration.pods, suspend=False)


def is_to_be_halted(job: JobView) -> bool:
    """Unless that is done, or it is suspended and no queue would ever resume it."""
    rests = job.is_halted or (job.suspended and not job.queued)
    return not (job.over or rests) and can_be_stopped(job)


def halt(job: JobView, pods: Sequence[PodView] = ()) -> SuspendJob:
    return _suspension(job, pods, suspend=True, for_good="its Experiment is deleted")


def _suspension(job: JobView, pods: Sequence[PodView], *, suspend: bool, for_good: str = "") -> SuspendJob:
    return SuspendJob(
        name=job.name,
        uid=job.uid,
        engine=job.engine,
        suspend=suspend,
        pods=_had(job, pods),
        uncounted=_uncounted(job, pods, suspend=suspend),
        for_good=for_good,
    )


def _notes(job: JobView, pods: Sequence[PodView]) -> Iterator[NotePods]:
    had, uncounted = _had(job, pods), _uncounted(job, pods, suspend=True)
    if (had, uncounted) != (job.suspended_pods, job.uncounted_pods):
        yield NotePods(name=job.name, uid=job.uid, engine=job.engine, pods=had, uncounted=uncounted)


def _had(job: JobView, pods: Sequence[PodView]) -> frozenset[str]:
    return job.suspended_pods | {pod.uid for pod in pods if pod.started}


def _uncounted(job: JobView, pods: Sequence[PodView], *, suspend: bool) -> frozenset[str]:
    ends_by_it = {pod.uid for pod in pods if pod.injected or (suspend and not pod.ended)}
    return (job.uncounted_pods | ends_by_it) - {pod.uid for pod in pods if pod.counted}
