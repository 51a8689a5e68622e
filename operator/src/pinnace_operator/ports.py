"""The two outside things that the operator writes to, as it needs them, and how they refuse.

ClusterError
├── RejectedError      the API server will never take this object as it is (400, 422): somebody must change the spec
├── RefusedError       it will not take it now (quota, permission, an admission rule, a conflict): worth trying again
│   └── NamespaceEndsError   nothing can be made in a namespace that is being deleted; what is there can be changed
├── GoneError          404: the object, or its namespace, is not there any more
└── UnavailableError   no answer, 429 or 5xx: trying again soon is the right thing
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol
from uuid import UUID

from pinnace.errors import PinnaceError
from pinnace.records import (
    Curve,
    Experiment,
    ExperimentWrite,
    Iteration,
    IterationPatch,
    IterationWrite,
    PodStanding,
    Shown,
)
from pinnace_operator.experiment_spec import EngineKind


class ClusterError(PinnaceError):
    """The Kubernetes API server did not do what was asked. `reason` is its word for why, or empty."""

    def __init__(self, message: str, *, reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class RejectedError(ClusterError):
    """The object itself is wrong. The same call will never succeed."""


class RefusedError(ClusterError):
    """Not now, or not by us. Trying again later can help."""


class NamespaceEndsError(RefusedError):
    """The namespace is being deleted: trying again never helps."""


class GoneError(ClusterError):
    """What it was about does not exist any more. Nothing is left to do."""


class UnavailableError(ClusterError):
    """No usable answer; the request may or may not have been carried out. Trying again can help."""


class Cluster(Protocol):
    """Every method is one request, idempotent, bounded in time, and raises ClusterError."""

    def jobs(
        self, namespace: str, experiment_id: str, engine: EngineKind = EngineKind.JOB
    ) -> tuple[list[dict[str, Any]], int]:
        """The Experiment's Jobs, or the objects of another engine, and the version of the list. Raises GoneError where
        the cluster knows no such kind of object."""

    def pods(self, namespace: str, experiment_id: str) -> tuple[list[dict[str, Any]], int]:
        """The Experiment's pods, and the version of the list."""

    def artifact_stores(self) -> tuple[list[dict[str, Any]], int]:
        """All ArtifactStores, and the version of the list."""

    def namespaces(self) -> tuple[list[dict[str, Any]], int]:
        """All namespaces, and the version of the list."""

    def apply_job(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """Create the Job, or the object of another engine. A Job that is there already is left as it is. What was made,
        as it is now, if the answer tells."""

    def create_claim(self, manifest: dict[str, Any]) -> None:
        """Create the PersistentVolumeClaim; one of that name that is there already is left as it is."""

    def suspend_job(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        suspend: bool,
        engine: EngineKind = EngineKind.JOB,
        pods: Collection[str] = (),
        uncounted: Collection[str] = (),
        for_good: str = "",
    ) -> None:
        """Suspend or resume this very Job, or end it `for_good`, whoever else suspends and resumes it. It says itself
        from then on why, which `pods` it had, and which of them it has not counted."""

    def note_pods(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        engine: EngineKind = EngineKind.JOB,
        pods: Collection[str],
        uncounted: Collection[str],
    ) -> None:
        """The same of `pods` and `uncounted` alone."""

    def expire_job(self, namespace: str, name: str, uid: str, *, seconds: int) -> None:
        """Have Kubernetes delete this very Job so long after its end."""

    def end_job(self, namespace: str, name: str, uid: str, *, seconds: int) -> None:
        """Let this very Job run so long at most, whoever has suspended it."""

    def create_service(self, manifest: dict[str, Any]) -> None:
        """Create the Service; one of that name that is there already is left as it is."""

    def apply_status(self, namespace: str, name: str, uid: str, status: dict[str, Any]) -> int:
        """Write the Experiment's status; its new version. The API server does not compare the UID here, so a status
        says itself whom it is about."""

    def hold_experiment(self, namespace: str, name: str, uid: str, finalizer: str) -> int:
        """Put the finalizer on this very Experiment; its new version. One that is there is left as it is."""

    def release_experiment(self, namespace: str, name: str, uid: str, finalizers: Sequence[str], finalizer: str) -> int:
        """Take the finalizer away from this very Experiment, which has `finalizers`; its new version. Raises
        RejectedError when it has others by now."""

    def create_event(self, manifest: dict[str, Any]) -> None:
        """Create the Event; one of that name that is there already is left as it is."""


class Api(Protocol):
    """The part of pinnace.client.Client that the operator uses; raises ApiError."""

    def put_experiment(self, experiment_id: UUID, experiment: ExperimentWrite) -> Experiment: ...

    def put_iteration(self, iteration_id: UUID, iteration: IterationWrite) -> Iteration: ...

    def patch_iteration(self, iteration_id: UUID, change: IterationPatch) -> Iteration: ...

    def trash_experiment(self, experiment_id: UUID) -> None: ...

    def iterations(self, experiment_id: UUID, *, lifecycle: Shown) -> Iterator[Iteration]: ...

    def pods(self, experiment_id: UUID) -> Iterator[PodStanding]: ...

    def curves(
        self, iterations: Iterable[UUID], keys: Iterable[str], *, points: int, to_step: int
    ) -> tuple[Curve, ...]: ...
