"""Carrying out a plan: the only code that writes, to the cluster by server-side apply and to the metadata API by PUT.

What the operator's role must allow, and why:

    pinnace.dev         experiments                get, list, watch     the work to do
    pinnace.dev         experiments                patch                our finalizer, put on and taken away
    pinnace.dev         experiments/status         get, patch           conditions and counts, by server-side apply
    pinnace.dev         experiments/finalizers     update               an owner reference that blocks deletion, where
                                                                        the API server checks that (OpenShift does)
    batch               jobs                       get, list, watch     how the iterations stand
    batch               jobs                       create, patch        server-side apply of a Job; suspend, resume, and
                                                                        when it may go
    (an engine's)       trainjobs, rayjobs, …      get, list, watch     the same of those in operator.engines, and of no
                                                   create, patch        others
    (core)              services                   create               one for each iteration with several workers,
                                                                        for their names in the cluster's DNS
    (core)              pods                       get, list, watch     termination messages, and why a pod waits
    (core)              persistentvolumeclaims     create               an iteration's claim, before its Job
    events.k8s.io       events                     create               one Event for each transition, and for an end
    coordination.k8s.io leases                     get, create, update  one operator at a time; in its own namespace

and cluster-wide, where ArtifactStores are served (artifactStores.enabled of the chart):

    pinnace.dev         artifactstores             get, list, watch     what is offered to whom
    (core)              namespaces                 get, list, watch     by which labels

The operator deletes nothing itself, and no Secret is read.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pinnace.client import ApiError, NotFound, Unavailable, Unexpected, Unreachable
from pinnace.records import ExperimentWrite, IterationPatch
from pinnace_operator.actions import (
    Action,
    Announce,
    CreateJob,
    EndJob,
    Hold,
    NotePods,
    PutExperimentRow,
    PutIterationRow,
    RecordImages,
    Release,
    SuspendJob,
    TrashExperiment,
    WriteStatus,
)
from pinnace_operator.deletion import FINALIZER
from pinnace_operator.engines.kinds import ENGINES
from pinnace_operator.events import build_announcement, build_event, is_worth_an_event
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.experiment_status import Status
from pinnace_operator.expiry import ExpireJob
from pinnace_operator.observed import Refusal, Trouble
from pinnace_operator.ports import (
    Api,
    Cluster,
    ClusterError,
    GoneError,
    NamespaceEndsError,
    RejectedError,
    UnavailableError,
)
from pinnace_operator.recipe import images
from pinnace_operator.rescue import CreateRescue

#: Pauses before a refused Job is tried again: doubled from the first to the last.
FIRST_RETRY: Final = timedelta(seconds=5)
LAST_RETRY: Final = timedelta(minutes=5)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a plan, as far as the next look can't see it."""

    #: Why a Job could not be made; the first one, because the others were not tried.
    refusal: Refusal | None = None
    api_trouble: Trouble | None = None
    #: The row of the Experiment, if it was written.
    experiment_row: ExperimentWrite | None = None
    #: What was recorded of images, by iteration.
    images: Mapping[UUID, Mapping[str, str]] = field(default_factory=dict)
    #: The status and the finalizers, if they were written, and the version that the Experiment has since.
    status: Status | None = None
    finalizers: tuple[str, ...] | None = None
    version: int = 0
    #: Whether the namespace is being deleted, if that was seen.
    namespace_ends: bool | None = None
    #: Its row was put into the trash, or there was none.
    is_trashed: bool = False
    #: The API server did not answer: look again soon.
    unavailable: bool = False
    #: Jobs that were made, as the API server answered; it may be long before a watch shows them.
    jobs: Sequence[dict[str, Any]] = ()
    #: Whether one was made that nobody knows of.
    unsure: bool = False
    #: What an optimiser chose is remembered now, so the Jobs can be made.
    asked: bool = False


