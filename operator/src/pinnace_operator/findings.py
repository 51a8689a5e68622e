"""What the four conditions say, each by one pure function. Messages say what is, and what to do."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from pinnace_operator.conditions import Finding, false, true, unknown
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ArtifactCounts, ConditionStatus, ConditionType
from pinnace_operator.observed import Observed, Refusal, Trouble
from pinnace_operator.progress import IterationProgress, Stage, target_reached
from pinnace_operator.proof import Standing
from pinnace_operator.search.objective import Valued

RUNNING: Final = "Running"
FAILED: Final = "IterationsFailed"
TOO_MANY: Final = "TooManyFailures"


def running(
    experiment: Experiment, iterations: Sequence[IterationProgress], observed: Observed, now: datetime
) -> Finding:
    """True while pods are at work, also in the moments between two iterations. False says why none is.

    True with another reason than Running says what else is stuck.
    """
    total, ended = len(iterations), sum(iteration.ended for iteration in iterations)
    if ended == total:
        skipped = sum(iteration.stage is Stage.SKIPPED for iteration in iterations)
        never = f"; {_counted(skipped, 'iteration')} of {total} never began" if skipped else ""
        return false("Finished", f"{_all(total - skipped)} ended{never}")
    active = sum(iteration.running for iteration in iterations)
    reason, message = next(_activity(experiment, iterations, observed, now))
    says = true if active or reason == RUNNING else false
    count = f"{active} running, {ended} of {total} ended"
    return says(reason, f"{message} ({count})" if message else count)


def succeeded(experiment: Experiment, iterations: Sequence[IterationProgress], observed: Observed) -> Finding:
    """Unknown until every iteration has ended."""
    total = len(iterations)
    failed = [iteration for iteration in iterations if iteration.stage is Stage.FAILED]
    ended = sum(iteration.ended for iteration in iterations)
    reached = target_reached(experiment, observed)
    target = _target(experiment, reached) if reached else ""
    why = f": {failed[0].failure}" if failed and failed[0].failure else ""
    first = f"iteration {failed[0].index} failed{why}" if failed else ""
    if ended < total:
        return unknown(
            "InProgress", "; ".join(filter(None, (f"{ended} of {total} iterations have ended", target, first)))
        )
    stopped, skipped = (sum(it.stage is stage for it in iterations) for stage in (Stage.STOPPED, Stage.SKIPPED))
    if reached:
        rest = f"{stopped} of {total} iterations were stopped and {skipped} never began"
        return true("TargetReached", f"{target}; {rest}")
    if failed:
        return _failed(experiment, f"{len(failed)} of {total} iterations failed", first, skipped, is_known=bool(why))
    if stopped:
        return true("NoneFailed", f"{total - stopped} of {total} iterations ended well, {stopped} were stopped early")
    return true("AllSucceeded", f"{_all(total)} ended well")


def _failed(experiment: Experiment, count: str, first: str, skipped: int, *, is_known: bool) -> Finding:
    old = experiment.status.condition(ConditionType.SUCCEEDED)
    if not is_known and old is not None and old.reason in (FAILED, TOO_MANY):
        # The pod that told why is gone; what it told stands.
        return false(old.reason, old.message)
    look = f"{first}; look at the log of its pod"
    if skipped:
        return false(TOO_MANY, f"{count}, more than spec.maxFailedIterations allows; {skipped} never began; {look}")
    return false(FAILED, f"{count}; {look}")


def artifacts_synced(iterations: Sequence[IterationProgress], observed: Observed, counts: ArtifactCounts) -> Finding:
    """True exactly when every iteration has ended and those that began are proven; never on missing knowledge."""
    ran = [it for it in iterations if it.stage is not Stage.SKIPPED or it.verdict is not None]
    total, synced = len(ran), sum(iteration.synced for iteration in ran)
    if synced == total and all(iteration.ended for iteration in ran):
        return true("AllRecorded", _all_recorded(total, counts))
    if not any(iteration.begun or iteration.verdict is not None for iteration in iterations):
        return unknown("NotStarted", "no iteration has started")
    trouble = (_shipping_trouble(observed) if observed.rows else None) or observed.api_trouble
    if trouble is not None:
        return false(trouble.reason, trouble.message)
    return _unproven(ran, observed.refusal, synced, total)


def not_accepted(experiment: Experiment) -> dict[ConditionType, Finding]:
    """What the other conditions say of a spec that can't be carried out: what they said, or that nothing began."""
    types = (ConditionType.RUNNING, ConditionType.SUCCEEDED, ConditionType.ARTIFACTS_SYNCED)
    return {
        type_: kept(experiment, type_)
        or unknown("NotAccepted", "the spec can't be carried out: see the condition Accepted")
        for type_ in types
    }


