"""Kubernetes as the API needs it: whose token it is, and how a pod's containers stand.

Importing this module imports the Kubernetes client, which is large: only where `kubernetes` is switched on.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from kubernetes import client, config
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from pinnace.naming import ITERATION_ID_LABEL, TOKEN_AUDIENCE
from pinnace.records import WriterEnd
from pinnace_api.identity import Pod, ServiceAccount
from pinnace_api.refusals import Unavailable

#: To connect, and to wait for the answer.
_TIMEOUT_SECONDS: Final = (2.0, 5.0)
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"

_AnswerT = TypeVar("_AnswerT")

_log = logging.getLogger(__name__)


class KubernetesReviewer:
    """The TokenReviewer of a real cluster. Needs `create tokenreviews` and `get pods`. Safe to use from threads."""

    def __init__(self, api: client.ApiClient) -> None:
        self._tokens = client.AuthenticationV1Api(api)
        self._pods = client.CoreV1Api(api)

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
        review = _asked(lambda: self._tokens.create_token_review(body, _request_timeout=_TIMEOUT_SECONDS))
        status = None if review is None else review.status
        # An API server that knows no audiences answers without them and would vouch for any token.
        if status is None or not status.authenticated or TOKEN_AUDIENCE not in (status.audiences or []):
            return None
        user = status.user
        if user is None:
            return None
        extra = user.extra or {}
        return ServiceAccount(
            subject=user.username or "",
            pod_name=next(iter(extra.get(_POD_NAME, [])), ""),
            pod_uid=next(iter(extra.get(_POD_UID, [])), ""),
        )

    def pod(self, namespace: str, name: str) -> Pod | None:
        pod = _asked(lambda: self._pods.read_namespaced_pod(name, namespace, _request_timeout=_TIMEOUT_SECONDS))
        if pod is None or pod.metadata is None or not pod.metadata.uid:
            return None
        return Pod(
            uid=pod.metadata.uid,
            iteration=_uuid((pod.metadata.labels or {}).get(ITERATION_ID_LABEL, "")),
            writers=writer_end(pod),
        )


def writer_end(pod: client.V1Pod) -> WriterEnd:
    """Whether the pod's own containers (init containers and sidecars are others) have ended, and how.

    A container that waits for a restart in a pod that is being deleted will not start again: its last end counts.
    """
    statuses = (pod.status.container_statuses if pod.status else None) or []
    wanted = len(pod.spec.containers) if pod.spec else 0
    leaving = pod.metadata is not None and pod.metadata.deletion_timestamp is not None
    codes: list[int] = []
    for status in statuses:
        state = status.state
        ended = state.terminated if state else None
        if ended is None and leaving and state is not None and state.waiting is not None:
            if status.last_state is None or status.last_state.terminated is None:
                codes.append(0)  # it never ran, so it wrote nothing
                continue
            ended = status.last_state.terminated
        if ended is None:
            return WriterEnd.RUNNING
        codes.append(ended.exit_code if not ended.signal else 128 + ended.signal)
    if not wanted or len(codes) < wanted:
        return WriterEnd.RUNNING
    return WriterEnd.FAILED if any(codes) else WriterEnd.CLEAN


def _asked(call: Callable[[], _AnswerT]) -> _AnswerT | None:
    """What Kubernetes answers; None for 404. Raises Unavailable for everything else that is no answer."""
    try:
        return call()
    except ApiException as error:
        if error.status == 404:
            return None
        _log.warning("kubernetes.refused", extra={"fields": {"status": error.status, "reason": error.reason}})
        raise Unavailable("Kubernetes does not answer as it should", hint="see the API's log") from error
    except (HTTPError, OSError) as error:
        _log.warning("kubernetes.unreachable", extra={"fields": {"cause": str(error)}})
        raise Unavailable("Kubernetes can't be reached", hint="try again") from error


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