def perform(
    actions: Sequence[Action],
    experiment: Experiment,
    cluster: Cluster,
    api: Api,
    *,
    now: datetime,
    instance: str,
    last_refusal: Refusal | None = None,
) -> Outcome:
    """Carry out `actions` in order. A failure is an outcome, not an exception, and stops only what depends on it."""
    finalizers, version = experiment.metadata.finalizers, 0
    if any(isinstance(action, Hold) for action in actions):
        try:
            version = _hold(experiment, cluster)
        except ClusterError as error:
            _log.warning("experiment.hold.failed name=%s/%s error=%s", experiment.namespace, experiment.name, error)
            return Outcome(refusal=last_refusal, unavailable=True)
        finalizers = (*finalizers, FINALIZER)
    refusal, jobs, unsure = _create_jobs(actions, experiment, cluster, now, last_refusal)
    unavailable = _change_jobs(actions, experiment, cluster) or unsure
    row, recorded, trouble = _put_rows(actions, api)
    status, namespace_ends = None, None
    for action in actions:
        if isinstance(action, WriteStatus):
            try:
                version, namespace_ends = _write_status(action, experiment, cluster, now, instance)
                status = action.status
            except GoneError:
                _log.info("experiment.gone name=%s/%s", experiment.namespace, experiment.name)
            except ClusterError as error:
                _log.warning("status.failed name=%s/%s error=%s", experiment.namespace, experiment.name, error)
                unavailable = True
    told = _announce(actions, experiment, cluster, now, instance)
    namespace_ends = told if namespace_ends is None else namespace_ends
    releases = [action for action in actions if isinstance(action, Release)]
    if not unavailable and any(not (action.after_trash and trouble) for action in releases):
        try:
            version = _release(experiment, cluster)
            finalizers = tuple(name for name in finalizers if name != FINALIZER)
        except ClusterError as error:
            _log.warning("experiment.release.failed name=%s error=%s", experiment.name, error)
            unavailable = not isinstance(error, GoneError)
    return Outcome(
        refusal=refusal,
        api_trouble=trouble,
        experiment_row=row,
        images=recorded,
        status=status,
        finalizers=None if finalizers == experiment.metadata.finalizers else finalizers,
        version=version,
        namespace_ends=namespace_ends,
        is_trashed=trouble is None and any(isinstance(action, TrashExperiment) for action in actions),
        unavailable=unavailable,
        jobs=jobs,
        unsure=unsure,
        asked=trouble is None and any(isinstance(action, PutIterationRow) and action.asked for action in actions),
    )


def trouble_of(error: ApiError) -> Trouble:
    """What a condition says when the metadata API does not do its part. Training never waits for it."""
    if isinstance(error, Unreachable | Unavailable | Unexpected):
        return Trouble(
            reason="ApiUnreachable",
            message=f"the metadata API does not answer: {error.detail}; training and shipping go on, and what is "
            "missing is recorded when it is back: look at the pods of the API",
        )
    return Trouble(
        reason="ApiRefused",
        message=f"the metadata API refuses the operator: {error.detail}{'; ' + error.hint if error.hint else ''}; "
        "check the operator's token and the API's setting operator_subject",
    )


def _hold(experiment: Experiment, cluster: Cluster) -> int:
    meta = experiment.metadata
    return cluster.hold_experiment(meta.namespace, meta.name, meta.uid, FINALIZER)


def _release(experiment: Experiment, cluster: Cluster) -> int:
    meta = experiment.metadata
    version = cluster.release_experiment(meta.namespace, meta.name, meta.uid, meta.finalizers, FINALIZER)
    _log.info("experiment.released name=%s/%s", meta.namespace, meta.name)
    return version


def _announce(
    actions: Sequence[Action], experiment: Experiment, cluster: Cluster, now: datetime, instance: str
) -> bool | None:
    """Whether the namespace is being deleted; None when nothing tells."""
    ends: bool | None = None
    for action in actions:
        if not isinstance(action, Announce):
            continue
        log = _log.info if action.is_good else _log.warning
        log(
            "experiment.ends name=%s/%s reason=%s %s",
            experiment.namespace,
            experiment.name,
            action.reason,
            action.message,
        )
        event = build_announcement(experiment, action.reason, action.message, instance, now, is_good=action.is_good)
        try:
            cluster.create_event(event)
        except NamespaceEndsError:
            ends = True
        except ClusterError as error:
            _log.warning("event.failed name=%s/%s error=%s", experiment.namespace, experiment.name, error)
        else:
            ends = False
    return ends


def _create_jobs(
    actions: Sequence[Action],
    experiment: Experiment,
    cluster: Cluster,
    now: datetime,
    last: Refusal | None,
) -> tuple[Refusal | None, list[dict[str, Any]], bool]:
    created: list[dict[str, Any]] = []
    refusal = last
    for action in actions:
        if not isinstance(action, CreateJob | CreateRescue):
            continue
        try:
            if isinstance(action, CreateJob):
                if action.claim is not None:
                    cluster.create_claim(action.claim)
                if action.service is not None:
                    cluster.create_service(action.service)
            job = cluster.apply_job(action.manifest)
        except UnavailableError as error:
            _log.warning("job.failed name=%s error=%s", action.manifest["metadata"]["name"], error)
            return None, created, True
        except ClusterError as error:
            return _refusal(error, experiment, action.manifest["kind"], now, last), created, False
        _log.info("job.created name=%s/%s", experiment.namespace, action.manifest["metadata"]["name"])
        refusal = None
        if job is not None:
            created.append(job)
    return refusal, created, False


