"""When the Jobs of proven iterations may go: spec.ttlSecondsAfterFinished, counted from the proof. Pure.

One that was stopped has come to an end by that, too: it needs no more pods, and is complete.

Kubernetes deletes a Job so long after its end as the Job says. A Job gets that number only when the status remembers
that its iteration has ended and is proven, so nothing that a proof needs ever goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Final

from pinnace_operator.experiment import Experiment
from pinnace_operator.indexes import IndexSet
from pinnace_operator.observed import Observed

#: The most that the field of a Job holds.
MAX_SECONDS: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireJob:
    """Let Kubernetes delete it `seconds` after its end."""

    name: str
    uid: str
    seconds: int


def expiries(experiment: Experiment, observed: Observed, now: datetime) -> Iterator[ExpireJob]:
    """For the Jobs that may go and do not know it yet. Their time begins now, whenever they ended."""
    wanted = experiment.spec.ttl_seconds_after_finished
    if wanted is None:
        return
    for index in sorted(_remembered(experiment) & observed.jobs.keys()):
        job = observed.jobs[index]
        if job.ttl_seconds is None and job.ended_at is not None:
            since_end = max(0, ceil((now - job.ended_at).total_seconds()))
            yield ExpireJob(name=job.name, uid=job.uid, seconds=min(wanted + since_end, MAX_SECONDS))


def released(experiment: Experiment, observed: Observed) -> IndexSet:
    """The iterations whose Jobs may go, or are gone; unchanged without spec.ttlSecondsAfterFinished."""
    before = experiment.status.released
    if experiment.spec.ttl_seconds_after_finished is None:
        return before
    return before.with_all(
        index
        for index in _remembered(experiment)
        if index not in observed.jobs or observed.jobs[index].ttl_seconds is not None
    )


def _remembered(experiment: Experiment) -> frozenset[int]:
    status = experiment.status
    return status.synced & (status.succeeded | status.failed | status.stopped)
