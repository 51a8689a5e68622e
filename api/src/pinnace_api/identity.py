"""Who is calling: a bearer token becomes a Caller, or is refused.

Four kinds of tokens: the admin's (a file), the operator's service account, a service account bound to a pod whose
label names the iteration that it may write to (a pod that rescues the files of one that has ended is taken for that
one), and what users hold (a session or a personal token). Service accounts are looked up through a `TokenReviewer`;
what it said is remembered for a while by the token's hash, so that it isn't asked at each request. Users' tokens are
looked up in the database, and remembered as recollection.py says: one that was ended is of no use a second later.
"""

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from uuid import UUID

from pinnace.artifact_stores import ArtifactStore
from pinnace.naming import RESCUES_LABEL, RESCUES_POD_ANNOTATION
from pinnace.records import ProjectRole, Scope, WriterEnd
from pinnace_api.credentials import TOKEN_PREFIX
from pinnace_api.refusals import Forbidden, Refused, Unauthorized

#: How long a good answer is trusted: a deleted pod's token works for at most so much longer.
TRUST_SECONDS: Final = 60.0
#: How long a bad one is: short, because the pod's label may just not be visible yet.
DISTRUST_SECONDS: Final = 5.0
_MAX_REMEMBERED: Final = 10_000
_MAX_TOKEN_LENGTH: Final = 16_384

_log = logging.getLogger(__name__)


