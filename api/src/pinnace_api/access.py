"""Who may do what: decided here and nowhere else. A route without a rule is not there for anybody.

* admin: everything, within the scope of the token.
* operator: writes projects, experiments and iterations, and puts experiments into the trash; reads everything in them.
* sidecar: writes artifacts, metrics and reports of the iteration that its pod is labelled with, as that pod, and tags
  and notes of that iteration; reads that iteration, its artifacts, what its own pod registered and how its own writers
  ended; gets credentials for a store. The iteration's experiment must name the pod's namespace. A pod that rescues the
  files of one that has ended (identity.py) may do what that one could, and nothing in its own name; the API must not
  know that one by another name.
* user: what the role in the project of the request allows, within the scope of the token. What lies in a project that
  the user is nothing to does not exist for the user: NotFound, in the very words for what is not there.

Knows neither HTTP nor SQL: guard.py asks it before each request, routes and services where the body names a project.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import msgspec
from msgspec import UNSET

from pinnace.records import IterationPatch, ProjectRole, Scope
from pinnace_api.identity import Caller, Role
from pinnace_api.refusals import Conflict, ExperimentNotFound, Forbidden, IterationNotFound, NotFound, Refused

#: Open to everybody, without a token.
PUBLIC: Final = "public"
#: For every user, whatever the projects; the service shows each what is theirs.
ANYONE: Final = "anyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Whom an operation is for."""

    #: These may, in whatever project.
    parts: frozenset[Role]
    #: What a user must be to the project of the request; None: users may not.
    user: ProjectRole | Literal["anyone"] | None = None
    #: What the token must be good for.
    scope: Scope
    #: Whether the id in the path may be of something that is yet to be created; where, is in the body.
    creates: bool = False
    #: Whether the body tells the project alone. Then the service must refuse as a Conflict, and the route `hiding` what
    #: it says of it, an id that is there and does not belong to what the body names.
    by_body: bool = False


_ADMIN: Final = frozenset({Role.ADMIN})
_PLANNERS: Final = frozenset({Role.ADMIN, Role.OPERATOR})
_WRITERS: Final = frozenset({Role.ADMIN, Role.SIDECAR})
_EVERYBODY: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.SIDECAR})

_READ: Final = Rule(parts=_PLANNERS, user=ProjectRole.VIEWER, scope=Scope.READ)
_READ_AS_POD: Final = Rule(parts=_EVERYBODY, user=ProjectRole.VIEWER, scope=Scope.READ)
_LIST: Final = Rule(parts=_PLANNERS, user=ANYONE, scope=Scope.READ)
_PLAN: Final = Rule(parts=_PLANNERS, user=ProjectRole.EDITOR, scope=Scope.WRITE, creates=True)
_PLAN_BY_BODY: Final = replace(_PLAN, by_body=True)
_EDIT: Final = Rule(parts=_ADMIN, user=ProjectRole.EDITOR, scope=Scope.WRITE)
#: The operator, too: of an Experiment that was deleted and says so.
_TRASH: Final = Rule(parts=_PLANNERS, user=ProjectRole.EDITOR, scope=Scope.WRITE)
#: Into PRODUCTION and out of it needs more; the service sees which stages are meant.
_REGISTER: Final = Rule(parts=_ADMIN, user=ProjectRole.EDITOR, scope=Scope.WRITE, creates=True)
_MANAGE: Final = Rule(parts=_ADMIN, user=ProjectRole.ADMIN, scope=Scope.WRITE)
_REPORT: Final = Rule(parts=_PLANNERS, user=ProjectRole.EDITOR, scope=Scope.WRITE)
#: A pod may say what its iteration is like, and no more; the route asks `check_description`.
_DESCRIBE: Final = Rule(parts=_EVERYBODY, user=ProjectRole.EDITOR, scope=Scope.WRITE)
_SIGN_OF_LIFE: Final = Rule(parts=_EVERYBODY, user=ProjectRole.EDITOR, scope=Scope.WRITE)
_OUTCOME: Final = Rule(parts=_WRITERS, user=ProjectRole.EDITOR, scope=Scope.WRITE)
#: What the operator takes for proof of a pod's work; no user may forge it.
_EVIDENCE: Final = Rule(parts=_WRITERS, scope=Scope.WRITE)
#: No person gets credentials of a store from here: whom they would be limited to is the pod's namespace.
_IN_A_POD: Final = Rule(parts=frozenset({Role.SIDECAR}), scope=Scope.WRITE)
_OWN: Final = Rule(parts=_ADMIN, user=ANYONE, scope=Scope.READ)
_OWN_CHANGE: Final = Rule(parts=_ADMIN, user=ANYONE, scope=Scope.ADMIN)
#: Who is in the project, what is removed from it by rule, and what nothing may remove.
_GOVERN: Final = Rule(parts=_ADMIN, user=ProjectRole.ADMIN, scope=Scope.ADMIN)
_ADMINISTER: Final = Rule(parts=_ADMIN, scope=Scope.ADMIN)

