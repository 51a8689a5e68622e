"""Experiments, Jobs and pods as far as a person's questions need them. Unknown fields are ignored."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec

from pinnace.naming import ENV_PARAMS, GROUP, ITERATION_LABEL, PLURAL, RESCUES_LABEL, SIDECAR_CONTAINER
from pinnace.records import PodReport

EXPERIMENTS: Final = f"{PLURAL}.{GROUP}"

#: Which of an Indexed Job's pods it is.
_WORKER: Final = "batch.kubernetes.io/job-completion-index"
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"

_ItemT = TypeVar("_ItemT")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what is read of the cluster."""


class Metadata(Manifest, frozen=True, kw_only=True):
    name: str
    uid: str
    namespace: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Condition(Manifest, frozen=True, kw_only=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class IterationCounts(Manifest, frozen=True, kw_only=True):
    total: int = 0
    succeeded_indexes: str = ""
    failed_indexes: str = ""
    stopped_indexes: str = ""
    skipped_indexes: str = ""
    synced_indexes: str = ""
    best_iteration: int | None = None
    best_value: str = ""


class ArtifactCounts(Manifest, frozen=True, kw_only=True):
    recorded: int = 0
    bytes: int = 0
    pending: int = 0
    suspect: int = 0
    quarantined: int = 0
    oldest_unshipped_seconds: int = 0


class ExperimentStatus(Manifest, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()
    iterations: IterationCounts = IterationCounts()
    artifacts: ArtifactCounts = ArtifactCounts()


class ExperimentSpec(Manifest, frozen=True, kw_only=True):
    project: str = ""
    suspend: bool = False


class Experiment(Manifest, frozen=True, kw_only=True):
    metadata: Metadata
    spec: ExperimentSpec
    status: ExperimentStatus = ExperimentStatus()

    @property
    def id(self) -> UUID:
        return UUID(self.metadata.uid)

    @property
    def synced(self) -> Condition | None:
        return next((each for each in self.status.conditions if each.type == "ArtifactsSynced"), None)


class Variable(Manifest, frozen=True, kw_only=True):
    name: str
    value: str = ""


class Container(Manifest, frozen=True, kw_only=True):
    name: str
    env: tuple[Variable, ...] = ()


class PodSpec(Manifest, frozen=True, kw_only=True):
    containers: tuple[Container, ...] = ()


class Ended(Manifest, frozen=True, kw_only=True):
    exit_code: int = 0
    reason: str = ""
    message: str = ""


class Waiting(Manifest, frozen=True, kw_only=True):
    reason: str = ""
    message: str = ""


class ContainerState(Manifest, frozen=True, kw_only=True):
    waiting: Waiting | None = None
    running: Mapping[str, Any] | None = None
    terminated: Ended | None = None


class ContainerStatus(Manifest, frozen=True, kw_only=True):
    name: str
    state: ContainerState = ContainerState()
    restart_count: int = 0


class PodStatus(Manifest, frozen=True, kw_only=True):
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class _OfIteration(Manifest, frozen=True, kw_only=True):
    """What the labels of Jobs and pods tell alike."""

    metadata: Metadata

    @property
    def is_rescue(self) -> bool:
        """It ships what another pod left."""
        return RESCUES_LABEL in self.metadata.labels

    @property
    def index(self) -> int | None:
        text = self.metadata.labels.get(ITERATION_LABEL, "")
        return int(text) if text.isdecimal() else None


class Pod(_OfIteration, frozen=True, kw_only=True):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def worker(self) -> int | None:
        """None: its iteration has one pod at a time."""
        text = self.metadata.labels.get(_WORKER, "")
        return int(text) if text.isdecimal() else None

    @property
    def ended(self) -> bool:
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def container(self) -> str:
        """The one that a person most likely means."""
        first = self.spec.containers[0].name if self.spec.containers else ""
        return self.metadata.annotations.get(_DEFAULT_CONTAINER, first)

    @property
    def sidecar(self) -> ContainerStatus | None:
        return next((each for each in self.status.init_container_statuses if each.name == SIDECAR_CONTAINER), None)

    @property
    def report(self) -> PodReport | None:
        """The sidecar's last words; None where there are none that can be read."""
        if self.sidecar is None or self.sidecar.state.terminated is None:
            return None
        try:
            report = msgspec.json.decode(self.sidecar.state.terminated.message, type=PodReport)
        except msgspec.DecodeError:
            return None
        return report if report.pod_uid == self.metadata.uid else None


class PodTemplate(Manifest, frozen=True, kw_only=True):
    spec: PodSpec = PodSpec()


class JobSpec(Manifest, frozen=True, kw_only=True):
    suspend: bool = False
    template: PodTemplate = PodTemplate()


class JobStatus(Manifest, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()


class Job(_OfIteration, frozen=True, kw_only=True):
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def parameters(self) -> dict[str, Any] | None:
        """What its pods are told; None when that can't be read."""
        for container in self.spec.template.spec.containers:
            for variable in container.env:
                if variable.name == ENV_PARAMS:
                    try:
                        # A dollar is written twice, so that Kubernetes does not take it for a reference.
                        return msgspec.json.decode(variable.value.replace("$$", "$"), type=dict[str, Any])
                    except msgspec.DecodeError:
                        return None
        return None


class ListMetadata(Manifest, frozen=True, kw_only=True):
    continue_: str = msgspec.field(default="", name="continue")


class Listed(Manifest, Generic[_ItemT], frozen=True, kw_only=True):
    items: Sequence[_ItemT]
    metadata: ListMetadata = ListMetadata()


def indexes(text: str) -> frozenset[int]:
    """The set that a status writes as `0-3,7`; what can't be read is left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last.isdecimal() or not last):
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