class Role(StrEnum):
    """What a caller is to the API."""

    #: Holds the admin's token, or is a user who is an admin.
    ADMIN = "admin"
    #: The operator's service account.
    OPERATOR = "operator"
    #: A pod of an iteration.
    SIDECAR = "sidecar"
    #: A user, who is something to some projects.
    USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user behind a token, and what the token itself is good for."""

    id: UUID
    name: str
    admin: bool
    scope: Scope
    #: The token's own id; a session's or a personal token's.
    token: UUID
    session: bool
    expires_at: datetime
    #: What the user is to which project, directly or through a group: the highest counts.
    roles: Mapping[UUID, ProjectRole] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody with a role. `account` is a user's; the fields before it a sidecar's; empty for everybody else.

    A pod that rescues what another one left is that other one to us; `rescuer` is its own name.
    """

    role: Role
    namespace: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    iteration: UUID | None = None
    rescuer: str = ""
    account: Account | None = None

    @property
    def is_part(self) -> bool:
        """Whether it is one of the system's own parts: what they report has happened, whatever else may have ended."""
        return self.role in (Role.OPERATOR, Role.SIDECAR)

    def __str__(self) -> str:
        if self.account is not None:
            return f"user:{self.account.name}"
        if self.role is not Role.SIDECAR:
            return self.role.value
        by = f" by {self.rescuer}" if self.rescuer else ""
        return f"sidecar:{self.namespace}/{self.pod_name}{by}"

    @property
    def scope(self) -> Scope:
        return Scope.ADMIN if self.account is None else self.account.scope

    @property
    def visible(self) -> frozenset[UUID] | None:
        """The projects that a list may show; None: all."""
        if self.role is Role.USER and self.account is not None:
            return frozenset(self.account.roles)
        return None

    @classmethod
    def of(cls, account: Account) -> "Caller":
        return cls(role=Role.ADMIN if account.admin else Role.USER, account=account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who asks, None before a login, and from which address: what the audit remembers of a request."""

    caller: Caller | None = None
    address: str = ""
    #: Who it turned out to be, where that came out after the caller was looked for.
    name: str = ""

    def __str__(self) -> str:
        return self.name or ("nobody" if self.caller is None else str(self.caller))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """What Kubernetes says of a token: `subject` is `system:serviceaccount:NAMESPACE:NAME`."""

    subject: str
    #: Empty when the token is not bound to a pod.
    pod_name: str = ""
    pod_uid: str = ""

    @property
    def namespace(self) -> str:
        """Empty when the subject is no service account."""
        parts = self.subject.split(":")
        return parts[2] if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What the API needs to know of a pod."""

    uid: str
    #: From its label; None without one.
    iteration: UUID | None
    writers: WriterEnd
    #: All of its containers have ended, for ever.
    ended: bool = False
    #: UID and name of the pod whose files it ships, from its label and annotation; empty for every other pod.
    rescues: str = ""
    rescues_name: str = ""


@runtime_checkable
class TokenReviewer(Protocol):
    """Kubernetes, as far as the API asks it. All raise Unavailable when it can't be asked."""

    def review(self, token: str) -> ServiceAccount | None:
        """Whose token it is; None when it is nobody's, has expired, or is for another audience."""

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod as it is now; None when there is none."""

    def artifact_store(self, name: str) -> ArtifactStore | None:
        """None when there is none of that name."""

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """None when there is no such namespace."""


class NoKubernetes:
    """The TokenReviewer where there is no Kubernetes: vouches for nobody and knows no pod."""

    def review(self, token: str) -> ServiceAccount | None:  # noqa: ARG002
        return None

    def pod(self, namespace: str, name: str) -> Pod | None:  # noqa: ARG002
        return None

    def artifact_store(self, name: str) -> ArtifactStore | None:  # noqa: ARG002
        return None

    def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:  # noqa: ARG002
        return None


class Accounts(Protocol):
    """The users' tokens, as far as identifying asks for them."""

    def recall(self, token: str) -> Account | None:
        """Whose it is, if that is known without asking anybody; None otherwise. Never blocks."""

    def account(self, token: str) -> Account | None:
        """Whose it is; None when it is nobody's, has expired, or its user is disabled. Raises Unavailable."""


class NoAccounts:
    """Where there are no users."""

    def recall(self, token: str) -> Account | None:  # noqa: ARG002
        return None

    def account(self, token: str) -> Account | None:  # noqa: ARG002
        return None


class AdminToken:
    """The admin's token in a file, read again when the file changes. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int, int], bytes] | None = None

    def matches(self, token: str) -> bool:
        """Takes equally long for every wrong token. A file that is missing or empty matches nothing."""
        expected = self._expected()
        return bool(expected) and hmac.compare_digest(expected, token.encode())

    def _expected(self) -> bytes:
        try:
            stat = self._path.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if self._read is None or self._read[0] != state:
                self._read = (state, self._path.read_bytes().strip())
        except OSError as error:
            _log.warning("admin_token.unreadable", extra={"fields": {"cause": error.strerror}})
            return b""
        return self._read[1]


class Identifier:
    """Tokens to callers. Safe to use from several threads."""

    def __init__(
        self,
        *,
        admin: AdminToken | None,
        operator_subject: str,
        reviewer: TokenReviewer,
        accounts: Accounts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._operator_subject = operator_subject
        self._reviewer = reviewer
        self._accounts = accounts or NoAccounts()
        self._clock = clock
        self._remembered: dict[bytes, tuple[float, Caller | Refused]] = {}
        self._lock = threading.Lock()

    def recall(self, token: str) -> Caller | None:
        """The caller if that is known without asking anybody, None otherwise; never blocks.

        Raises Unauthorized or Forbidden when that was the answer a moment ago.
        """
        if token.startswith(TOKEN_PREFIX) and (account := self._accounts.recall(token)) is not None:
            return Caller.of(account)
        if self._admin is not None and self._admin.matches(token):
            return Caller(role=Role.ADMIN)
        if len(token) > _MAX_TOKEN_LENGTH:
            raise _unknown()
        with self._lock:
            until, answer = self._remembered.get(_hash(token), (0.0, None))
        if answer is None or self._clock() >= until:
            return None
        if isinstance(answer, Refused):
            raise answer
        return answer

    def identify(self, token: str) -> Caller:
        """The caller, asking the database or Kubernetes. Raises Unauthorized, Forbidden or Unavailable."""
        if token.startswith(TOKEN_PREFIX):
            account = self._accounts.account(token)
            if account is None:
                raise _unknown()
            return Caller.of(account)
        try:
            caller = self._ask(token)
        except (Unauthorized, Forbidden) as refused:
            self._remember(token, refused, DISTRUST_SECONDS)
            raise
        self._remember(token, caller, TRUST_SECONDS)
        return caller

    def _ask(self, token: str) -> Caller:
        account = self._reviewer.review(token)
        if account is None:
            raise _unknown()
        if self._operator_subject and account.subject == self._operator_subject:
            return Caller(role=Role.OPERATOR)
        if not (account.namespace and account.pod_name and account.pod_uid):
            raise Forbidden(
                "this service account is neither the operator's nor bound to a pod",
                hint="use the projected token that the operator mounts into the pod",
            )
        pod = self._reviewer.pod(account.namespace, account.pod_name)
        if pod is None or pod.uid != account.pod_uid:
            raise Unauthorized("the pod of this token is gone")
        if pod.iteration is None:
            raise Forbidden("the pod of this token belongs to no iteration", hint="its iteration label is missing")
        caller = Caller(
            role=Role.SIDECAR,
            namespace=account.namespace,
            pod_name=account.pod_name,
            pod_uid=account.pod_uid,
            iteration=pod.iteration,
        )
        return self._rescuer(caller, pod) if pod.rescues else caller

    def _rescuer(self, caller: Caller, pod: Pod) -> Caller:
        """The pod that it stands for, which must have ended: who lives speaks for itself."""
        if not pod.rescues_name:
            raise Forbidden(
                "a pod that rescues another's files must say whose",
                hint=f"its label {RESCUES_LABEL} is that pod's UID, its annotation {RESCUES_POD_ANNOTATION} the name",
            )
        rescued = self._reviewer.pod(caller.namespace, pod.rescues_name)
        if rescued is not None and rescued.uid == pod.rescues:
            if not rescued.ended:
                raise Forbidden("the pod whose files are to be rescued has not ended")
            if rescued.iteration != caller.iteration:
                raise Forbidden("the pod whose files are to be rescued is of another iteration")
        return replace(caller, pod_name=pod.rescues_name, pod_uid=pod.rescues, rescuer=caller.pod_name)

    def _remember(self, token: str, answer: Caller | Refused, seconds: float) -> None:
        now = self._clock()
        with self._lock:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered = {key: entry for key, entry in self._remembered.items() if entry[0] > now}
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[_hash(token)] = (now + seconds, answer)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _unknown() -> Unauthorized:
    return Unauthorized("nobody vouches for this token", hint="it may have expired, or be for another audience")