#: By the route's operation id.
RULES: Final[Mapping[str, Rule | Literal["public"]]] = {
    "health": PUBLIC,
    "ready": PUBLIC,
    "prometheus": PUBLIC,
    "openapi": PUBLIC,
    "put_project": _PLAN,
    "patch_project": _EDIT,
    "trash_project": _MANAGE,
    "list_projects": _LIST,
    "get_project": _READ,
    "put_experiment": _PLAN,
    "patch_experiment": _EDIT,
    "trash_experiment": _TRASH,
    "list_experiments": _LIST,
    "get_experiment": _READ,
    "put_iteration": _PLAN_BY_BODY,
    "patch_iteration": _DESCRIBE,
    "trash_iteration": _EDIT,
    "put_heartbeat": _SIGN_OF_LIFE,
    "get_iteration": _READ_AS_POD,
    "get_environment": _READ,
    "list_children": _READ,
    "get_subtree": _READ,
    "list_iterations": _READ,
    "search_iterations": _LIST,
    "put_artifacts": _OUTCOME,
    "list_iteration_artifacts": _READ_AS_POD,
    "list_pod_artifacts": _READ_AS_POD,
    "list_experiment_artifacts": _READ,
    "get_artifact": _READ,
    "patch_artifact": _EDIT,
    "list_artifact_sets": _READ_AS_POD,
    "list_set_members": _READ,
    "delete_artifact": _EDIT,
    "put_file": _EDIT,
    "get_file": _READ,
    "head_file": _READ,
    "get_bytes": _READ,
    "head_bytes": _READ,
    "put_upload": _EDIT,
    "get_upload": _EDIT,
    "head_upload": _EDIT,
    "append_to_upload": _EDIT,
    "delete_upload": _EDIT,
    "find_contents": _EVIDENCE,
    "put_metrics": _OUTCOME,
    "patch_metric": _EDIT,
    "delete_metrics": _EDIT,
    "list_series": _READ,
    "list_metrics": _READ,
    #: Of iterations that the query names: the route asks for each.
    "get_curves": _LIST,
    "compare_iterations": _LIST,
    "compare_curves": _LIST,
    "put_dataset": _PLAN,
    "patch_dataset": _EDIT,
    "list_datasets": _LIST,
    "get_dataset": _READ,
    "list_dataset_uses": _READ,
    "put_dataset_use": _REPORT,
    "delete_dataset_use": _EDIT,
    "list_iteration_datasets": _READ,
    "get_lineage": _READ,
    "put_model": _EDIT,
    "patch_model": _EDIT,
    "trash_model": _MANAGE,
    "list_models": _LIST,
    "get_model": _READ,
    "put_model_version": _REGISTER,
    "patch_model_version": _EDIT,
    "trash_model_version": _EDIT,
    "put_model_stage": _EDIT,
    "get_model_version": _READ,
    "list_model_versions": _READ,
    "get_numbered_version": _READ,
    "get_newest_version": _READ,
    "get_staged_version": _READ,
    "get_called_version": _READ,
    "put_model_alias": _EDIT,
    "delete_model_alias": _EDIT,
    "list_model_aliases": _READ,
    "list_model_transitions": _READ,
    "diff_model_versions": _READ,
    "list_versions_of_iteration": _READ,
    "list_versions_of_artifact": _READ,
    "put_pod_report": _EVIDENCE,
    "get_writers": _READ_AS_POD,
    "list_pods": _READ,
    "give_store_credentials": _IN_A_POD,
    "log_in": PUBLIC,
    "set_up": PUBLIC,
    "oidc_login": PUBLIC,
    "oidc_callback": PUBLIC,
    "oidc_exchange": PUBLIC,
    "whoami": _LIST,
    "log_out": _OWN,
    "log_out_everywhere": _OWN_CHANGE,
    "put_user": _ADMINISTER,
    "list_users": _ADMINISTER,
    "get_user": _OWN,
    "patch_user": _OWN_CHANGE,
    "put_password": _OWN_CHANGE,
    "delete_user": _ADMINISTER,
    "put_token": _OWN_CHANGE,
    "list_tokens": _OWN,
    "delete_token": _OWN_CHANGE,
    "put_member": _GOVERN,
    "list_members": _READ,
    "delete_member": _GOVERN,
    "list_audit": _ADMINISTER,
    "put_retention_policy": _GOVERN,
    "list_retention_policies": _READ,
    "delete_retention_policy": _GOVERN,
    "put_default_policy": _ADMINISTER,
    "list_default_policies": _ADMINISTER,
    "delete_default_policy": _ADMINISTER,
    "put_hold": _GOVERN,
    "list_holds": _READ,
    "lift_hold": _GOVERN,
}

