"""The hook for pods: finds the Experiment that a labelled pod names, and has it injected."""

import threading
from typing import Final

from pinnace_operator.admission.injection import RefusedPodError, experiment_of, inject, wants
from pinnace_operator.admission.ports import Lookup
from pinnace_operator.admission.review import Decision, Request, UnreadableError, refused
from pinnace_operator.experiment import Experiment
from pinnace_operator.manifest import MalformedError
from pinnace_operator.ports import ClusterError, GoneError
from pinnace_operator.settings import Platform
from pinnace_operator.stores import OffersTo

#: The first Kubernetes that starts init containers with restartPolicy Always as sidecars by itself.
NATIVE_SIDECARS: Final = (1, 29)


class PodHook:
    """Safe to use from several threads. Only reads, so it is the same in a dry run."""

    def __init__(self, cluster: Lookup, platform: Platform, offers: OffersTo = lambda _: None) -> None:
        self._cluster = cluster
        self._platform = platform
        self._offers = offers
        self._version: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def decide(self, request: Request) -> Decision:
        """Raises UnreadableError for anything but a pod that is created."""
        if request.kind.kind != "Pod" or request.object is None or request.operation != "CREATE":
            raise UnreadableError(
                f"this hook decides on pods that are created, not on {request.operation} of a {request.kind.kind}"
            )
        try:
            return self._decide(request, request.object) if wants(request.object) else Decision()
        except (RefusedPodError, MalformedError) as error:
            return refused(str(error))
        except ClusterError as error:
            return refused(f"the pod's Experiment can't be read: {error}; try again", code=503)

    def _decide(self, request: Request, pod: dict[str, object]) -> Decision:
        version = self._server_version()
        if version < NATIVE_SIDECARS:
            raise RefusedPodError(
                f"this cluster is Kubernetes {version[0]}.{version[1]}, and sidecars that outlive the training need "
                f"{NATIVE_SIDECARS[0]}.{NATIVE_SIDECARS[1]}: upgrade it, or remove the label"
            )
        name = experiment_of(pod)
        try:
            manifest = self._cluster.experiment(request.namespace, name)
        except GoneError as error:
            raise RefusedPodError(
                f"there is no Experiment {name} in namespace {request.namespace}: create it before the pod, "
                "or correct the label"
            ) from error
        return inject(pod, Experiment.from_manifest(manifest), self._platform, self._offers(request.namespace))

    def _server_version(self) -> tuple[int, int]:
        """Asked for once: a cluster is not downgraded below what the chart asks for while we run."""
        with self._lock:
            if self._version is None:
                self._version = self._cluster.server_version()
            return self._version
