"""What is seen of an Experiment's Jobs and pods, and of its rows in the metadata API: small values, parsed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from pinnace.naming import (
    ENGINE_LABEL,
    INJECT_LABEL,
    ITERATION_LABEL,
    RESCUES_LABEL,
    RESTORE_CONTAINER,
    SIDECAR_CONTAINER,
)
from pinnace.records import ExperimentWrite, Iteration, PodReport, PodStanding
from pinnace_operator.experiment import EngineKind, MalformedError, Manifest, Metadata, PodFailurePolicy
from pinnace_operator.job import (
    PARAMETERS_ANNOTATION,
    QUEUE_LABEL_PREFIX,
    STOPPED_ANNOTATION,
    SUSPENDED_ANNOTATION,
    SUSPENDED_PODS_ANNOTATION,
)
from pinnace_operator.search.stopping import Comparison
from pinnace_operator.search.values import Combination
from pinnace_operator.stores import Offers
from pinnace_operator.workers import INDEX_ANNOTATION

_ManifestT = TypeVar("_ManifestT", bound=Manifest)


#: What a Job's activeDeadlineSeconds is set to when it is to end at once.
END_S: Final = 1


class JobEnd(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class PodEnd(StrEnum):
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why something does not go on, as a condition says it: one word, and a sentence with what to do."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    uid: str
    name: str
    index: int
    version: int = 0
    #: Which object it really is; other engines than Job don't count their pods.
    engine: EngineKind = EngineKind.JOB
    suspended: bool = False
    #: By us, not by a queue.
    suspended_by_us: bool = False
    #: UIDs of pods that had started when we suspended it, now and before.
    suspended_pods: frozenset[str] = frozenset()
    #: Why we suspended it for good; empty: we did not.
    stopped: str = ""
    #: Its controller has seen that it is suspended, and no pod of it is left.
    at_rest: bool = False
    #: What an optimiser chose for it.
    parameters: Combination = field(default_factory=dict)
    #: A queue decides when it runs.
    queued: bool = False
    #: Its time is over by our word.
    is_ending: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: None: not ended.
    end: JobEnd | None = None
    #: Why it failed, in Kubernetes' words.
    message: str = ""
    #: By the Job controller's count, whether or not they still exist; not those whose failure its rules leave out.
    pods_succeeded: int = 0
    pods_failed: int = 0
    pods_active: int = 0
    failure_policy: PodFailurePolicy | None = None
    #: How long after its end it goes away by itself, in seconds; None: never.
    ttl_seconds: int | None = None
    #: The UID of the pod whose files it ships; empty: it trains.
    rescues: str = ""

    @property
    def pods_ended(self) -> int:
        return self.pods_succeeded + self.pods_failed

    @property
    def over(self) -> bool:
        """It has ended, or was stopped and has nothing left to end."""
        return self.end is not None or (bool(self.stopped) and self.at_rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    uid: str
    name: str
    index: int
    version: int = 0
    created_at: datetime | None = None
    #: Another owner's, with the sidecar put in by the webhook; no Job of ours counts it. Not an engine's.
    injected: bool = False
    #: Some container has run, so there may be files.
    started: bool = False
    #: A container of the training itself has run.
    trained: bool = False
    #: All containers have ended, or the pod is gone.
    ended: bool = False
    #: The sidecar's termination message; None when there is none, or it can't be read.
    report: PodReport | None = None
    #: Why it does not start or run.
    trouble: Trouble | None = None
    #: It is being set up, and nothing tells why it might hang.
    setting_up: bool = False
    #: How its training failed; empty when it has not.
    failure: str = ""
    #: Of the training's containers, by name, as they were resolved to digests.
    images: Mapping[str, str] = field(default_factory=dict)
    #: Which of the iteration's workers it is.
    worker: int = 0
    #: How many pods of this worker's failed before it that the Job does not count.
    ignored_before: int = 0
    #: None: not known, for instance because it went away unseen.
    end: PodEnd | None = None
    #: By container.
    exit_codes: Mapping[str, int] = field(default_factory=dict)
    #: Type and status.
    conditions: frozenset[tuple[str, str]] = frozenset()
    #: As of a Job.
    rescues: str = ""

    def gone(self) -> "PodView":
        return replace(self, ended=True, trouble=None, setting_up=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """The Job that ships what a pod left on its claim, and the pods of that Job."""

    job: JobView
    pods: Sequence[PodView] = ()

    @property
    def reports(self) -> list[PodReport]:
        """What it said in the name of the pod that it stands for."""
        return [pod.report for pod in self.pods if pod.report is not None]

    @property
    def trouble(self) -> str:
        """Why it does not run."""
        return next((pod.trouble.message for pod in self.pods if pod.trouble is not None and not pod.ended), "")

    @property
    def failure(self) -> str:
        """Why it failed, as its last try said, else in Kubernetes' words."""
        ends = [pod.failure for pod in sorted(self.pods, key=lambda pod: pod.version) if pod.failure]
        return "; ".join(filter(None, (*ends[-1:], self.job.message)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the metadata API holds."""

    iterations: Mapping[int, Iteration] = field(default_factory=dict)
    standings: Sequence[PodStanding] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A Job that could not be made."""

    trouble: Trouble
    #: The generation of the Experiment whose Job it was.
    generation: int
    #: When to try again; None: not before the spec changes.
    retry_at: datetime | None
    attempts: int = 1
    #: The cluster knows no such kind of object.
    engine_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world around one Experiment at one moment."""

    jobs: Mapping[int, JobView] = field(default_factory=dict)
    #: Those that were seen and are gone, as they were last.
    past_jobs: Mapping[int, JobView] = field(default_factory=dict)
    pods: Sequence[PodView] = ()
    #: None: the API did not answer; `api_trouble` says why.
    rows: Rows | None = None
    api_trouble: Trouble | None = None
    #: The row of the Experiment as it was last written; None: not by this process.
    experiment_row: ExperimentWrite | None = None
    refusal: Refusal | None = None
    #: By the UID of the pod that they are about.
    rescues: Mapping[str, Rescue] = field(default_factory=dict)
    #: When this process last wrote the status; None: not yet.
    written_at: datetime | None = None
    #: Whether the namespace is being deleted, so that nothing can be made in it; None: nobody has tried.
    namespace_ends: bool | None = None
    #: Whether this process has put its row into the trash.
    is_trashed: bool = False
    #: None: the operator serves no ArtifactStores.
    offers: Offers | None = None
    #: What of pods' images was recorded by this process, by iteration.
    images: Mapping[UUID, Mapping[str, str]] = field(default_factory=dict)
    #: How iterations that may be hopeless compare with others.
    comparison: Comparison = field(default_factory=Comparison)


def convert(manifest: Mapping[str, Any], type_: type[_ManifestT]) -> _ManifestT:
    """Raises MalformedError."""
    try:
        return msgspec.convert(manifest, type_)
    except msgspec.ValidationError as error:
        raise MalformedError(f"{type_.__name__[1:]} can't be read: {error}") from error


def job_view(manifest: Mapping[str, Any]) -> JobView:
    """Raises MalformedError for a Job that isn't one of ours."""
    job = convert(manifest, _Job)
    ended = next((c for c in job.status.conditions if c.status == "True" and c.type in _ENDS), None)
    meta, status = job.metadata, job.status
    return JobView(
        uid=meta.uid,
        name=meta.name,
        index=index_of(meta),
        version=meta.version,
        suspended=job.spec.suspend,
        suspended_by_us=job.spec.suspend and SUSPENDED_ANNOTATION in meta.annotations,
        suspended_pods=frozenset(meta.annotations.get(SUSPENDED_PODS_ANNOTATION, "").split()),
        stopped=meta.annotations.get(STOPPED_ANNOTATION, ""),
        at_rest=job.spec.suspend and _is_at_rest(status),
        parameters=parameters_of(meta),
        queued=any(label.startswith(QUEUE_LABEL_PREFIX) for label in meta.labels),
        is_ending=job.spec.active_deadline_seconds == END_S and not job.spec.suspend,
        created_at=meta.creation_timestamp,
        started_at=status.start_time,
        ended_at=status.completion_time or (ended.last_transition_time if ended else None),
        end=_ENDS[ended.type] if ended else None,
        message=" ".join(filter(None, (ended.reason, ended.message))) if ended else "",
        pods_succeeded=status.succeeded,
        pods_failed=status.failed,
        pods_active=status.active,
        failure_policy=job.spec.pod_failure_policy,
        ttl_seconds=job.spec.ttl_seconds_after_finished,
        rescues=meta.labels.get(RESCUES_LABEL, ""),
    )


def pod_view(manifest: Mapping[str, Any]) -> PodView:
    """Raises MalformedError for a pod that isn't one of ours."""
    pod = convert(manifest, _Pod)
    meta, status = pod.metadata, pod.status
    containers = (*status.init_container_statuses, *status.container_statuses)
    rescues = meta.labels.get(RESCUES_LABEL, "")
    end = _POD_ENDS.get(status.phase)
    trouble = None if end else _trouble(pod, containers)
    return PodView(
        uid=meta.uid,
        name=meta.name,
        index=index_of(meta),
        version=meta.version,
        created_at=meta.creation_timestamp,
        injected=INJECT_LABEL in meta.labels and ENGINE_LABEL not in meta.labels,
        # What is restored is recorded already: a pod that came no farther wrote nothing.
        started=any(container.has_run for container in containers if container.name != RESTORE_CONTAINER),
        trained=any(container.has_run for container in status.container_statuses),
        ended=end is not None,
        end=end,
        report=_report(pod, rescues or meta.uid),
        trouble=trouble,
        setting_up=trouble is None
        and status.phase == "Pending"
        and not any(container.has_run for container in status.container_statuses),
        failure=_failure(status),
        images={c.name: c.image_id for c in containers if c.image_id and c.name not in _OURS},
        worker=_number(meta, INDEX_ANNOTATION),
        ignored_before=_number(meta, _IGNORED_BEFORE),
        exit_codes={c.name: c.state.terminated.exit_code for c in containers if c.state.terminated is not None},
        conditions=frozenset((condition.type, condition.status) for condition in status.conditions),
        rescues=rescues,
    )


class _State(Manifest, frozen=True, kw_only=True):
    exit_code: int = 0
    reason: str = ""
    message: str = ""


class _ContainerState(Manifest, frozen=True, kw_only=True):
    waiting: _State | None = None
    running: dict[str, Any] | None = None
    terminated: _State | None = None


class _ContainerStatus(Manifest, frozen=True, kw_only=True):
    name: str
    image_id: str = msgspec.field(default="", name="imageID")
    state: _ContainerState = _ContainerState()
    last_state: _ContainerState = _ContainerState()

    @property
    def has_run(self) -> bool:
        return self.state.running is not None or any(s.terminated is not None for s in (self.state, self.last_state))


class _Condition(Manifest, frozen=True, kw_only=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class _PodStatus(Manifest, frozen=True, kw_only=True):
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: tuple[_Condition, ...] = ()
    init_container_statuses: tuple[_ContainerStatus, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()


class _Pod(Manifest, frozen=True, kw_only=True):
    metadata: Metadata
    status: _PodStatus = _PodStatus()


class _JobSpec(Manifest, frozen=True, kw_only=True):
    active_deadline_seconds: int | None = None
    suspend: bool = False
    pod_failure_policy: PodFailurePolicy | None = None
    ttl_seconds_after_finished: int | None = None


class _JobStatus(Manifest, frozen=True, kw_only=True):
    active: int = 0
    terminating: int = 0
    succeeded: int = 0
    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: tuple[_Condition, ...] = ()


class _Job(Manifest, frozen=True, kw_only=True):
    metadata: Metadata
    spec: _JobSpec = _JobSpec()
    status: _JobStatus = _JobStatus()


#: Their last words are ours, too.
_OURS = (SIDECAR_CONTAINER, RESTORE_CONTAINER)

_ENDS = {"Complete": JobEnd.SUCCEEDED, "Failed": JobEnd.FAILED}
_POD_ENDS = {end.value: end for end in PodEnd}

#: The Job controller's, on pods of an Indexed Job whose tries are counted for each of them.
_IGNORED_BEFORE = "batch.kubernetes.io/job-index-ignored-failure-count"

#: A container's waiting reason → our reason, and what to do.
_WAITING = {
    "ErrImagePull": ("ImagePullFailed", "check the image's name and the pull secrets"),
    "ImagePullBackOff": ("ImagePullFailed", "check the image's name and the pull secrets"),
    "InvalidImageName": ("ImagePullFailed", "correct the image's name in spec.template"),
    "ErrImageNeverPull": ("ImagePullFailed", "load the image onto the node, or change imagePullPolicy"),
    "CreateContainerConfigError": ("ConfigMissing", "create the Secret or ConfigMap that it names"),
    "CreateContainerError": ("ContainerNotCreated", "look at kubectl describe pod"),
    "RunContainerError": ("ContainerNotStarted", "check the command in spec.template"),
    "CrashLoopBackOff": ("CrashLooping", "look at kubectl logs --previous"),
}


def index_of(meta: Metadata) -> int:
    text = meta.labels.get(ITERATION_LABEL, "")
    if not text.isdigit():
        raise MalformedError(f"{meta.name} has no index in its label {ITERATION_LABEL}: {text!r}")
    return int(text)


def _is_at_rest(status: _JobStatus) -> bool:
    is_seen = any(condition.type == "Suspended" and condition.status == "True" for condition in status.conditions)
    return is_seen and not status.active and not status.terminating


def parameters_of(meta: Metadata) -> Combination:
    try:
        return msgspec.json.decode(meta.annotations.get(PARAMETERS_ANNOTATION, "{}"), type=Combination)
    except msgspec.DecodeError:
        return {}


def _number(meta: Metadata, annotation: str) -> int:
    text = meta.annotations.get(annotation, "")
    return int(text) if text.isdecimal() else 0


def _report(pod: _Pod, about: str) -> PodReport | None:
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        if container.name == SIDECAR_CONTAINER and container.state.terminated is not None:
            try:
                report = msgspec.json.decode(container.state.terminated.message, type=PodReport)
            except msgspec.DecodeError:
                return None
            return report if report.pod_uid == about else None
    return None


def _trouble(pod: _Pod, containers: Sequence[_ContainerStatus]) -> Trouble | None:
    name = pod.metadata.name
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            return Trouble(
                reason="PodUnschedulable",
                message=f"pod {name} finds no node: {condition.message}; free resources, or ask for less in "
                "spec.template",
            )
    for container in containers:
        waiting = container.state.waiting
        if waiting is not None and waiting.reason in _WAITING:
            reason, advice = _WAITING[waiting.reason]
            return Trouble(
                reason=reason,
                message=f"container {container.name} of pod {name} waits: {waiting.reason}"
                f"{': ' + waiting.message if waiting.message else ''}; {advice}",
            )
    return None


def _failure(status: _PodStatus) -> str:
    if status.phase == "Failed" and status.reason:
        # An eviction for instance: that the containers were killed then says nothing more.
        return ": ".join(filter(None, (status.reason, status.message.rstrip(". "))))
    restoring = [container for container in status.init_container_statuses if container.name == RESTORE_CONTAINER]
    for container in (*restoring, *status.container_statuses):
        ended = container.state.terminated or container.last_state.terminated
        if ended is not None and ended.exit_code != 0:
            why = f" ({ended.reason})" if ended.reason not in ("", "Error") else ""
            said = f": {_said(ended.message)}" if container.name in _OURS and ended.message else ""
            return f"container {container.name} ended with exit code {ended.exit_code}{why}{said}"
    return "the pod failed" if status.phase == "Failed" else ""


def _said(message: str) -> str:
    """A container's last words: a report's problems, or a sentence."""
    try:
        report = msgspec.json.decode(message, type=PodReport)
    except msgspec.DecodeError:
        return message.strip()
    problems = "; ".join(f"{problem.reason}: {problem.message}" for problem in report.problems)
    return problems or f"{report.pending} files are still on their way"