#: The parameters of paths that tell the project, the first that is there; and how what is not there is refused.
MISSING: Final[Mapping[str, Callable[[Any], Refused]]] = {
    "name": lambda name: NotFound(f"there is no project {name!r}"),
    "experiment_id": ExperimentNotFound,
    "iteration_id": IterationNotFound,
    "dataset_id": lambda dataset: NotFound(f"there is no dataset {dataset}"),
    "artifact_id": lambda artifact: NotFound(f"there is no artifact {artifact}"),
    "version_id": lambda version: NotFound(f"there is no model version {version}"),
}

_MAX_REMEMBERED: Final = 10_000


class Owners(Protocol):
    """To which project a thing belongs, and to which namespace an iteration. Raises Unavailable."""

    def recall(self, parameter: str, value: Any) -> UUID | None:
        """As `project`, if that is known without asking anybody; None otherwise. Never blocks."""

    def project(self, parameter: str, value: Any) -> UUID | None:
        """None when there is no such thing. `parameter` is a key of MISSING."""

    def namespace(self, iteration: UUID) -> str | None:
        """None when there is no such iteration; otherwise what never changes."""

    def pod_name(self, iteration: UUID, pod_uid: str) -> str:
        """What the pod called itself when it reported; empty when it never did."""


class Access:
    """The decisions that need to know what belongs where. Safe to use from several threads."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._namespaces: dict[UUID, str] = {}

    def known(self, operation: str, caller: Caller, path: Mapping[str, Any]) -> bool:
        """Whether `check` can answer without asking anybody, if it does so at once."""
        match caller.role:
            case Role.ADMIN | Role.OPERATOR:
                return True
            case Role.SIDECAR:
                return path.get("iteration_id") in self._namespaces and not caller.rescuer
            case _:
                rule = RULES[operation]
                assert isinstance(rule, Rule)
                if rule.by_body or not isinstance(rule.user, ProjectRole):
                    return True
                parameter = _telling(path)
                return self._owners.recall(parameter, path[parameter]) is not None

    def check(self, operation: str, caller: Caller, path: Mapping[str, Any]) -> None:
        """Raise Forbidden or NotFound unless the caller may do this to what the path names."""
        rule = RULES[operation]
        assert isinstance(rule, Rule)
        check_rule(caller, rule)
        if caller.role is Role.SIDECAR:
            self._check_sidecar(caller, path)
        elif caller.role is Role.USER and isinstance(rule.user, ProjectRole) and not rule.by_body:
            parameter = _telling(path)
            self._check_user(caller, parameter, path[parameter], rule.user, creates=rule.creates)

    def check_reference(self, caller: Caller, parameter: str, value: Any, need: ProjectRole) -> None:
        """The same for what a body names: `parameter` is what it would be called in a path."""
        if caller.role is Role.USER:
            self._check_user(caller, parameter, value, need, creates=False)

    @contextmanager
    def hiding(self, caller: Caller, parameter: str, value: Any, need: ProjectRole) -> Iterator[None]:
        """A Conflict says nothing of what the caller may not do this to: instead it is Forbidden or not there."""
        try:
            yield
        except Conflict:
            if caller.role is Role.USER:
                self._check_user(caller, parameter, value, need, creates=True)
            raise

    def _check_user(self, caller: Caller, parameter: str, value: Any, need: ProjectRole, *, creates: bool) -> None:
        project = self._owners.project(parameter, value)
        if project is None and creates:
            return
        try:
            check_project(caller, project, need)
        except NotFound:
            raise MISSING[parameter](value) from None

    def _check_sidecar(self, caller: Caller, path: Mapping[str, Any]) -> None:
        iteration = path.get("iteration_id")
        if iteration is None or iteration != caller.iteration:
            raise Forbidden("a pod may only touch its own iteration")
        if path.get("pod_uid", caller.pod_uid) != caller.pod_uid:
            raise Forbidden("a pod may only speak for itself")
        namespace = self._namespaces.get(iteration)
        if namespace is None:
            namespace = self._owners.namespace(iteration)
            if namespace is None:
                raise IterationNotFound(iteration)
            if len(self._namespaces) >= _MAX_REMEMBERED:
                self._namespaces.clear()
            self._namespaces[iteration] = namespace
        if namespace != caller.namespace:
            raise Forbidden("the iteration belongs to another namespace")
        if caller.rescuer and self._owners.pod_name(iteration, caller.pod_uid) not in ("", caller.pod_name):
            # A name of a pod that is not there would make one that lives look as if it had ended.
            raise Forbidden("the pod whose files are to be rescued has another name")


def _telling(path: Mapping[str, Any]) -> str:
    """The parameter that tells the project."""
    return next(name for name in MISSING if name in path)


def check_rule(caller: Caller, rule: Rule) -> None:
    """Raise Forbidden unless the rule has a place for the caller's role and token, whatever the project."""
    if caller.role not in rule.parts and not (caller.role is Role.USER and rule.user is not None):
        raise Forbidden(f"the role {caller.role} may not do this")
    if not caller.scope.covers(rule.scope):
        raise Forbidden(
            f"this token's scope is {caller.scope}; this needs {rule.scope}", hint="make a token of that scope"
        )


