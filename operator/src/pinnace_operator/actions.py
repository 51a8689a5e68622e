"""What a plan is made of; perform.py carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pinnace.records import ExperimentWrite, IterationWrite
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.experiment_status import Condition, Status
from pinnace_operator.expiry import ExpireJob
from pinnace_operator.rescue import CreateRescue


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Put our finalizer on the Experiment; without it nothing else is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Take our finalizer away, once the status is written that tells why.

    `after_trash`: only if the Experiment's records could be put into the trash.
    """

    after_trash: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateJob:
    index: int
    manifest: dict[str, Any]
    #: Where its pods find each other; it is made first. None: there is only one pod.
    service: dict[str, Any] | None = None
    #: What its pods write to, which is made first; None: folders of their own.
    claim: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendJob:
    """`suspend` False: let it go on. `for_good` says why it is to come to its end; empty: it may go on some time."""

    name: str
    uid: str
    suspend: bool
    engine: EngineKind = EngineKind.JOB
    #: UIDs of pods that it had.
    pods: frozenset[str] = frozenset()
    #: Of those that end by it, or did before.
    uncounted: frozenset[str] = frozenset()
    for_good: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotePods:
    """As SuspendJob says it, of a Job that somebody else suspends."""

    name: str
    uid: str
    engine: EngineKind = EngineKind.JOB
    pods: frozenset[str] = frozenset()
    uncounted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndJob:
    """Let it fail for its time, so that it ends its pods and lets them go."""

    name: str
    uid: str
    #: Another number than before has the Job controller look again.
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PutExperimentRow:
    id: UUID
    row: ExperimentWrite


@dataclass(frozen=True, slots=True, kw_only=True)
class PutIterationRow:
    id: UUID
    row: IterationWrite
    #: It remembers what an optimiser was asked for; its Job can be made now.
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordImages:
    """Which images an iteration ran."""

    id: UUID
    images: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashExperiment:
    """Put its row with all that is in it into the trash, which is left to retention."""

    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Say by an Event, once, what no condition says."""

    reason: str
    message: str
    is_good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStatus:
    status: Status
    #: What to announce as Events, once the status is written.
    transitions: tuple[Condition, ...] = ()


Action = (
    Hold
    | Release
    | CreateJob
    | CreateRescue
    | SuspendJob
    | NotePods
    | ExpireJob
    | EndJob
    | PutExperimentRow
    | PutIterationRow
    | RecordImages
    | TrashExperiment
    | Announce
    | WriteStatus
)
