"""Members in SQL."""

from uuid import UUID

from sqlalchemy import Connection, String, delete, func, literal, select, union_all, update

from pinnace.records import Member, MemberKind, MemberPage, ProjectRole
from pinnace_api import paging
from pinnace_api.members.tables import GROUP_ROLES, USER_ROLES
from pinnace_api.paging import Cut, Order
from pinnace_api.tables import insert_missing
from pinnace_api.users.tables import USERS


def set_user(connection: Connection, project: UUID, user: UUID, role: ProjectRole) -> bool:
    """Whether the member is new."""
    row = {"project_id": project, "user_id": user, "role": role}
    if insert_missing(connection, USER_ROLES, [row]):
        return True
    found = (USER_ROLES.c.project_id == project, USER_ROLES.c.user_id == user)
    connection.execute(update(USER_ROLES).where(*found).values(role=role))
    return False


def set_group(connection: Connection, project: UUID, group: str, role: ProjectRole) -> bool:
    """Whether the member is new."""
    row = {"project_id": project, "group_name": group, "role": role}
    if insert_missing(connection, GROUP_ROLES, [row]):
        return True
    found = (GROUP_ROLES.c.project_id == project, GROUP_ROLES.c.group_name == group)
    connection.execute(update(GROUP_ROLES).where(*found).values(role=role))
    return False


def remove_user(connection: Connection, project: UUID, user: UUID) -> bool:
    """Whether there was one."""
    found = (USER_ROLES.c.project_id == project, USER_ROLES.c.user_id == user)
    return connection.execute(delete(USER_ROLES).where(*found)).rowcount == 1


def remove_group(connection: Connection, project: UUID, group: str) -> bool:
    """Whether there was one."""
    found = (GROUP_ROLES.c.project_id == project, GROUP_ROLES.c.group_name == group)
    return connection.execute(delete(GROUP_ROLES).where(*found)).rowcount == 1


def page(connection: Connection, project: UUID, cut: Cut) -> MemberPage:
    """Groups first, each kind by name."""
    every = union_all(
        select(_kind(MemberKind.GROUP), GROUP_ROLES.c.group_name.label("name"), GROUP_ROLES.c.role).where(
            GROUP_ROLES.c.project_id == project
        ),
        select(_kind(MemberKind.USER), USERS.c.name.label("name"), USER_ROLES.c.role)
        .join_from(USER_ROLES, USERS)
        .where(USER_ROLES.c.project_id == project),
    ).subquery()
    order = Order(columns=(every.c.kind, every.c.name), key=tuple[str, str])
    part = paging.fetch(connection, select(every), order, cut)
    members = tuple(Member(kind=MemberKind(row.kind), name=row.name, role=ProjectRole(row.role)) for row in part.rows)
    return MemberPage(items=members, next=part.next)


def _kind(kind: MemberKind):  # type: ignore[no-untyped-def]
    return func.cast(literal(kind.value), String(8)).label("kind")
