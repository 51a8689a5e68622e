"""When a deleted Experiment may go: what our finalizer waits for, and what is said when it ends. Pure.

The finalizer is there from before the first Job until everything is proven ashore; with the policy Delete as long
as the Experiment, because the metadata API has to be told. A deleted Experiment's Jobs are suspended, so that sidecars
drain. It goes when its artifacts are proven, when no pod is left that could bring more, or when its time is
over, whatever happened: `metadata.deletionTimestamp` and the spec alone say when, so a restart changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pinnace.ids import iteration_id
from pinnace.naming import GROUP
from pinnace.records import Iteration, IterationState, PodStanding
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import DeletionPolicy
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.observed import JobEnd, Observed, PodView
from pinnace_operator.proof import (
    FORGOTTEN,
    LOST,
    Standing,
    Verdict,
    judge_ended,
    judge_without_job,
    standings_by_iteration,
)
from pinnace_operator.volumes import is_persistent

FINALIZER: Final = f"{GROUP}/artifacts"

#: `"true"` on a deleted Experiment: let it go at once.
FORCE_ANNOTATION: Final = f"{GROUP}/force-delete"

#: Kubernetes' own finalizer of `kubectl delete --cascade=orphan`: the Jobs are to stay and to go on.
ORPHAN_FINALIZER: Final = "orphan"

#: What a deletion takes at most beyond a pod's drain, where the spec says nothing.
DELETION_MARGIN_S: Final = 600

#: The reason of the condition Running, and of an Event, while it waits.
WAITING: Final = "Deleting"

_PROVEN: Final = Verdict(standing=Standing.SYNCED)
_AT_WORK: Final = Verdict(standing=Standing.IN_PROGRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """Why a deleted Experiment goes now, as an Event says it."""

    reason: str
    message: str
    is_good: bool = False
    #: It goes even if the metadata API could not be told.
    is_final: bool = False


def is_held(experiment: Experiment) -> bool:
    return FINALIZER in experiment.metadata.finalizers


def is_deleted(experiment: Experiment) -> bool:
    return experiment.metadata.deletion_timestamp is not None


def is_orphaning(experiment: Experiment) -> bool:
    return ORPHAN_FINALIZER in experiment.metadata.finalizers


def is_to_be_trashed(experiment: Experiment) -> bool:
    return experiment.spec.artifacts.deletion_policy is DeletionPolicy.DELETE and not is_orphaning(experiment)


def should_hold(experiment: Experiment, *, has_work: bool) -> bool:
    """Whether an Experiment that is not deleted needs the finalizer. `has_work`: Jobs, also of this moment, or pods."""
    if experiment.spec.artifacts.deletion_policy is DeletionPolicy.DELETE:
        return True
    return not experiment.status.done and (has_work or bool(experiment.status.started))


def at_rest(experiment: Experiment) -> bool:
    """Whether a finished Experiment leaves nothing to do, so that nobody has to look at it."""
    if is_deleted(experiment):
        return not is_held(experiment)
    return is_held(experiment) is should_hold(experiment, has_work=False)


def deadline(experiment: Experiment) -> datetime:
    """When a deleted Experiment goes at the latest."""
    assert experiment.metadata.deletion_timestamp is not None
    artifacts = experiment.spec.artifacts
    seconds = artifacts.deletion_timeout_seconds
    if seconds is None:
        seconds = artifacts.drain_timeout_seconds + DELETION_MARGIN_S
    return experiment.metadata.deletion_timestamp + timedelta(seconds=seconds)


def parting(experiment: Experiment, observed: Observed, now: datetime) -> Parting | None:
    """Whether the deleted Experiment may go now; None: it has to wait."""
    if is_orphaning(experiment):
        return Parting(
            reason="Orphaned",
            message="deleted without its Jobs, as was asked for: they go on, and nothing tells any more whether "
            "their artifacts are complete",
            is_good=True,
            is_final=True,
        )
    verdicts = {} if experiment.status.done else dict(_verdicts(experiment, observed))
    missing = _missing(verdicts, observed)
    if not missing:
        message = _ashore(experiment, observed)
        return Parting(reason="ArtifactsAshore", message=message, is_good=True, is_final=_is_out(experiment, now))
    told = _why_now(experiment, observed, verdicts, now)
    if told is None:
        return None
    reason, why = told
    return Parting(reason=reason, message=f"deleted{why}; {missing}", is_final=_is_out(experiment, now))


def _why_now(
    experiment: Experiment, observed: Observed, verdicts: Mapping[int, Verdict | None], now: datetime
) -> tuple[str, str] | None:
    """Why it goes without proof; None: it does not."""
    if _is_forced(experiment):
        return "DeletionForced", f" at once, by the annotation {FORCE_ANNOTATION}"
    if _is_out(experiment, now):
        return "DeletionTimedOut", ", because its time is over"
    # In a namespace that goes, no rescue can be made any more.
    moving = {Standing.IN_PROGRESS} if observed.namespace_ends else {Standing.IN_PROGRESS, Standing.RESCUING}
    standings = {verdict.standing for verdict in verdicts.values() if verdict is not None}
    at_work = any(not pod.ended for pod in observed.pods) or not moving.isdisjoint(standings)
    # In a namespace that goes, an answer of the API would come for nothing.
    can_tell = None not in verdicts.values() or (observed.namespace_ends and not is_to_be_trashed(experiment))
    if at_work or not can_tell:
        return None
    return "ArtifactsUnproven", ", because no pod is left that could ship more"


def waits(experiment: Experiment, observed: Observed) -> str:
    """What a deleted Experiment waits for, in words that stay the same while it does."""
    until = deadline(experiment).strftime("%Y-%m-%dT%H:%M:%SZ")
    trouble = f" ({observed.api_trouble.message})" if observed.api_trouble else ""
    return (
        f"it is being deleted, and waits until {until} at most for its pods to ship what they wrote{trouble}; "
        f'annotate it with {FORCE_ANNOTATION}="true" to let it go at once'
    )


def is_told(experiment: Experiment) -> bool:
    """Whether the status says that it waits."""
    running = experiment.status.condition(ConditionType.RUNNING)
    return running is not None and running.reason == WAITING


def last_states(experiment: Experiment, observed: Observed) -> Iterator[tuple[Iteration, IterationState]]:
    """How the iterations of a deleted Experiment ended that have a row."""
    succeeded, failed = experiment.status.succeeded, experiment.status.failed
    for row in observed.rows.iterations.values() if observed.rows else ():
        job = observed.jobs.get(row.index)
        end = job.end if job is not None else None
        if row.index in succeeded or end is JobEnd.SUCCEEDED:
            yield row, IterationState.SUCCEEDED
        elif row.index in failed or end is JobEnd.FAILED:
            yield row, IterationState.FAILED
        else:
            yield row, IterationState.KILLED


def _is_forced(experiment: Experiment) -> bool:
    return experiment.metadata.annotations.get(FORCE_ANNOTATION) == "true"


def _is_out(experiment: Experiment, now: datetime) -> bool:
    """Whether nothing is waited for any more."""
    return _is_forced(experiment) or now >= deadline(experiment)


def _verdicts(experiment: Experiment, observed: Observed) -> Iterator[tuple[int, Verdict | None]]:
    """On each iteration that has begun; None where the metadata API would have to say."""
    status, lost = experiment.status, experiment.status.lost
    begun = {*observed.jobs, *(pod.index for pod in observed.pods), *status.started, *_heard_of(observed)}
    ids = {str(iteration_id(experiment.id, index)): index for index in begun}
    standings = None if observed.rows is None else standings_by_iteration(observed.rows.standings, ids)
    for index in sorted(begun - status.synced):
        job = observed.jobs.get(index)
        last = job or observed.past_jobs.get(index)
        pods = [pod for pod in observed.pods if pod.index == index]
        if job is not None and job.end is None and not job.at_rest:
            yield index, _AT_WORK
        elif index in lost:
            yield index, LOST
        elif standings is None and (last is None or any(pod.started for pod in pods) or last.pods_ended > len(pods)):
            yield index, None
        else:
            mine = [] if standings is None else standings.get(index, [])
            if last is not None:
                yield index, judge_ended(last, pods, mine, observed.rescues, persistent=is_persistent(experiment))
            elif index in status.started or not _are_of_others(pods, mine):
                yield index, FORGOTTEN
            else:
                yield index, judge_without_job(pods, mine, over=True)


def _heard_of(observed: Observed) -> Iterator[int]:
    """The iterations of which the metadata API knows a pod, whether or not anybody here has seen it."""
    if observed.rows is None:
        return
    ids = {standing.iteration_id for standing in observed.rows.standings}
    yield from (row.index for row in observed.rows.iterations.values() if row.id in ids)


def _are_of_others(pods: Sequence[PodView], standings: Sequence[PodStanding]) -> bool:
    """Whether no pod of an iteration's Job is among them."""
    return all(pod.injected for pod in pods) and all(
        standing.report is not None and standing.report.injected for standing in standings
    )


def _missing(verdicts: Mapping[int, Verdict | None], observed: Observed) -> str:
    """What may be missing at the end; empty when all is proven."""
    unproven = {index: verdict for index, verdict in verdicts.items() if verdict != _PROVEN}
    if not unproven:
        return ""
    count = f"{len(unproven)} of {len(verdicts)} iterations that had begun are not proven to be ashore"
    known = [(verdict.standing, index, verdict.message) for index, verdict in unproven.items() if verdict is not None]
    standing, index, message = max(known, default=(Standing.SYNCED, 0, ""))
    if standing in (Standing.IN_PROGRESS, Standing.DRAINING):
        message = "a pod had not shipped its last files"
    if message:
        return f"{count}; iteration {index}: {message}"
    trouble = observed.api_trouble.message if observed.api_trouble else "the metadata API did not answer"
    return f"{count}, because {trouble}"


def _ashore(experiment: Experiment, observed: Observed) -> str:
    recorded = experiment.status.artifacts.recorded
    if observed.rows is not None:
        recorded = sum(standing.recorded.count for standing in observed.rows.standings)
    after = "its records go to the trash" if is_to_be_trashed(experiment) else "they stay"
    return f"deleted; {recorded} artifacts are in the store and recorded, and {after}"