def check_project(caller: Caller, project: UUID | None, need: ProjectRole) -> None:
    """Raise NotFound when the project is nothing to a user, Forbidden when the role is too small; others may."""
    if caller.role is not Role.USER:
        return
    roles = {} if caller.account is None else caller.account.roles
    role = None if project is None else roles.get(project)
    if role is None:
        raise NotFound("there is no such project")
    if not role.covers(need):
        raise Forbidden(f"you are {role} of this project; this needs {need}", hint="ask an admin of the project")


def check_pods(caller: Caller, pod_uids: Collection[str]) -> None:
    """Raise Forbidden when a sidecar speaks for another pod than its own, or a user for any; everybody else may."""
    if caller.role is Role.SIDECAR and any(pod_uid != caller.pod_uid for pod_uid in pod_uids):
        raise Forbidden("a pod may only speak for itself", field="pod_uid")
    if caller.role is Role.USER and any(pod_uids):
        raise Forbidden("a user speaks for no pod", field="pod_uid", hint="leave pod_uid empty")


def check_description(caller: Caller, change: IterationPatch) -> None:
    """Raise Forbidden when a sidecar edits more of its iteration than tags and notes; everybody else may."""
    if caller.role is not Role.SIDECAR:
        return
    rest = msgspec.structs.asdict(msgspec.structs.replace(change, tags=UNSET, notes=UNSET))
    if edited := [name for name, value in rest.items() if value is not UNSET]:
        raise Forbidden("a pod may edit the tags and notes of its iteration only", field=edited[0])
