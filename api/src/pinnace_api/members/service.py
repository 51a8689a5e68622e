"""What may be done with the members of a project."""

from uuid import UUID

from pinnace.records import Member, MemberKind, MemberPage, ProjectRole
from pinnace_api.audit.service import note
from pinnace_api.database import Connection, Database
from pinnace_api.identity import Visit
from pinnace_api.members import queries
from pinnace_api.paging import Cut
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import NotFound
from pinnace_api.users import queries as users
from pinnace_api.values import check_text


def put(database: Database, visit: Visit, project: str, member: Member) -> tuple[Member, bool]:
    """Give the user or group this role in the project. The bool says whether it is a new member.

    A user must exist. A group need not: it is a name, which users get from an admin or the identity provider.
    """
    check_text(project, "name")
    check_text(member.name, "name")

    def transaction(connection: Connection) -> bool:
        found = _project(connection, project)
        if member.kind is MemberKind.USER:
            is_new = queries.set_user(connection, found, _user(connection, member.name), member.role)
        else:
            is_new = queries.set_group(connection, found, member.name, member.role)
        note(connection, visit, "member.set", project, member=f"{member.kind}:{member.name}", role=member.role.value)
        return is_new

    is_new = database.write(transaction)
    return member, is_new


def remove(database: Database, visit: Visit, project: str, kind: MemberKind, name: str) -> None:
    """Whoever is no member is NotFound."""
    check_text(project, "name")
    check_text(name, "member")

    def transaction(connection: Connection) -> None:
        found = _project(connection, project)
        if kind is MemberKind.USER:
            stored = users.find(connection, name)
            gone = stored is not None and queries.remove_user(connection, found, stored.user.id)
        else:
            gone = queries.remove_group(connection, found, name)
        if not gone:
            raise NotFound(f"the {kind} {name!r} is no member of project {project!r}")
        note(connection, visit, "member.removed", project, member=f"{kind}:{name}")

    database.write(transaction)


def page(database: Database, project: str, cut: Cut) -> MemberPage:
    check_text(project, "name")
    with database.read() as connection:
        return queries.page(connection, _project(connection, project), cut)


def begin(connection: Connection, visit: Visit, project: str, project_id: UUID) -> None:
    """Whoever creates a project is its first admin; nothing happens for a caller who is no user."""
    caller = visit.caller
    if caller is not None and caller.account is not None:
        queries.set_user(connection, project_id, caller.account.id, ProjectRole.ADMIN)
        note(connection, visit, "member.set", project, member=f"user:{caller.account.name}", role="admin")


def _project(connection: Connection, name: str) -> UUID:
    found = projects.find(connection, name)
    if found is None:
        raise NotFound(f"there is no project {name!r}")
    return found.id


def _user(connection: Connection, name: str) -> UUID:
    stored = users.find(connection, name)
    if stored is None:
        raise NotFound(f"there is no user {name!r}", hint="an admin creates users; they also come by their first login")
    return stored.user.id
