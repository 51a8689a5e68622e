"""Jobs and pods as the API server tells of them, parsed once into the views of observed.py. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from pinnace.naming import (
    ENGINE_LABEL,
    INJECT_LABEL,
    ITERATION_LABEL,
    RESCUES_LABEL,
    RESTORE_CONTAINER,
    SIDECAR_CONTAINER,
)
from pinnace.records import PodReport
from pinnace_operator.experiment_spec import PodFailurePolicy
from pinnace_operator.job import (
    PARAMETERS_ANNOTATION,
    QUEUE_LABEL_PREFIX,
    STOPPED_ANNOTATION,
    SUSPENDED_ANNOTATION,
    SUSPENDED_PODS_ANNOTATION,
    UNCOUNTED_PODS_ANNOTATION,
)
from pinnace_operator.manifest import MalformedError, Manifest, Metadata
from pinnace_operator.observed import JobEnd, JobView, PodEnd, PodView, Trouble
from pinnace_operator.search.values import Combination
from pinnace_operator.workers import INDEX_ANNOTATION

_ManifestT = TypeVar("_ManifestT", bound=Manifest)


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
    stopped = meta.annotations.get(STOPPED_ANNOTATION, "")
    # One that had succeeded before it could be stopped counts its pods; one that needs none any more does not.
    is_halted = bool(stopped and ended) and not (ended and ended.type == "Complete" and status.succeeded)
    return JobView(
        uid=meta.uid,
        name=meta.name,
        index=index_of(meta),
        version=meta.version,
        suspended=job.spec.suspend or job.spec.completions == 0,
        suspended_by_us=job.spec.suspend and SUSPENDED_ANNOTATION in meta.annotations,
        suspended_pods=frozenset(meta.annotations.get(SUSPENDED_PODS_ANNOTATION, "").split()),
        uncounted_pods=frozenset(meta.annotations.get(UNCOUNTED_PODS_ANNOTATION, "").split()),
        stopped=stopped,
        at_rest=is_halted or (job.spec.suspend and _is_at_rest(status)),
        parameters=parameters_of(meta),
        queued=any(label.startswith(QUEUE_LABEL_PREFIX) for label in meta.labels),
        deadline_seconds=None if job.spec.suspend else job.spec.active_deadline_seconds,
        created_at=meta.creation_timestamp,
        started_at=status.start_time,
        ended_at=status.completion_time or (ended.last_transition_time if ended else None),
        end=_ENDS[ended.type] if ended and not is_halted else None,
        message=" ".join(filter(None, (ended.reason, ended.message))) if ended and not is_halted else "",
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
    injected = INJECT_LABEL in meta.labels and ENGINE_LABEL not in meta.labels
    tracked = end is not None if meta.deletion_timestamp is None else _TRACKED in meta.finalizers
    return PodView(
        uid=meta.uid,
        name=meta.name,
        index=index_of(meta),
        version=meta.version,
        created_at=meta.creation_timestamp,
        injected=injected,
        # What is restored is recorded already: a pod that came no farther wrote nothing.
        started=any(container.has_run for container in containers if container.name != RESTORE_CONTAINER),
        trained=any(container.has_run for container in status.container_statuses),
        ended=end is not None,
        counted=tracked and not injected,
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
    completions: int | None = None
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


#: The Job controller's finalizer, on pods that it will count; a suspension takes it away before it deletes the pod.
_TRACKED = "batch.kubernetes.io/job-tracking"


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