def kept(experiment: Experiment, type_: ConditionType) -> Finding | None:
    """What the condition said before; None when that was nothing yet."""
    old = experiment.status.condition(type_)
    if old is None or old.status is ConditionStatus.UNKNOWN:
        return None
    return Finding(status=old.status, reason=old.reason, message=old.message)


def _activity(
    experiment: Experiment, iterations: Sequence[IterationProgress], observed: Observed, now: datetime
) -> Iterator[tuple[str, str]]:
    """Reason and message of the condition Running, the weightiest first."""
    # Pods of other owners run although the Experiment is suspended; they are not what is being stopped.
    active = any(iteration.running and iteration.stage is Stage.ACTIVE for iteration in iterations)
    if experiment.spec.suspend:
        queue = any(
            iteration.running and iteration.job is not None and iteration.job.queued for iteration in iterations
        )
        left = "; what a queue has let in runs on, until the queue stops it" if queue else ""
        yield "Suspending" if active else "Suspended", f"set spec.suspend to false to go on{left}"
    if observed.refusal is not None:
        yield observed.refusal.trouble.reason, observed.refusal.trouble.message
    for iteration in iterations:
        trouble = iteration.trouble(now)
        if trouble is not None:
            yield trouble.reason, f"iteration {iteration.index}: {trouble.message}"
    jobs = [iteration.job for iteration in iterations if iteration.stage is Stage.ACTIVE and iteration.job is not None]
    if jobs and not active and all(job.suspended and not job.is_halted for job in jobs):
        yield "Queued", "the Jobs are suspended by something else than Pinnace, for instance a queue"
    if observed.rows is None and observed.api_trouble and any(it.stage is Stage.OPEN for it in iterations):
        yield (
            "AwaitingValues",
            "the next parameters depend on values that the metadata API holds, and it does not answer",
        )
    if active or any(iteration.ended for iteration in iterations):
        yield RUNNING, ""
    yield "Starting", ""


def _target(experiment: Experiment, reached: Valued) -> str:
    metric = experiment.spec.objective.metric if experiment.spec.objective else "the objective"
    return f"iteration {reached.index} reached the target with {metric} = {reached}"


def _shipping_trouble(observed: Observed) -> Trouble | None:
    """The problem that holds up the most files, as the sidecars of living pods report it."""
    alive = {pod.uid for pod in observed.pods if not pod.ended}
    problems = [
        (problem.files, problem.reason, problem.message)
        for standing in (observed.rows.standings if observed.rows else ())
        if standing.pod_uid in alive and standing.report is not None and not standing.report.final
        for problem in standing.report.problems
    ]
    if not problems:
        return None
    _, reason, message = max(problems)
    return Trouble(reason=reason, message=message or reason)


def _unproven(iterations: Sequence[IterationProgress], refusal: Refusal | None, synced: int, total: int) -> Finding:
    count = f"{synced} of {total} iterations are proven"
    judged = [(it.verdict.standing, it.index, it.verdict.message) for it in iterations if it.verdict is not None]
    standing, index, message = max(judged, default=(Standing.IN_PROGRESS, 0, ""))
    match standing:
        case Standing.UNPROVEN:
            reason = "Unproven"
        case Standing.QUARANTINED:
            reason = "Quarantined"
        case Standing.RECORDS_MISSING:
            reason = "RecordsMissing"
        case Standing.RESCUING:
            # One that can't be made waits for the same as a Job would.
            held = f"; {refusal.trouble.message}" if refusal is not None else ""
            return false("Rescuing", f"iteration {index}: {message}{held} ({count})")
        case Standing.DRAINING:
            return false("Draining", f"a pod of iteration {index} is shipping its last files; {count}")
        case _:
            return false("InProgress", count)
    return false(reason, f"iteration {index}: {message} ({count})")


def _all_recorded(total: int, counts: ArtifactCounts) -> str:
    suspect = (
        f"; {counts.suspect} of them are marked suspect, because their writer ended before they were known to be "
        "complete"
        if counts.suspect
        else ""
    )
    return (
        f"{_counted(counts.recorded, 'artifact')} of {_counted(total, 'iteration')} in the store and recorded{suspect}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _all(total: int) -> str:
    return "the iteration has" if total == 1 else f"all {total} iterations have"
