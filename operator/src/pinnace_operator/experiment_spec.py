"""The spec of an Experiment as values, with the defaults of crds/experiments.yaml (a test compares them)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from pinnace_operator.experiment_status import ConditionStatus
from pinnace_operator.manifest import Manifest


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


class Shards(StrEnum):
    """Of a checkpoint that several workers wrote, what each gets back."""

    #: Its own shard, and what the others' manifests call shared.
    OWN = "Own"
    #: Everything, whoever wrote it.
    ALL = "All"


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
    shards: Shards = Shards.OWN
    timeout_seconds: int = 600


class SystemMetrics(Manifest, frozen=True, kw_only=True):
    enabled: bool = False
    interval_seconds: int = 10


class Metrics(Manifest, frozen=True, kw_only=True):
    files: tuple[str, ...] = ("metrics.jsonl",)
    system: SystemMetrics = SystemMetrics()


class TemplateMetadata(Manifest, frozen=True, kw_only=True):
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


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
