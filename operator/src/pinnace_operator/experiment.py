"""The Experiment resource as values: the manifest is parsed here, once, and travels no further.

The defaults equal those of crds/experiments.yaml (a test compares them), so a manifest reads the same with and without
an API server between.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pinnace.errors import PinnaceError
from pinnace_operator.indexes import IndexSet


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


class Goal(StrEnum):
    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class Sampler(StrEnum):
    """Of Optuna's, those that need nothing but Optuna, and nothing but what trials came to."""

    #: Tree-structured Parzen estimator.
    TPE = "TPE"
    RANDOM = "Random"


class StoppingRule(StrEnum):
    MEDIAN = "Median"


class Addressing(StrEnum):
    PATH = "Path"
    VIRTUAL = "Virtual"


class Checksums(StrEnum):
    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"


class FailureAction(StrEnum):
    """What a failed pod means for its iteration."""

    #: The iteration has failed, without another try.
    FAIL_JOB = "FailJob"
    #: The same; Kubernetes' word for one worker of several, and we need them all.
    FAIL_INDEX = "FailIndex"
    #: A new pod, which does not count against backoffLimit.
    IGNORE = "Ignore"
    #: A new pod, as long as backoffLimit allows it.
    COUNT = "Count"


class Membership(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"


class DeletionPolicy(StrEnum):
    #: Objects and rows stay when the Experiment is deleted.
    RETAIN = "Retain"
    #: Its row at the metadata API goes to the trash, from which retention removes bytes and records.
    DELETE = "Delete"


class EngineKind(StrEnum):
    """What runs an iteration."""

    #: Kubernetes' own, of spec.template.
    JOB = "Job"
    #: Kubeflow's training operator.
    PYTORCH_JOB = "PyTorchJob"
    #: Kubeflow Trainer.
    TRAIN_JOB = "TrainJob"
    #: KubeRay.
    RAY_JOB = "RayJob"
    #: Argo Workflows.
    WORKFLOW = "Workflow"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything read from or written to the cluster: camelCase there, unknown fields ignored."""


class Range(Manifest, frozen=True, kw_only=True):
    min: float
    max: float


class IntRange(Manifest, frozen=True, kw_only=True):
    min: int
    max: int
    step: int = 1


class Dimension(Manifest, frozen=True, kw_only=True):
    """Exactly one of them; `search.space_of` checks them."""

    uniform: Range | None = None
    log_uniform: Range | None = None
    int_: IntRange | None = msgspec.field(default=None, name="int")
    choice: Sequence[Any] | None = None


class RandomSearch(Manifest, frozen=True, kw_only=True):
    count: int
    seed: int = 0
    space: Mapping[str, Dimension]


class OptunaSearch(Manifest, frozen=True, kw_only=True):
    count: int
    sampler: Sampler = Sampler.TPE
    seed: int = 0
    space: Mapping[str, Dimension]


class Parameters(Manifest, frozen=True, kw_only=True):
    """Exactly one of them; `search.search_of` checks names and values."""

    grid: Mapping[str, Sequence[Any]] | None = None
    list: Sequence[Mapping[str, Any]] | None = None
    random: RandomSearch | None = None
    optuna: OptunaSearch | None = None


class Objective(Manifest, frozen=True, kw_only=True):
    metric: str
    goal: Goal = Goal.MAXIMIZE
    target: float | None = None


class EarlyStopping(Manifest, frozen=True, kw_only=True):
    rule: StoppingRule = StoppingRule.MEDIAN
    warmup_steps: int = 0
    min_iterations: int = 5


class Completion(Manifest, frozen=True, kw_only=True):
    settle_seconds: int = 5
    markers: bool = True


class Compression(Manifest, frozen=True, kw_only=True):
    zstd_level: int = 0


class EmptyDir(Manifest, frozen=True, kw_only=True):
    size_limit: int | str = "20Gi"


class AccessMode(StrEnum):
    ONCE = "ReadWriteOnce"
    ONCE_POD = "ReadWriteOncePod"
    MANY = "ReadWriteMany"


class PersistentVolumeClaim(Manifest, frozen=True, kw_only=True):
    #: None: the cluster's default.
    storage_class_name: str | None = None
    size: int | str
    access_mode: AccessMode = AccessMode.ONCE


class Volume(Manifest, frozen=True, kw_only=True):
    """At most one of the two; neither is an EmptyDir."""

    empty_dir: EmptyDir | None = None
    persistent_volume_claim: PersistentVolumeClaim | None = None


class Buffer(Manifest, frozen=True, kw_only=True):
    size_limit: int | str = "10Gi"


class SecretRef(Manifest, frozen=True, kw_only=True):
    name: str


class ConfigMapKeyRef(Manifest, frozen=True, kw_only=True):
    name: str
    key: str = "ca.crt"


class Store(Manifest, frozen=True, kw_only=True):
    """None: the ArtifactStore says, or the operator's default store."""

    #: The name of an ArtifactStore.
    ref: str | None = None
    endpoint: str | None = None
    region: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    addressing: Addressing | None = None
    credentials_secret_ref: SecretRef | None = None
    ca_bundle_ref: ConfigMapKeyRef | None = None
    server_side_encryption: str | None = None
    checksums: Checksums | None = None


class Artifacts(Manifest, frozen=True, kw_only=True):
    mount_path: str = "/artifacts"
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ("*.tmp", "*.part")
    completion: Completion = Completion()
    deduplicate: bool = True
    compression: Compression = Compression()
    volume: Volume = Volume()
    buffer: Buffer = Buffer()
    store: Store = Store()
    drain_timeout_seconds: int = 600
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    #: None: what a pod needs to drain, and DELETION_MARGIN_S.
    deletion_timeout_seconds: int | None = None


class Restore(Manifest, frozen=True, kw_only=True):
    enabled: bool = False
    include: tuple[str, ...] = ()
    timeout_seconds: int = 600


class SystemMetrics(Manifest, frozen=True, kw_only=True):
    enabled: bool = False
    interval_seconds: int = 10


class Metrics(Manifest, frozen=True, kw_only=True):
    files: tuple[str, ...] = ("metrics.jsonl",)
    system: SystemMetrics = SystemMetrics()


class TemplateMetadata(Manifest, frozen=True, kw_only=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Template(Manifest, frozen=True, kw_only=True):
    """A PodTemplateSpec; its spec stays as the user wrote it."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: dict[str, Any]


class Engine(Manifest, frozen=True, kw_only=True):
    kind: EngineKind = EngineKind.JOB
    #: Of the object; its pods have their own.
    metadata: TemplateMetadata = TemplateMetadata()
    #: The object's spec as the user wrote it; None for a Job.
    spec: dict[str, Any] | None = None


class OnExitCodes(Manifest, frozen=True, kw_only=True, omit_defaults=True):
    #: None: any container's.
    container_name: str | None = None
    operator: Membership
    values: tuple[int, ...]


class OnPodCondition(Manifest, frozen=True, kw_only=True):
    type: str
    status: ConditionStatus = ConditionStatus.TRUE


class FailureRule(Manifest, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of the two."""

    action: FailureAction
    on_exit_codes: OnExitCodes | None = None
    on_pod_conditions: tuple[OnPodCondition, ...] = ()


class PodFailurePolicy(Manifest, frozen=True, kw_only=True):
    """As in a Job: the first rule that matches a failed pod decides."""

    rules: tuple[FailureRule, ...]


class Spec(Manifest, frozen=True, kw_only=True):
    project: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    suspend: bool = False
    parameters: Parameters | None = None
    parallelism: int = 1
    max_failed_iterations: int | None = None
    workers: int = 1
    backoff_limit: int = 2
    pod_failure_policy: PodFailurePolicy | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    objective: Objective | None = None
    early_stopping: EarlyStopping | None = None
    artifacts: Artifacts = Artifacts()
    restore: Restore = Restore()
    metrics: Metrics = Metrics()
    engine: Engine = Engine()
    #: Of Jobs; with other engines there is none, which reads as an empty one.
    template: Template = Template(spec={})


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


class Metadata(Manifest, frozen=True, kw_only=True):
    """What we read of any object's metadata."""

    name: str
    namespace: str = ""
    uid: str
    generation: int = 0
    resource_version: str = "0"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @property
    def version(self) -> int:
        """Grows with each change of an object. Opaque by the book, and an integer in every API server there is."""
        return int(self.resource_version) if self.resource_version.isdigit() else 0


class Experiment(Manifest, frozen=True, kw_only=True):
    metadata: Metadata
    spec: Spec
    status: Status = Status()

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "Experiment":
        """A status that speaks of another Experiment (by experimentId) is not taken over.

        Raises MalformedError when the manifest is not what the CRD promises (another version of it).
        """
        try:
            experiment = msgspec.convert(manifest, cls)
        except msgspec.ValidationError as error:
            name = manifest.get("metadata", {}).get("name", "?")
            raise MalformedError(
                f"Experiment {name} can't be read: {error}",
                hint="the installed CRD is of another version than this operator: upgrade both together",
            ) from error
        if experiment.status.experiment_id not in ("", experiment.metadata.uid):
            # Restored from a backup, or written late for a deleted one of the same name: it speaks of another.
            return msgspec.structs.replace(experiment, status=Status())
        return experiment

    @property
    def id(self) -> UUID:
        return UUID(self.metadata.uid)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def settled(self) -> bool:
        """Done, and nothing is left to be done about its Jobs either."""
        wants_release = self.spec.ttl_seconds_after_finished is not None
        return self.status.done and (
            # The Job of a stopped iteration never ends, so it goes with the Experiment.
            not wants_release or self.status.synced <= self.status.released | self.status.stopped
        )

    @property
    def project(self) -> str:
        return self.spec.project or self.metadata.namespace


class MalformedError(PinnaceError):
    """An object of the cluster does not have the shape that its schema promises. Trying again can't help."""
