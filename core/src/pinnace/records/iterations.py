"""Iterations: one run each, with its parameters."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pinnace.records.lifecycle import Lifecycle, Tags, TagsPatch
from pinnace.records.metrics import MetricSummary
from pinnace.records.record import Page, Record

#: The highest index that a caller may choose. In an experiment of a cluster, where the operator chooses, the numbers
#: that the API gives lie above it, so that the two never meet.
MAX_INDEX = 1_000_000

Name = Annotated[str, Meta(max_length=250)]
#: A note, the text of an error with its stack trace.
LongText = Annotated[str, Meta(max_length=16_384)]
Parameters = Annotated[dict[str, Any], Meta(max_length=10_000)]
LeaseSeconds = Annotated[int, Meta(ge=1, le=7 * 86_400)]


class IterationState(StrEnum):
    """What is known of the training itself; says nothing about artifacts."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    #: Ended from outside: by a person, a signal, a deadline.
    KILLED = "KILLED"
    #: It ran and stopped to give signs of life. One more of them, and it runs again.
    LOST = "LOST"


#: States that are never left.
ENDED_STATES = frozenset({IterationState.SUCCEEDED, IterationState.FAILED, IterationState.KILLED})


class IterationWrite(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}. `parameters` are set once; another value for a set key is a 409.

    With an `index` the id is `ids.iteration_id(experiment, index)`. Without one any UUID is the id, and the API gives
    the iteration the next number of its experiment.
    """

    experiment_id: UUID
    index: Annotated[int, Meta(ge=0, le=MAX_INDEX)] | None = None
    parameters: Parameters = {}
    state: IterationState = IterationState.PENDING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: These are taken when the iteration is created; afterwards they are edited by PATCH.
    name: Name = ""
    notes: LongText = ""
    error: LongText = ""
    #: An iteration of the same experiment that this one is a part of.
    parent_id: UUID | None = None
    tags: Tags = {}
    #: What is needed to do it again: commit, packages, command …
    environment: dict[str, Any] = {}


class IterationPatch(Record, frozen=True, kw_only=True):
    """PATCH /iterations/{id}. When it has ended, only name, notes, tags, parent and lifecycle can still change."""

    name: Name | UnsetType | None = UNSET
    notes: LongText | UnsetType | None = UNSET
    error: LongText | UnsetType | None = UNSET
    state: IterationState | UnsetType = UNSET
    started_at: datetime | UnsetType = UNSET
    ended_at: datetime | UnsetType = UNSET
    parent_id: UUID | UnsetType | None = UNSET
    #: By key, each value as a whole. One that is set can only be changed, or taken away by null, with `?override=true`.
    parameters: Parameters | UnsetType = UNSET
    tags: TagsPatch | UnsetType | None = UNSET
    #: By key of the outermost object, each value as a whole.
    environment: dict[str, Any] | UnsetType = UNSET
    lifecycle: Lifecycle | UnsetType = UNSET


class Iteration(Record, frozen=True, kw_only=True):
    id: UUID
    experiment_id: UUID
    index: int
    parameters: dict[str, Any]
    state: IterationState
    started_at: datetime | None
    ended_at: datetime | None
    metrics: dict[str, MetricSummary]
    name: str = ""
    notes: str = ""
    error: str = ""
    parent_id: UUID | None = None
    created_at: datetime | None = None
    created_by: str = ""
    tags: dict[str, str] = {}
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    #: The last sign of life, and until when the next one is due; None without any.
    heartbeat_at: datetime | None = None
    lease_until: datetime | None = None
    #: Since when it lies in the trash by itself; and when retention removed what it had, after which it stays there.
    trashed_at: datetime | None = None
    purged_at: datetime | None = None


class IterationPage(Page, frozen=True, kw_only=True):
    items: tuple[Iteration, ...]
    #: How many there are on all pages together, where that was asked for.
    total: int | None = None


class Environment(Record, frozen=True, kw_only=True):
    """GET /iterations/{id}/environment: apart, because it can be long."""

    environment: dict[str, Any]


class Heartbeat(Record, frozen=True, kw_only=True):
    """PUT /iterations/{id}/heartbeat: it lives, and will say so again within `lease_seconds`."""

    lease_seconds: LeaseSeconds = 60


class HeartbeatReceipt(Record, frozen=True, kw_only=True):
    """What the iteration is now: a training that reads KILLED or TRASHED here had better stop."""

    state: IterationState
    lifecycle: Lifecycle
    #: None when it has ended.
    lease_until: datetime | None


class TreeNode(Record, frozen=True, kw_only=True):
    """An iteration in a tree; `depth` is 0 at the root that was asked for."""

    id: UUID
    parent_id: UUID | None
    index: int
    name: str
    state: IterationState
    depth: int


class Subtree(Page, frozen=True, kw_only=True):
    """GET /iterations/{id}/subtree: what it all comes to, trash left out, and the iterations by index."""

    iterations: int
    states: dict[IterationState, int]
    artifacts: int
    artifact_bytes: int
    items: tuple[TreeNode, ...]
