"""Users, sessions, tokens, members and the audit, as methods of the client."""

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from pinnace import records
from pinnace.client.calls import Calls
from pinnace.records import (
    AccessToken,
    AuditEvent,
    ExchangeWrite,
    LoginWrite,
    Member,
    MemberKind,
    PasswordWrite,
    SessionGrant,
    SetupWrite,
    TokenGrant,
    TokenWrite,
    User,
    UserPatch,
    UserWrite,
    Whoami,
)


class AccountCalls(Calls):
    """What the client can do with accounts. An answer with a secret in it comes once."""

    def log_in(self, name: str, password: str) -> SessionGrant:
        """A session. Raises Unauthorized, or Unavailable while there is a wait after wrong attempts."""
        return self._connection.post("/session", LoginWrite(name=name, password=password), SessionGrant)

    def exchange(self, code: str, verifier: str) -> SessionGrant:
        """The session of a login in the browser. A code works once."""
        return self._connection.post("/oidc/session", ExchangeWrite(code=code, verifier=verifier), SessionGrant)

    def set_up(self, write: SetupWrite) -> SessionGrant:
        """Make the first admin; works once."""
        return self._connection.post("/setup", write, SessionGrant)

    def whoami(self) -> Whoami:
        return self._connection.get("/session", Whoami)

    def log_out(self, *, everywhere: bool = False) -> None:
        """End this session, or all of one's sessions."""
        self._connection.delete("/sessions" if everywhere else "/session")

    def put_user(self, name: str, write: UserWrite) -> User:
        return self._connection.put(f"/users/{quote(name, safe='')}", write, User)

    def patch_user(self, name: str, patch: UserPatch) -> User:
        return self._connection.patch(f"/users/{quote(name, safe='')}", patch, User)

    def set_password(self, name: str, write: PasswordWrite) -> None:
        """Ends all sessions of the user."""
        self._connection.put(f"/users/{quote(name, safe='')}/password", write, type(None))

    def delete_user(self, name: str) -> None:
        self._connection.delete(f"/users/{quote(name, safe='')}")

    def user(self, name: str) -> User:
        return self._connection.get(f"/users/{quote(name, safe='')}", User)

    def users(self, *, limit: int | None = None) -> Iterator[User]:
        """By name."""
        return self._pages("/users", records.UserPage, limit)

    def put_token(self, token_id: UUID, write: TokenWrite) -> TokenGrant:
        """Make a personal token. The second time is a Conflict: the secret is shown once."""
        return self._connection.put(f"/tokens/{token_id}", write, TokenGrant)

    def delete_token(self, token_id: UUID) -> None:
        """End a session or a personal token, at once and everywhere."""
        self._connection.delete(f"/tokens/{token_id}")

    def tokens(self, *, user: str | None = None, limit: int | None = None) -> Iterator[AccessToken]:
        """One's own, or another's for an admin; the newest first."""
        return self._pages("/tokens", records.TokenPage, limit, user=user)

    def put_member(self, project: str, member: Member) -> Member:
        return self._connection.put(f"/projects/{quote(project, safe='')}/members", member, Member)

    def delete_member(self, project: str, kind: MemberKind, name: str) -> None:
        query = {"kind": kind.value, "member": name}
        self._connection.delete(f"/projects/{quote(project, safe='')}/members", query)

    def members(self, project: str, *, limit: int | None = None) -> Iterator[Member]:
        """Groups, then users, by name."""
        return self._pages(f"/projects/{quote(project, safe='')}/members", records.MemberPage, limit)

    def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditEvent]:
        """The newest first; those that match every filter given."""
        return self._pages(
            "/audit",
            records.AuditPage,
            limit,
            actor=actor,
            action=action,
            subject=subject,
            since=None if since is None else since.isoformat(),
            until=None if until is None else until.isoformat(),
        )
