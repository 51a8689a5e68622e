"""The next status of an Experiment, from what was observed and what the last status remembers. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from pinnace.records import FileState
from pinnace_operator import conditions, findings
from pinnace_operator.acceptance import NotAcceptedError
from pinnace_operator.conditions import Finding
from pinnace_operator.deletion import WAITING
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ArtifactCounts, ConditionType, IterationCounts, Status
from pinnace_operator.expiry import released
from pinnace_operator.indexes import IndexSet
from pinnace_operator.observed import Observed
from pinnace_operator.progress import IterationProgress, Stage, target_reached
from pinnace_operator.search.objective import best

_FIGURES: Final = re.compile(r"\d+(\.\d+)?")


def status_of(
    experiment: Experiment, iterations: Sequence[IterationProgress], observed: Observed, now: datetime
) -> Status:
    """The status of an accepted Experiment."""
    counts = artifact_counts(observed, experiment.status.artifacts)
    return _with(
        experiment,
        {
            ConditionType.ACCEPTED: _accepted(experiment, observed),
            ConditionType.RUNNING: findings.running(experiment, iterations, observed, now),
            ConditionType.SUCCEEDED: findings.succeeded(experiment, iterations, observed),
            ConditionType.ARTIFACTS_SYNCED: findings.artifacts_synced(iterations, observed, counts),
        },
        now,
        iterations=iteration_counts(experiment, iterations, observed),
        artifacts=counts,
        start_time=_start(experiment, iterations),
        completion_time=_completion(experiment, iterations, now),
    )


def status_of_refused(experiment: Experiment, error: NotAcceptedError, now: datetime) -> Status:
    """The status when the spec can't be carried out: what had begun is left as it was."""
    accepted = conditions.false(error.reason, str(error))
    return _with(experiment, {ConditionType.ACCEPTED: accepted, **findings.not_accepted(experiment)}, now)


def only_figures_moved(before: Status, after: Status) -> bool:
    """Whether they differ in nothing but counts of artifacts and figures in what conditions say."""

    def fixed(status: Status) -> tuple[object, ...]:
        said = [msgspec.structs.replace(c, message=_FIGURES.sub("", c.message)) for c in status.conditions]
        return (msgspec.structs.replace(status, artifacts=ArtifactCounts(), conditions=()), said)

    return fixed(before) == fixed(after)


def status_of_deleted(experiment: Experiment, observed: Observed, message: str, now: datetime) -> Status:
    """The status while it waits for its pods: what had been found stays as it was."""
    untold = conditions.unknown("Deleting", "it was deleted before this was known")
    found = {type_: findings.kept(experiment, type_) or untold for type_ in ConditionType}
    found[ConditionType.RUNNING] = conditions.false(WAITING, message)
    return _with(experiment, found, now, artifacts=artifact_counts(observed, experiment.status.artifacts))


def artifact_counts(observed: Observed, before: ArtifactCounts) -> ArtifactCounts:
    """Over all pods, as the API knows them; as they were when it does not answer."""
    if observed.rows is None:
        return before
    standings = observed.rows.standings
    reports = [standing.report for standing in standings if standing.report is not None]
    shipping = [report for report in reports if not report.final]
    return ArtifactCounts(
        recorded=sum(standing.recorded.count for standing in standings),
        bytes=sum(standing.bytes_recorded for standing in standings),
        pending=sum(report.pending for report in shipping),
        suspect=sum(report.files.get(FileState.SUSPECT, 0) for report in reports),
        quarantined=sum(report.files.get(FileState.QUARANTINED, 0) for report in reports),
        oldest_unshipped_seconds=int(max((report.oldest_unshipped_seconds for report in shipping), default=0)),
    )


def iteration_counts(
    experiment: Experiment, iterations: Sequence[IterationProgress], observed: Observed
) -> IterationCounts:
    before = experiment.status
    succeeded = before.succeeded.with_all(it.index for it in iterations if it.stage is Stage.SUCCEEDED)
    failed = before.failed.with_all(it.index for it in iterations if it.stage is Stage.FAILED)
    stopped = before.stopped.with_all(it.index for it in iterations if it.stage is Stage.STOPPED)
    # One that turns out to have a Job after all was not skipped.
    skipped = IndexSet(it.index for it in iterations if it.stage is Stage.SKIPPED)
    synced = before.synced.with_all(it.index for it in iterations if it.synced)
    started = before.started.with_all(it.index for it in iterations if it.had_pods)
    lost = before.lost.with_all(it.index for it in iterations if it.lost)
    best_index, best_value = _best(experiment, iterations)
    reached = target_reached(experiment, observed)
    return IterationCounts(
        total=len(iterations),
        active=sum(it.stage is Stage.ACTIVE for it in iterations),
        succeeded=len(succeeded),
        failed=len(failed),
        stopped=len(stopped),
        skipped=len(skipped),
        synced=len(synced),
        succeeded_indexes=str(succeeded),
        failed_indexes=str(failed),
        stopped_indexes=str(stopped),
        skipped_indexes=str(skipped),
        synced_indexes=str(synced),
        started_indexes=str(started),
        lost_indexes=str(lost),
        released_indexes=str(released(experiment, observed)),
        best_iteration=best_index,
        best_value=best_value,
        target_iteration=UNSET if reached is None else reached.index,
        target_value=UNSET if reached is None else str(reached),
    )


def _best(experiment: Experiment, iterations: Sequence[IterationProgress]) -> tuple[int | UnsetType, str | UnsetType]:
    """Index and value of the best iteration; what was known when nothing is known now."""
    objective, known = experiment.spec.objective, experiment.status.iterations
    if objective is None:
        return UNSET, UNSET
    found = best(objective, ((iteration.index, iteration.row) for iteration in iterations))
    return (known.best_iteration, known.best_value) if found is None else (found.index, str(found))


def _accepted(experiment: Experiment, observed: Observed) -> Finding:
    refusal = observed.refusal
    is_of_spec = refusal is not None and (refusal.retry_at is None or refusal.engine_missing)
    if refusal is not None and is_of_spec and refusal.generation == experiment.metadata.generation:
        return conditions.false(refusal.trouble.reason, refusal.trouble.message)
    return conditions.true("Valid", "the spec can be carried out")


def _with(experiment: Experiment, found: dict[ConditionType, Finding], now: datetime, **fields: object) -> Status:
    generation = experiment.metadata.generation
    return msgspec.structs.replace(
        experiment.status,
        observed_generation=generation,
        experiment_id=experiment.metadata.uid,
        conditions=conditions.updated(experiment.status.conditions, found, generation, now),
        **fields,
    )


def _start(experiment: Experiment, iterations: Sequence[IterationProgress]) -> datetime | UnsetType:
    if experiment.status.start_time is not UNSET:
        return experiment.status.start_time
    return min((it.job.started_at for it in iterations if it.job and it.job.started_at), default=UNSET)


def _completion(experiment: Experiment, iterations: Sequence[IterationProgress], now: datetime) -> datetime | UnsetType:
    if experiment.status.completion_time is not UNSET or not all(it.ended for it in iterations):
        return experiment.status.completion_time
    return max((it.job.ended_at for it in iterations if it.job and it.job.ended_at), default=now.replace(microsecond=0))