def _refusal(error: ClusterError, experiment: Experiment, kind: str, now: datetime, last: Refusal | None) -> Refusal:
    generation = experiment.metadata.generation
    is_job = kind == EngineKind.JOB.value
    if isinstance(error, RejectedError):
        source = "spec.template" if is_job else "spec.engine.spec"
        return Refusal(
            trouble=Trouble(
                reason="TemplateRejected",
                message=f"the {kind} of {source} is not valid: {error}; correct {source}",
            ),
            generation=generation,
            retry_at=None,
        )
    attempts = last.attempts + 1 if last is not None and last.generation == generation else 1
    pause = min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LAST_RETRY)
    if isinstance(error, GoneError) and not is_job:
        return Refusal(
            trouble=Trouble(
                reason="EngineMissing",
                message=f"the cluster knows no {kind}: ask the administrator to install "
                f"{ENGINES[EngineKind(kind)].operator}; it is tried again by itself",
            ),
            generation=generation,
            retry_at=now + pause,
            attempts=attempts,
            engine_missing=True,
        )
    return Refusal(
        trouble=Trouble(
            reason="JobRefused",
            message=f"a {kind} can't be created: {error}; it is tried again by itself once that is mended",
        ),
        generation=generation,
        retry_at=now + pause,
        attempts=attempts,
    )


def _change_jobs(actions: Sequence[Action], experiment: Experiment, cluster: Cluster) -> bool:
    failed = False
    for action in actions:
        try:
            if isinstance(action, SuspendJob):
                cluster.suspend_job(
                    experiment.namespace,
                    action.name,
                    action.uid,
                    suspend=action.suspend,
                    engine=action.engine,
                    pods=action.pods,
                    uncounted=action.uncounted,
                    for_good=action.for_good,
                )
            elif isinstance(action, NotePods):
                cluster.note_pods(
                    experiment.namespace,
                    action.name,
                    action.uid,
                    engine=action.engine,
                    pods=action.pods,
                    uncounted=action.uncounted,
                )
            elif isinstance(action, ExpireJob):
                cluster.expire_job(experiment.namespace, action.name, action.uid, seconds=action.seconds)
            elif isinstance(action, EndJob):
                cluster.end_job(experiment.namespace, action.name, action.uid, seconds=action.seconds)
        except GoneError:
            continue
        except ClusterError as error:
            _log.warning("job.change.failed action=%s error=%s", action, error)
            failed = True
    return failed


def _put_rows(
    actions: Sequence[Action], api: Api
) -> tuple[ExperimentWrite | None, dict[UUID, Mapping[str, str]], Trouble | None]:
    written: ExperimentWrite | None = None
    recorded: dict[UUID, Mapping[str, str]] = {}
    for action in actions:
        try:
            if isinstance(action, PutExperimentRow):
                api.put_experiment(action.id, action.row)
                written = action.row
            elif isinstance(action, PutIterationRow):
                api.put_iteration(action.id, action.row)
            elif isinstance(action, RecordImages):
                api.patch_iteration(action.id, IterationPatch(environment=images(action.images)))
                recorded[action.id] = action.images
            elif isinstance(action, TrashExperiment):
                api.trash_experiment(action.id)
        except ApiError as error:
            if isinstance(action, TrashExperiment) and isinstance(error, NotFound):
                # It was never recorded.
                continue
            return written, recorded, trouble_of(error)
    return written, recorded, None


def _write_status(
    action: WriteStatus, experiment: Experiment, cluster: Cluster, now: datetime, instance: str
) -> tuple[int, bool | None]:
    """The new version, and whether the namespace is being deleted; None when nothing tells."""
    meta = experiment.metadata
    version, ends = cluster.apply_status(meta.namespace, meta.name, meta.uid, action.status.to_manifest()), None
    for condition in action.transitions:
        _log.info(
            "condition.changed name=%s/%s %s=%s reason=%s message=%s",
            meta.namespace,
            meta.name,
            condition.type,
            condition.status,
            condition.reason,
            condition.message,
        )
        if not is_worth_an_event(condition, experiment.status.condition(condition.type)):
            continue
        try:
            cluster.create_event(build_event(experiment, condition, instance, now))
            ends = False
        except NamespaceEndsError:
            ends = True
        except ClusterError as error:
            # An Event is a courtesy; the condition is the fact.
            _log.warning("event.failed name=%s/%s error=%s", meta.namespace, meta.name, error)
    return version, ends
