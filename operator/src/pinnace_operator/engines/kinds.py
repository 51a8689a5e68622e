"""The table of engines: where each kind of object has its pods, its switch, and its say on how it ended. Pure.

A new engine is a further entry here, one in the enumeration, and the rights in the chart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pinnace_operator.experiment_spec import EngineKind

#: Names of fields, from the outside in; `*` stands for every item of a list or map.
Path = tuple[str, ...]

#: What a status says, all of it: a path, or the type of a condition, with the word that it has to have.
Signs = Mapping[Path | str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What the API server calls objects of a kind."""

    api_version: str
    plural: str

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Paths are below `spec`, and below `status` in what is said of the end."""

    resource: Resource
    #: Who has to be in the cluster.
    operator: str
    #: PodTemplateSpecs. There has to be at least one in an object, where any is named here.
    templates: tuple[Path, ...] = ()
    #: Metadata that all pods get.
    pod_metadata: tuple[Path, ...] = ()
    #: A list that gets one more item, made of the metadata that all pods get.
    appended: tuple[str, Callable[[dict[str, Any]], dict[str, Any]]] | None = None
    suspend: Path
    #: What of the spec ends it for good, whoever else suspends and resumes it. Empty: it can only be suspended.
    stop: Mapping[str, Any] = field(default_factory=dict)
    #: It ended well: one of these.
    succeeded: tuple[Signs, ...]
    #: It failed: one of these, and none of the above.
    failed: tuple[Signs, ...]
    #: Its controller has seen that it is suspended, and took its pods away. None: it never tells.
    at_rest: Signs | None = None
    started: tuple[Path, ...] = ()
    ended: tuple[Path, ...] = ()
    message: tuple[Path, ...] = ()
    #: Fields that must have one of these values, each with the reason. None: the field may be left out.
    only: Mapping[Path, tuple[Sequence[Any], str]] = field(default_factory=dict)
    #: What to write instead of a field of the Experiment that means nothing to this engine.
    instead: Mapping[str, str]


JOB: Final = Resource(api_version="batch/v1", plural="jobs")


def _runtime_patch(metadata: dict[str, Any]) -> dict[str, Any]:
    """A TrainJob has no pods of its own: it changes those of its runtime, whose training job is called `node`."""
    job = {"name": "node", "template": {"spec": {"template": {"metadata": metadata}}}}
    return {
        "manager": "pinnace.dev/operator",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
    }


#: Why another controller than the engine's own is refused: Kueue sends such objects to other clusters.
_ELSEWHERE: Final = "what runs in another cluster is seen by nobody here"

#: What of a Job's spec ends it for good: it needs no more pods, and is complete once those that it has are gone, also
#: while a queue holds it suspended.
_NO_PODS: Final = {"parallelism": 0, "completions": 0}


ENGINES: Final[Mapping[EngineKind, Engine]] = {
    EngineKind.PYTORCH_JOB: Engine(
        resource=Resource(api_version="kubeflow.org/v1", plural="pytorchjobs"),
        operator="the Kubeflow Training Operator",
        templates=(("pytorchReplicaSpecs", "*", "template"),),
        suspend=("runPolicy", "suspend"),
        stop={"runPolicy": {"activeDeadlineSeconds": 1}},
        succeeded=({"Succeeded": "True"},),
        failed=({"Failed": "True"},),
        at_rest={"Suspended": "True"},
        started=(("startTime",),),
        ended=(("completionTime",),),
        only={("runPolicy", "managedBy"): ((None, "kubeflow.org/training-operator"), _ELSEWHERE)},
        instead={
            "workers": "pytorchReplicaSpecs.Worker.replicas",
            "backoffLimit": "runPolicy.backoffLimit",
            "podFailurePolicy": "pytorchReplicaSpecs.Worker.restartPolicy: ExitCode",
            "activeDeadlineSeconds": "runPolicy.activeDeadlineSeconds",
            "ttlSecondsAfterFinished": "runPolicy.ttlSecondsAfterFinished",
        },
    ),
    EngineKind.TRAIN_JOB: Engine(
        resource=Resource(api_version="trainer.kubeflow.org/v1alpha1", plural="trainjobs"),
        operator="the Kubeflow Trainer, with spec.runtimePatches",
        appended=("runtimePatches", _runtime_patch),
        suspend=("suspend",),
        succeeded=({"Complete": "True"},),
        failed=({"Failed": "True"},),
        # Its controller says so as soon as it is asked to; that the pods are gone, they have to tell themselves.
        at_rest={"Suspended": "True"},
        only={("managedBy",): ((None, "trainer.kubeflow.org/trainjob-controller"), _ELSEWHERE)},
        instead={
            "workers": "trainer.numNodes",
            "backoffLimit": "the Jobs of the runtime",
            "podFailurePolicy": "the Jobs of the runtime",
            "activeDeadlineSeconds": "activeDeadlineSeconds",
            "ttlSecondsAfterFinished": "the JobSet of the runtime",
        },
    ),
    EngineKind.RAY_JOB: Engine(
        resource=Resource(api_version="ray.io/v1", plural="rayjobs"),
        operator="KubeRay",
        templates=(
            ("rayClusterSpec", "headGroupSpec", "template"),
            ("rayClusterSpec", "workerGroupSpecs", "*", "template"),
        ),
        suspend=("suspend",),
        # Its cluster goes so long after the end as it says.
        stop={"activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0},
        succeeded=({("jobDeploymentStatus",): "Complete", ("jobStatus",): "SUCCEEDED"},),
        failed=(
            {("jobDeploymentStatus",): "Complete"},
            {("jobDeploymentStatus",): "Failed"},
            {("jobDeploymentStatus",): "ValidationFailed"},
        ),
        at_rest={("jobDeploymentStatus",): "Suspended"},
        started=(("startTime",),),
        ended=(("endTime",),),
        message=(("reason",), ("message",)),
        only={
            ("shutdownAfterJobFinishes",): (
                (True,),
                "the pods of its cluster never end otherwise, nor are they proven",
            ),
            ("deletionStrategy",): ((None,), "shutdownAfterJobFinishes says when its pods go"),
            ("deletionPolicy",): ((None,), "shutdownAfterJobFinishes says when its pods go"),
            ("clusterSelector",): ((None,), "the pods of a cluster that is there already belong to no iteration"),
            ("submissionMode",): (
                (None, "K8sJobMode", "HTTPMode", "SidecarMode"),
                "one that waits for somebody to submit it does not end by itself",
            ),
            ("managedBy",): ((None, "ray.io/kuberay-operator"), _ELSEWHERE),
        },
        instead={
            "workers": "rayClusterSpec.workerGroupSpecs[].replicas",
            "backoffLimit": "backoffLimit",
            "podFailurePolicy": "backoffLimit",
            "activeDeadlineSeconds": "activeDeadlineSeconds",
            "ttlSecondsAfterFinished": "ttlSecondsAfterFinished",
        },
    ),
    EngineKind.WORKFLOW: Engine(
        resource=Resource(api_version="argoproj.io/v1alpha1", plural="workflows"),
        operator="Argo Workflows",
        pod_metadata=(("podMetadata",),),
        # A suspended Workflow begins no further step, and lets those that run go on.
        suspend=("suspend",),
        stop={"shutdown": "Terminate"},
        succeeded=({("phase",): "Succeeded"},),
        failed=({("phase",): "Failed"}, {("phase",): "Error"}),
        started=(("startedAt",),),
        ended=(("finishedAt",),),
        message=(("message",),),
        instead={
            "workers": "parallelism and its steps",
            "backoffLimit": "templates[].retryStrategy",
            "podFailurePolicy": "templates[].retryStrategy",
            "activeDeadlineSeconds": "activeDeadlineSeconds",
            "ttlSecondsAfterFinished": "ttlStrategy",
        },
    ),
}


def resource_of(kind: EngineKind) -> Resource:
    return JOB if kind is EngineKind.JOB else ENGINES[kind].resource


def stop_of(kind: EngineKind) -> Mapping[str, Any]:
    """What of the spec ends it for good; empty where it can only be suspended, so that a queue may resume it."""
    return _NO_PODS if kind is EngineKind.JOB else ENGINES[kind].stop


def suspension(kind: EngineKind, *, suspend: bool, for_good: bool) -> dict[str, Any]:
    """What of the spec says so."""
    if for_good and (stop := stop_of(kind)):
        return dict(stop)
    return nested(("suspend",) if kind is EngineKind.JOB else ENGINES[kind].suspend, suspend)


def says(value: Any, part: Mapping[str, Any]) -> bool:
    """Whether `part` is in `value`, maps within maps too."""
    return isinstance(value, Mapping) and all(
        says(value.get(name), wanted) if isinstance(wanted, Mapping) else value.get(name) == wanted
        for name, wanted in part.items()
    )


def at(value: Any, path: Path) -> Any:
    """What is at `path`; None where it does not lead anywhere."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def found(value: Any, path: Path, field_: str) -> Iterator[tuple[str, Any]]:
    """What there is at `path`, `*` followed, each with the name of its field, which begins with `field_`."""
    if not path:
        yield field_, value
    elif path[0] == "*" and isinstance(value, list):
        for position, item in enumerate(value):
            yield from found(item, path[1:], f"{field_}[{position}]")
    elif isinstance(value, Mapping):
        for name in value if path[0] == "*" else (path[0],):
            if name in value:
                yield from found(value[name], path[1:], f"{field_}.{name}")


def changed(value: Any, path: Path, change: Mapping[str, Any]) -> Any:
    """`value` with each object at `path` joined with `change`. The last object comes into being if it isn't there."""
    if not path:
        return _joined(value if isinstance(value, Mapping) else {}, change)
    name, rest = path[0], path[1:]
    if name == "*" and isinstance(value, list):
        return [changed(item, rest, change) for item in value]
    if not isinstance(value, Mapping):
        return value
    if name == "*":
        return {key: changed(item, rest, change) for key, item in value.items()}
    if name not in value and rest:
        return value
    return {**value, name: changed(value.get(name), rest, change)}


def nested(path: Path, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` for a and b."""
    for name in reversed(path):
        value = {name: value}
    return dict(value)


def _joined(value: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Maps within maps are joined, too."""
    return {**value, **{name: _within(value.get(name), part) for name, part in change.items()}}


def _within(value: Any, part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    return _joined(value if isinstance(value, Mapping) else {}, part)
