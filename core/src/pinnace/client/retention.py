"""Calls of retention policies and legal holds."""

from collections.abc import Iterator
from urllib.parse import quote, urlencode
from uuid import UUID

from pinnace import records
from pinnace.client.calls import Calls
from pinnace.records import Hold, HoldWrite, RetentionPolicy, RetentionPolicyWrite


class RetentionCalls(Calls):
    """`project` None: the policies for all projects, which admins of the whole API set."""

    def put_retention_policy(self, project: str | None, name: str, policy: RetentionPolicyWrite) -> RetentionPolicy:
        """It takes the place of the one of this name. Invalid for a filter that is none."""
        return self._connection.put(_policy(project, name), policy, RetentionPolicy)

    def delete_retention_policy(self, project: str | None, name: str) -> None:
        self._connection.delete(_policy(project, name))

    def retention_policies(self, project: str | None = None, *, limit: int | None = None) -> Iterator[RetentionPolicy]:
        """Those for all projects, then those of the project, each by name."""
        return self._pages(_policies(project), records.RetentionPolicyPage, limit)

    def put_hold(self, project: str, hold_id: UUID, hold: HoldWrite) -> Hold:
        """From now on nothing of its subject is removed. Conflict for an id that has been lifted."""
        return self._connection.put(_hold(project, hold_id), hold, Hold)

    def lift_hold(self, project: str, hold_id: UUID, reason: str) -> None:
        self._connection.delete(f"{_hold(project, hold_id)}?{urlencode({'reason': reason})}")

    def holds(self, project: str, *, lifted: bool = False, limit: int | None = None) -> Iterator[Hold]:
        """The latest first; `lifted`: those too that hold no more."""
        path = f"/projects/{quote(project, safe='')}/holds"
        return self._pages(path, records.HoldPage, limit, lifted="true" if lifted else None)


def _policies(project: str | None) -> str:
    return "/retention-policies" if project is None else f"/projects/{quote(project, safe='')}/retention-policies"


def _policy(project: str | None, name: str) -> str:
    return f"{_policies(project)}/{quote(name, safe='')}"


def _hold(project: str, hold_id: UUID) -> str:
    return f"/projects/{quote(project, safe='')}/holds/{hold_id}"
