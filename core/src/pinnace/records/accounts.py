"""Users, sessions, tokens, roles, and what was done with them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pinnace.records.projects import ProjectName
from pinnace.records.record import Page, Record

#: Lower case only, so that no two names look alike by case. `$` alone would let a newline follow.
UserName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9._@+]{0,98}[a-z0-9])?$(?!\n)", max_length=100)]
#: A group that this API keeps has no colon in its name; those of an identity provider are called `oidc:NAME`.
GroupName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9._]{0,98}[a-z0-9])?$(?!\n)", max_length=100)]
DisplayName = Annotated[str, Meta(max_length=200)]
#: What may be sent as a password; what may become one is stricter.
Password = Annotated[str, Meta(max_length=1024)]
Secret = Annotated[str, Meta(min_length=1, max_length=512)]


class _Ordered(StrEnum):
    def covers(self, need: Self) -> bool:
        """Whether this is as much as `need` or more; the members stand in their order."""
        order = list(type(self))
        return order.index(self) >= order.index(need)


class Scope(_Ordered):
    """What a token may be used for, at most; its user may be allowed less."""

    #: Look, and end itself.
    READ = "read"
    #: Also change what belongs to projects.
    WRITE = "write"
    #: Also change members, tokens, accounts: whatever the user may.
    ADMIN = "admin"


class ProjectRole(_Ordered):
    """What somebody is to a project."""

    #: Sees it.
    VIEWER = "viewer"
    #: Also changes what is in it.
    EDITOR = "editor"
    #: Also says who its members are.
    ADMIN = "admin"


class _WithSecret(Record, frozen=True, kw_only=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class UserWrite(_WithSecret, frozen=True, kw_only=True):
    """PUT /users/{user}"""

    password: Password
    display_name: DisplayName = ""
    admin: bool = False
    groups: Annotated[tuple[GroupName, ...], Meta(max_length=100)] = ()


class UserPatch(Record, frozen=True, kw_only=True):
    """PATCH /users/{user}: fields that are absent stay as they are."""

    display_name: DisplayName | UnsetType = UNSET
    admin: bool | UnsetType = UNSET
    #: A disabled user can't log in, and loses every session and token.
    disabled: bool | UnsetType = UNSET
    #: The groups that this API keeps; those of an identity provider come from there.
    groups: Annotated[tuple[GroupName, ...], Meta(max_length=100)] | UnsetType = UNSET


class User(Record, frozen=True, kw_only=True):
    id: UUID
    name: UserName
    display_name: str
    admin: bool
    disabled: bool
    #: The identity provider that the user logs in at; empty for a user with a password.
    issuer: str = ""
    groups: tuple[str, ...] = ()
    created_at: datetime


class UserPage(Page, frozen=True, kw_only=True):
    items: tuple[User, ...]


class PasswordWrite(_WithSecret, frozen=True, kw_only=True):
    """PUT /users/{user}/password"""

    new: Password
    #: Needed for one's own.
    current: Password = ""
    #: Whether personal tokens end as well; sessions always do.
    revoke_tokens: bool = False


class LoginWrite(_WithSecret, frozen=True, kw_only=True):
    """POST /session"""

    name: Annotated[str, Meta(max_length=200)]
    password: Password
    #: Whether the session goes into a cookie, for a page, instead of into the answer.
    cookie: bool = False


class SetupWrite(_WithSecret, frozen=True, kw_only=True):
    """POST /setup: the first admin, by the token that the API printed when it first started."""

    token: Secret
    name: UserName
    password: Password
    display_name: DisplayName = ""


class ExchangeWrite(_WithSecret, frozen=True, kw_only=True):
    """POST /oidc/session: what a login in the browser left for the program that began it."""

    code: Secret
    #: That whose SHA-256 was the challenge (RFC 7636).
    verifier: Annotated[str, Meta(min_length=43, max_length=128)]


class SessionGrant(_WithSecret, frozen=True, kw_only=True):
    #: The bearer token; empty when it went into a cookie.
    token: str = ""
    #: Goes into the header X-Pinnace-CSRF of every request that changes something by cookie.
    csrf: str = ""
    expires_at: datetime
    user: User


class Whoami(Record, frozen=True, kw_only=True):
    """GET /session"""

    #: `admin`, `operator` or `user`.
    role: str
    scope: Scope
    #: None for what is no user's token.
    user: User | None = None
    expires_at: datetime | None = None
    #: For sessions by cookie.
    csrf: str = ""
    projects: dict[ProjectName, ProjectRole] = {}


class TokenWrite(Record, frozen=True, kw_only=True):
    """PUT /tokens/{id}"""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    scope: Scope = Scope.READ
    expires_in_days: Annotated[int, Meta(ge=1, le=366)] = 90


class AccessToken(Record, frozen=True, kw_only=True):
    """A personal token or a session, without its secret."""

    id: UUID
    user: UserName
    #: Empty for a session.
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime
    #: To the minute.
    last_used_at: datetime | None = None
    session: bool = False


class TokenGrant(_WithSecret, frozen=True, kw_only=True):
    #: Shown this once.
    token: str
    record: AccessToken


class TokenPage(Page, frozen=True, kw_only=True):
    items: tuple[AccessToken, ...]


class MemberKind(StrEnum):
    USER = "user"
    GROUP = "group"


class Member(Record, frozen=True, kw_only=True):
    """PUT /projects/{name}/members takes one, GET lists them."""

    kind: MemberKind
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    role: ProjectRole


class MemberPage(Page, frozen=True, kw_only=True):
    items: tuple[Member, ...]


class AuditEvent(Record, frozen=True, kw_only=True):
    """Who did what, when, from where, to which subject. Written once, never changed."""

    id: int
    time: datetime
    #: `admin`, `user:NAME`, `operator`; `nobody` before a login.
    actor: str
    #: `login.failed`, `token.created`, `member.set` …
    action: str
    subject: str
    address: str
    detail: dict[str, str | int | bool] = {}


class AuditPage(Page, frozen=True, kw_only=True):
    items: tuple[AuditEvent, ...]
