"""The status of an Experiment as values: conditions, counts, and what the operator remembers in it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pinnace_operator.indexes import IndexSet
from pinnace_operator.manifest import Manifest


class ConditionType(StrEnum):
    """Every Experiment has all of them from the start, in this order."""

    #: The spec can be carried out.
    ACCEPTED = "Accepted"
    #: Pods are at work.
    RUNNING = "Running"
    #: Every iteration ended well, or the target was reached.
    SUCCEEDED = "Succeeded"
    #: Every completed file of every pod is in the store and recorded.
    ARTIFACTS_SYNCED = "ArtifactsSynced"


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Manifest, frozen=True, kw_only=True):
    """A metav1.Condition."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str
    last_transition_time: datetime
    observed_generation: int


class IterationCounts(Manifest, frozen=True, kw_only=True):
    """The index sets are memory: what stands in them once is not run, and not proven, again."""

    total: int = 0
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    stopped: int = 0
    skipped: int = 0
    synced: int = 0
    succeeded_indexes: str = ""
    failed_indexes: str = ""
    #: Those that began and are not to go on, and those that are not to begin.
    stopped_indexes: str = ""
    skipped_indexes: str = ""
    synced_indexes: str = ""
    #: Those of which a pod was seen, and those of them whose Job then went away before it ended.
    started_indexes: str = ""
    lost_indexes: str = ""
    #: Those whose Job may go, by spec.ttlSecondsAfterFinished, or is gone.
    released_indexes: str = ""
    best_iteration: int | UnsetType = UNSET
    best_value: str | UnsetType = UNSET
    #: The one that reached the target: nothing starts any more.
    target_iteration: int | UnsetType = UNSET
    target_value: str | UnsetType = UNSET

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.stopped + self.skipped


class ArtifactCounts(Manifest, frozen=True, kw_only=True):
    recorded: int = 0
    bytes: int = 0
    pending: int = 0
    suspect: int = 0
    quarantined: int = 0
    oldest_unshipped_seconds: int = 0


class Status(Manifest, frozen=True, kw_only=True):
    observed_generation: int = 0
    experiment_id: str = ""
    iterations: IterationCounts = IterationCounts()
    artifacts: ArtifactCounts = ArtifactCounts()
    start_time: datetime | UnsetType = UNSET
    completion_time: datetime | UnsetType = UNSET
    conditions: tuple[Condition, ...] = ()

    def condition(self, type_: ConditionType) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type is type_), None)

    def to_manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = msgspec.to_builtins(self)
        return manifest

    @property
    def succeeded(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.succeeded_indexes)

    @property
    def failed(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.failed_indexes)

    @property
    def stopped(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.stopped_indexes)

    @property
    def skipped(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.skipped_indexes)

    @property
    def synced(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.synced_indexes)

    @property
    def started(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.started_indexes)

    @property
    def lost(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.lost_indexes)

    @property
    def released(self) -> IndexSet:
        return IndexSet.from_text(self.iterations.released_indexes)

    @property
    def done(self) -> bool:
        """Every iteration has ended and every artifact is proven ashore: this never changes again."""
        synced = self.condition(ConditionType.ARTIFACTS_SYNCED)
        return (
            synced is not None
            and synced.status is ConditionStatus.TRUE
            and 0 < self.iterations.total == self.iterations.ended
        )
