"""Who may do what: decided here and nowhere else. A route without a rule is
not there for anybody.

* admin: everything.
* operator: writes projects, experiments and iterations; reads everything.
* sidecar: writes artifacts, metrics, reports and signs of life of the iteration that its pod is labelled with, as that
  pod; reads that iteration, what its own pod registered and how its own writers ended; is told which contents that it
  holds its experiment has recorded. The iteration's experiment must name the pod's namespace.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal
from uuid import UUID

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from pinnace_api.identity import Caller, Identifier, Role
from pinnace_api.refusals import Forbidden, IterationNotFound, NotFound, Unauthorized

_ALL: Final = frozenset(Role)
_EDIT: Final = frozenset({Role.ADMIN})
_WRITE_PLAN: Final = frozenset({Role.ADMIN, Role.OPERATOR})
_WRITE_OUTCOME: Final = frozenset({Role.ADMIN, Role.SIDECAR})
_READ: Final = frozenset({Role.ADMIN, Role.OPERATOR})
#: Open to everybody, without a token.
PUBLIC: Final = "public"

Rule = frozenset[Role] | Literal["public"]

#: By the route's operation id.
RULES: Final[Mapping[str, Rule]] = {
    "health": PUBLIC,
    "ready": PUBLIC,
    "prometheus": PUBLIC,
    "openapi": PUBLIC,
    "put_project": _WRITE_PLAN,
    "patch_project": _EDIT,
    "trash_project": _EDIT,
    "list_projects": _READ,
    "get_project": _READ,
    "put_experiment": _WRITE_PLAN,
    "patch_experiment": _EDIT,
    "trash_experiment": _EDIT,
    "list_experiments": _READ,
    "get_experiment": _READ,
    "put_iteration": _WRITE_PLAN,
    "patch_iteration": _WRITE_PLAN,
    "trash_iteration": _EDIT,
    "put_heartbeat": _ALL,
    "get_iteration": _ALL,
    "get_environment": _READ,
    "list_children": _READ,
    "get_subtree": _READ,
    "list_iterations": _READ,
    "put_artifacts": _WRITE_OUTCOME,
    "list_iteration_artifacts": _READ,
    "list_pod_artifacts": _ALL,
    "list_experiment_artifacts": _READ,
    "get_artifact": _READ,
    "find_contents": _WRITE_OUTCOME,
    "put_metrics": _WRITE_OUTCOME,
    "patch_metric": _EDIT,
    "delete_metrics": _EDIT,
    "list_series": _READ,
    "list_metrics": _READ,
    "put_dataset": _WRITE_PLAN,
    "patch_dataset": _EDIT,
    "list_datasets": _READ,
    "get_dataset": _READ,
    "list_dataset_uses": _READ,
    "put_dataset_use": _WRITE_PLAN,
    "delete_dataset_use": _EDIT,
    "list_iteration_datasets": _READ,
    "get_lineage": _READ,
    "put_pod_report": _WRITE_OUTCOME,
    "get_writers": _ALL,
    "list_pods": _READ,
}

_MAX_REMEMBERED: Final = 10_000


class Access:
    """The guard in front of every route.

    `namespace_of` tells the namespace of an iteration's experiment, None when there is no such iteration; what it
    says is remembered, because it never changes.
    """

    def __init__(self, identifier: Identifier, namespace_of: Callable[[UUID], str | None]) -> None:
        self._identifier = identifier
        self._namespace_of = namespace_of
        self._namespaces: dict[UUID, str] = {}

    async def guard(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the request through or raise Unauthorized, Forbidden, IterationNotFound or Unavailable.

        It runs before the body is read. The caller is left in the connection's `user`.
        """
        rule = _rule(handler)
        if rule == PUBLIC:
            return
        token = bearer(connection.headers.getall("authorization", []))
        caller = self._identifier.recall(token)
        if caller is None:
            caller = await sync_to_thread(self._identifier.identify, token)
        connection.scope["user"] = caller
        check_role(caller, rule)
        if caller.role is Role.SIDECAR:
            await self._check_sidecar(caller, connection.path_params)

    async def _check_sidecar(self, caller: Caller, path: Mapping[str, Any]) -> None:
        iteration = path.get("iteration_id")
        if iteration is None or iteration != caller.iteration:
            raise Forbidden("a pod may only touch its own iteration")
        if path.get("pod_uid", caller.pod_uid) != caller.pod_uid:
            raise Forbidden("a pod may only speak for itself")
        namespace = self._namespaces.get(iteration)
        if namespace is None:
            namespace = await sync_to_thread(self._namespace_of, iteration)
            if namespace is None:
                raise IterationNotFound(iteration)
            if len(self._namespaces) >= _MAX_REMEMBERED:
                self._namespaces.clear()
            self._namespaces[iteration] = namespace
        if namespace != caller.namespace:
            raise Forbidden("the iteration belongs to another namespace")


def check_role(caller: Caller, rule: frozenset[Role]) -> None:
    """Raise Forbidden unless the caller's role is in `rule`."""
    if caller.role not in rule:
        raise Forbidden(f"the role {caller.role} may not do this")


def check_pods(caller: Caller, pod_uids: Collection[str]) -> None:
    """Raise Forbidden when a sidecar speaks for another pod than its own; everybody else may."""
    if caller.role is Role.SIDECAR and any(pod_uid != caller.pod_uid for pod_uid in pod_uids):
        raise Forbidden("a pod may only speak for itself", field="pod_uid")


def bearer(headers: Collection[str]) -> str:
    """The token of the one Authorization header. Raises Unauthorized when it is missing or malformed."""
    if len(headers) != 1:
        raise Unauthorized("the request needs one Authorization header", hint="send `Authorization: Bearer TOKEN`")
    scheme, _, token = next(iter(headers)).partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or " " in token or not (token.isascii() and token.isprintable()):
        raise Unauthorized("the Authorization header is malformed", hint="send `Authorization: Bearer TOKEN`")
    return token


def _rule(handler: BaseRouteHandler) -> Rule:
    operation = getattr(handler, "operation_id", None)
    if not isinstance(operation, str) or operation not in RULES:
        raise NotFound("there is nothing at this address", hint="/openapi.json lists every route")
    return RULES[operation]
