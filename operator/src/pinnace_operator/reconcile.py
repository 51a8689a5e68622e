"""One look at one Experiment: observe → plan → perform, and what has to be remembered until the next look.

It is the same whatever woke it. All of it runs in one working thread, with timeouts on every request.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from pinnace.records import ExperimentWrite
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.deletion import at_rest, is_deleted
from pinnace_operator.engines.views import work_view
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import Status
from pinnace_operator.observe import observe, parsed, relist
from pinnace_operator.observed import Refusal, Trouble
from pinnace_operator.perform import Outcome, perform
from pinnace_operator.plan import next_look, plan
from pinnace_operator.ports import Api, Cluster, ClusterError
from pinnace_operator.search.stopping import Comparison
from pinnace_operator.settings import Platform
from pinnace_operator.sightings import Sightings

#: After an unanswered request, to the cluster or to the API: doubled from the first to the last.
FIRST_PAUSE_S: Final = 2.0
LAST_PAUSE_S: Final = 30.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """What is known of one Experiment beyond what can be seen. Losing it costs some requests and nothing else."""

    sightings: Sightings = field(default_factory=Sightings)
    #: Our last written status, for as long as the watch has not shown it.
    status: Status | None = None
    #: The same of its finalizers.
    finalizers: tuple[str, ...] | None = None
    version: int = 0
    written_at: datetime | None = None
    #: Whether the namespace is being deleted, as far as we know.
    namespace_ends: bool | None = None
    is_trashed: bool = False
    experiment_row: ExperimentWrite | None = None
    images: dict[UUID, Mapping[str, str]] = field(default_factory=dict)
    refusal: Refusal | None = None
    api_trouble: Trouble | None = None
    comparison: Comparison = field(default_factory=Comparison)
    #: Rounds in a row without an answer.
    silent_rounds: int = 0

    def current(self, experiment: Experiment) -> Experiment:
        """`experiment` with the newest status there is, so that a slow watch does not make us write twice."""
        if experiment.metadata.version >= self.version:
            self.finalizers = experiment.metadata.finalizers
            return experiment
        if self.status is not None:
            experiment = msgspec.structs.replace(experiment, status=self.status)
        if self.finalizers is not None:
            metadata = msgspec.structs.replace(experiment.metadata, finalizers=self.finalizers)
            experiment = msgspec.structs.replace(experiment, metadata=metadata)
        return experiment

    def take(self, outcome: Outcome, now: datetime) -> bool:
        """Remember what came of a plan; True when the next look would see something new in it."""
        news = (outcome.refusal, outcome.api_trouble) != (self.refusal, self.api_trouble) or outcome.asked
        for job in parsed(outcome.jobs, work_view):
            self.sightings.see_job(job)
        if outcome.unsure:
            self.sightings.listed_at = None
        self.refusal, self.api_trouble = outcome.refusal, outcome.api_trouble
        self.experiment_row = outcome.experiment_row or self.experiment_row
        self.images |= outcome.images
        if outcome.namespace_ends is not None:
            news |= outcome.namespace_ends and not self.namespace_ends
            self.namespace_ends = outcome.namespace_ends
        if outcome.status is not None:
            self.status, self.written_at = outcome.status, now
        if outcome.finalizers is not None:
            self.finalizers = outcome.finalizers
        self.is_trashed |= outcome.is_trashed
        self.version = max(self.version, outcome.version)
        return news


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Everything that a look needs, except the Experiment."""

    cluster: Cluster
    api: Api
    platform: Platform
    now: Callable[[], datetime]
    #: Who we are, in Events.
    instance: str
    #: Told of what came of each round.
    note: Callable[[Outcome], None] = lambda _: None
    #: None: no ArtifactStores are served.
    catalogue: Catalogue | None = None

    def look(self, experiment: Experiment, memory: Memory) -> float | None:
        """Look once and act. Returns the seconds until the next look; None: when something changes.

        Safe to call at any time and any number of times. Never raises for what the cluster or the API answer.
        """
        experiment = memory.current(experiment)
        seen = experiment.status.observed_generation == experiment.metadata.generation
        if at_rest(experiment) and (is_deleted(experiment) or (experiment.settled and seen)):
            return None
        try:
            if self.platform.runs(experiment.spec.engine.kind):
                relist(experiment, memory.sightings, self.cluster, self.now())
            if self.catalogue is not None:
                self.catalogue.refresh(self.cluster, self.now())
        except ClusterError as error:
            _log.warning("list.failed name=%s/%s error=%s", experiment.namespace, experiment.name, error)
            self.note(Outcome(unavailable=True))
            return self._pause(memory)
        # A second round shows in the conditions what the first one ran into.
        for _ in range(2):
            outcome, pause = self._round(experiment, memory)
            self.note(outcome)
            news = memory.take(outcome, self.now())
            if outcome.unavailable:
                return self._pause(memory)
            if not news:
                break
            experiment = memory.current(experiment)
        return pause

    def _round(self, experiment: Experiment, memory: Memory) -> tuple[Outcome, float | None]:
        now = self.now()
        observed = observe(
            experiment,
            memory.sightings,
            self.api,
            now=now,
            poll_seconds=self.platform.poll_seconds,
            comparison=memory.comparison,
            experiment_row=memory.experiment_row,
            refusal=memory.refusal,
            api_trouble=memory.api_trouble,
            namespace_ends=memory.namespace_ends,
            is_trashed=memory.is_trashed,
            images=memory.images,
            written_at=memory.written_at,
            offers=self.catalogue.offers(experiment.namespace) if self.catalogue is not None else None,
        )
        memory.experiment_row, memory.comparison = observed.experiment_row, observed.comparison
        actions = plan(experiment, observed, self.platform, now)
        outcome = perform(
            actions,
            experiment,
            self.cluster,
            self.api,
            now=now,
            instance=self.instance,
            last_refusal=memory.refusal,
        )
        current = experiment if outcome.status is None else msgspec.structs.replace(experiment, status=outcome.status)
        pause = next_look(current, observed, self.platform, now)
        if observed.rows is None and pause is not None:
            retry = self._pause(memory)
            # The end of a deletion does not wait for the API.
            return outcome, pause if is_deleted(experiment) else max(pause, retry)
        memory.silent_rounds = 0
        return outcome, pause

    def _pause(self, memory: Memory) -> float:
        memory.silent_rounds += 1
        return min(FIRST_PAUSE_S * 2.0 ** min(memory.silent_rounds - 1, 10), LAST_PAUSE_S)
