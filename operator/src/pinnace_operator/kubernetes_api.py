"""The connection to a real API server: the official client's, with our own manifests as plain JSON.

Manifests travel as plain JSON: the client's model classes would drop fields that they don't know.
"""

from collections.abc import Callable
from typing import Any, Final, Self

import msgspec
import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from pinnace_operator.ports import (
    ClusterError,
    GoneError,
    NamespaceEndsError,
    RefusedError,
    RejectedError,
    UnavailableError,
)

FIELD_MANAGER: Final = "pinnace-operator"

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 30.0

_APPLY: Final = "application/apply-patch+yaml"
JSON: Final = "application/json"

#: The API server's word for whatever is to be made in a namespace that is being deleted.
_ENDS: Final = "because it is being terminated"

#: The API server's word for a field that a manifest can't have, or of the wrong type: it says 500 to that.
_UNTYPED: Final = "failed to create typed patch object"


class _Status(msgspec.Struct, frozen=True):
    """The part of a metav1.Status that says why."""

    message: str = ""
    reason: str = ""


class KubernetesApi:
    """What the adapters of ports are made of. Every call raises ClusterError. Safe to use from several threads."""

    def __init__(self, configuration: Configuration, *, read_timeout: float = READ_TIMEOUT_S) -> None:
        # The client knows proxies, certificates and the rotation of tokens; we only want its connections.
        client: Any = ApiClient(configuration)
        self._pool: urllib3.PoolManager = client.rest_client.pool_manager
        self._configuration: Any = configuration
        self._read_timeout = read_timeout
        #: Asked before each write.
        self.may_write: Callable[[], bool] = lambda: True

    @classmethod
    def connected(cls, *, read_timeout: float = READ_TIMEOUT_S) -> Self:
        """In the surroundings that we run in."""
        return cls(surroundings(), read_timeout=read_timeout)

    def _authorization(self) -> dict[str, str]:
        settings = self._configuration.auth_settings().values()
        return {auth["key"]: auth["value"] for auth in settings if auth["in"] == "header" and auth["value"]}

    def _apply(self, path: str, manifest: dict[str, Any], *, manager: str = FIELD_MANAGER) -> dict[str, Any]:
        return self._call("PATCH", f"{path}?fieldManager={manager}&force=true", manifest, _APPLY)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | list[Any] | None = None, content_type: str = ""
    ) -> dict[str, Any]:
        if method != "GET" and not self.may_write():
            raise UnavailableError("nothing is written, because the Lease could not be renewed")
        return self._send(method, path, body, content_type)

    def _send(
        self, method: str, path: str, body: dict[str, Any] | list[Any] | None, content_type: str
    ) -> dict[str, Any]:
        """Without asking whether it may be written."""
        headers = {"Accept": JSON, "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = content_type
        what = f"{method} {path.partition('?')[0]}"
        try:
            response = self._pool.request(
                method,
                self._configuration.host + path,
                body=None if body is None else msgspec.json.encode(body),
                headers=headers | self._authorization(),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=self._read_timeout),
                retries=False,
                redirect=False,
            )
            content = response.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(f"{what}: the API server does not answer: {error}") from error
        if not 200 <= response.status <= 299:
            raise _error(what, response.status, content)
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise UnavailableError(f"{what}: the answer can't be read: {error}") from error


def surroundings() -> Configuration:
    """With the service account of the pod that we run in; outside of a cluster, with the kubeconfig."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException:
        load_kube_config(client_configuration=configuration)
    return configuration


def _error(what: str, status: int, content: bytes) -> ClusterError:
    try:
        said = msgspec.json.decode(content, type=_Status)
    except msgspec.DecodeError:
        said = _Status(message=content[:256].decode(errors="replace"))
    message = said.message or f"{what}: HTTP {status}"
    kind = {400: RejectedError, 422: RejectedError, 404: GoneError, 403: RefusedError, 409: RefusedError}.get(
        status, UnavailableError
    )
    if _ENDS in message:
        return NamespaceEndsError(message, reason=said.reason)
    if _UNTYPED in message:
        return RejectedError(message, reason=said.reason)
    if status == 401:
        return UnavailableError(message, reason=said.reason, hint="the operator's own token is not accepted")
    return kind(message, reason=said.reason)
