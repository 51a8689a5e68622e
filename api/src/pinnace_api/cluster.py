"""Kubernetes as the API needs it: whose token it is, and how a pod's containers stand.

Importing this module imports the Kubernetes client, which is large: only where `kubernetes` is switched on.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from kubernetes import client, config
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from pinnace.artifact_stores import ARTIFACT_STORE_PLURAL, ArtifactStore, MalformedStoreError
from pinnace.naming import GROUP, ITERATION_ID_LABEL, RESCUES_LABEL, RESCUES_POD_ANNOTATION, TOKEN_AUDIENCE, VERSION
from pinnace.records import WriterEnd
from pinnace_api.identity import Pod, ServiceAccount
from pinnace_api.refusals import Unavailable

#: To connect, and to wait for the answer.
_TIMEOUT_SECONDS: Final = (2.0, 5.0)
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class KubernetesReviewer:
    """The TokenReviewer of a real cluster. Safe to use from threads.

    Needs `create tokenreviews` and `get pods`; where ArtifactStores give credentials, `get artifactstores`, and
    `get namespaces` for those that are offered by labels.
    """

    def __init__(self, api: client.ApiClient) -> None:
        # Any: the type stubs don't know `_preload_content=False`, which leaves the answer to us.
        self._tokens: Any = client.AuthenticationV1Api(api)
        self._core: Any = client.CoreV1Api(api)
        self._custom: Any = client.CustomObjectsApi(api)

    @classmethod
    def from_surroundings(cls) -> "KubernetesReviewer":
        """The cluster that this process runs in, or else the one of the user's kubeconfig.

        Raises ConfigException when there is neither.
        """
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except ConfigException:
            config.load_kube_config(client_configuration=configuration)
        configuration.retries = 0
        return cls(client.ApiClient(configuration))

    def review(self, token: str) -> ServiceAccount | None:
        if token.count(".") != 2:
            return None  # not a service-account token; Kubernetes need not be asked
        body = client.V1TokenReview(spec=client.V1TokenReviewSpec(token=token, audiences=[TOKEN_AUDIENCE]))
        review = _asked(
            lambda: self._tokens.create_token_review(body, _request_timeout=_TIMEOUT_SECONDS, _preload_content=False),
            _TokenReview,
        )
        # An API server that knows no audiences answers without them and would vouch for any token.
        if review is None or not review.status.authenticated or TOKEN_AUDIENCE not in review.status.audiences:
            return None
        user = review.status.user
        return ServiceAccount(
            subject=user.username,
            pod_name=next(iter(user.extra.get(_POD_NAME, ())), ""),
            pod_uid=next(iter(user.extra.get(_POD_UID, ())), ""),
        )

    def pod(self, namespace: str, name: str) -> Pod | None:
        found = _asked(
            lambda: self._core.read_namespaced_pod(
                name, namespace, _request_timeout=_TIMEOUT_SECONDS, _preload_content=False
            ),
            PodObject,
        )
        if found is None:
            return None
        return Pod(
            uid=found.metadata.uid,
            iteration=_uuid(found.metadata.labels.get(ITERATION_ID_LABEL, "")),
            writers=writer_end(found),
            ended=found.status.phase in ("Succeeded", "Failed"),
            rescues=found.metadata.labels.get(RESCUES_LABEL, ""),
            rescues_name=found.metadata.annotations.get(RESCUES_POD_ANNOTATION, ""),
        )

    def artifact_store(self, name: str) -> ArtifactStore | None:
        found = _asked(
            lambda: self._custom.get_cluster_custom_object(
                GROUP,
                VERSION,
                ARTIFACT_STORE_PLURAL,
                name,
                _request_timeout=_TIMEOUT_SECONDS,
                _preload_content=False,
            ),
            dict[str, Any],
        )
        try:
            return None if found is None else ArtifactStore.from_manifest(found)
        except MalformedStoreError as error:
            _log.warning("artifact_store.malformed", extra={"fields": {"store": name, "cause": str(error)}})
            raise Unavailable("the ArtifactStore can't be read", hint=error.hint) from error

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        found = _asked(
            lambda: self._core.read_namespace(namespace, _request_timeout=_TIMEOUT_SECONDS, _preload_content=False),
            _NamespaceObject,
        )
        return None if found is None else found.metadata.labels


class _Object(msgspec.Struct, frozen=True, rename="camel"):
    """A part of a Kubernetes object: what we read of it; other fields, of whatever version, don't matter."""


class _User(_Object, frozen=True):
    username: str = ""
    extra: dict[str, tuple[str, ...]] = {}


class _ReviewStatus(_Object, frozen=True):
    authenticated: bool = False
    audiences: tuple[str, ...] = ()
    user: _User = _User()


class _TokenReview(_Object, frozen=True):
    status: _ReviewStatus = _ReviewStatus()


class Terminated(_Object, frozen=True):
    exit_code: int = 0
    signal: int = 0


class ContainerState(_Object, frozen=True):
    terminated: Terminated | None = None
    waiting: _Object | None = None


class ContainerStatus(_Object, frozen=True):
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(_Object, frozen=True):
    phase: str = ""
    container_statuses: tuple[ContainerStatus, ...] = ()


class PodSpec(_Object, frozen=True):
    containers: tuple[_Object, ...] = ()


class Metadata(_Object, frozen=True):
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str = ""


class PodObject(_Object, frozen=True):
    """A pod as the Kubernetes API writes it."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class _NamespaceObject(_Object, frozen=True):
    metadata: Metadata = Metadata()


def writer_end(pod: PodObject) -> WriterEnd:
    """Whether the pod's own containers (init containers and sidecars are others) have ended, and how.

    When the pod has ended they have, whatever is missing of their statuses: one that is evicted may have none. A
    container that waits for a restart in a pod that is being deleted will not start again: its last end counts,
    and one that never ran wrote nothing.

    Of a pod that is being deleted the kubelet says nothing new before the last of its containers has ended, the sidecar
    included, which it tells to end after all others. To wait for its word would mean to wait for ourselves.
    """
    codes: list[int] = []
    for status in pod.status.container_statuses:
        ended = status.state.terminated
        if ended is None and status.state.waiting is not None and pod.metadata.deletion_timestamp:
            ended = status.last_state.terminated or Terminated()
        if ended is None:
            return _by_phase(pod)
        codes.append(ended.exit_code or ended.signal)
    if not codes or len(codes) < len(pod.spec.containers):
        return _by_phase(pod)
    return WriterEnd.FAILED if any(codes) else WriterEnd.CLEAN


def _by_phase(pod: PodObject) -> WriterEnd:
    match pod.status.phase:
        case "Failed":
            return WriterEnd.FAILED
        case "Succeeded":
            return WriterEnd.CLEAN
        case _:
            return WriterEnd.UNKNOWN if pod.metadata.deletion_timestamp else WriterEnd.RUNNING


def _asked(call: Callable[[], Any], answer: type[_T]) -> _T | None:
    """What Kubernetes answers; None for 404. Raises Unavailable for everything else that is no answer."""
    try:
        response = call()
        return msgspec.json.decode(response.data, type=answer)
    except ApiException as error:
        if error.status == 404:
            return None
        _log.warning("kubernetes.refused", extra={"fields": {"status": error.status, "reason": error.reason}})
        raise Unavailable("Kubernetes does not answer as it should", hint="see the API's log") from error
    except (HTTPError, OSError, msgspec.DecodeError) as error:
        _log.warning("kubernetes.unreachable", extra={"fields": {"cause": str(error)}})
        raise Unavailable("Kubernetes can't be reached", hint="try again") from error


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
