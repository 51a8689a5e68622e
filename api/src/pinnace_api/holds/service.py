"""What may be done with legal holds: set, lifted with a reason, and never forgotten."""

from uuid import UUID

from pinnace.records import Hold, HoldKind, HoldPage, HoldWrite
from pinnace_api.audit.service import note
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.holds import queries
from pinnace_api.identity import Visit
from pinnace_api.paging import Cut
from pinnace_api.projects import queries as projects
from pinnace_api.refusals import Conflict, Held, Invalid, NotFound
from pinnace_api.values import check_text


def put(database: Database, visit: Visit, project: str, hold: UUID, write: HoldWrite) -> tuple[Hold, bool]:
    """Set it; the bool says whether it is new. When this returns, nothing of its subject is removed any more.

    Raises NotFound for the project, Invalid for a subject that does not lie in it, Conflict for an id that has been
    lifted or holds something else.
    """
    check_text(project, "name")
    check_text(write.reason, "reason")
    if (write.subject_id is None) != (write.kind is HoldKind.PROJECT):
        raise Invalid("an artifact, an iteration or an experiment is named, the project is not", field="subject_id")
    return database.write(_put, visit, project, hold, write)


def lift(database: Database, visit: Visit, project: str, hold: UUID, reason: str) -> None:
    """Lift it, which may have happened already. Raises NotFound."""
    check_text(project, "name")
    check_text(reason, "reason")
    database.write(_lift, visit, project, hold, reason)


def page(database: Database, project: str, *, lifted: bool, cut: Cut) -> HoldPage:
    check_text(project, "name")
    with database.read() as connection:
        found = projects.find(connection, project)
        if found is None:
            raise NotFound(f"there is no project {project!r}")
        return queries.page(connection, found.id, lifted=lifted, cut=cut)


def check_artifact(connection: Connection, artifact: UUID) -> None:
    """Raise Held for one that is held, by itself or by what it lies in."""
    if queries.held_artifacts(connection, [artifact]):
        raise Held(f"artifact {artifact}")


def check_iteration(connection: Connection, iteration: UUID) -> None:
    """Raise Held for one that is held, by itself or by what it lies in."""
    if queries.held_iterations(connection, [iteration]):
        raise Held(f"iteration {iteration}")


def _put(connection: Connection, visit: Visit, project: str, hold: UUID, write: HoldWrite) -> tuple[Hold, bool]:
    # Removals share this row, so none is under way that would not see the hold.
    around = _held(connection, project)
    if write.subject_id is not None and queries.project_of(connection, write.kind, write.subject_id) != around:
        raise Invalid(f"there is no {write.kind} {write.subject_id} in project {project!r}", field="subject_id")
    is_new = queries.add(connection, hold, around, write, by=str(visit), at=now())
    stored = queries.find(connection, hold)
    assert stored is not None
    same = (stored.project, stored.kind, stored.subject_id) == (project, write.kind, write.subject_id)
    if not same or stored.lifted_at is not None:
        raise Conflict(
            f"hold {hold} has been lifted" if same else f"hold {hold} is on something else",
            hint="take another id",
        )
    if is_new:
        note(connection, visit, "hold.set", _subject(stored), hold=str(hold), reason=write.reason)
    return stored, is_new


def _lift(connection: Connection, visit: Visit, project: str, hold: UUID, reason: str) -> None:
    _held(connection, project)
    stored = queries.find(connection, hold)
    if stored is None or stored.project != project:
        raise NotFound(f"there is no hold {hold} in project {project!r}")
    if stored.lifted_at is None:
        queries.lift(connection, hold, reason, by=str(visit), at=now())
        note(connection, visit, "hold.lifted", _subject(stored), hold=str(hold), reason=reason)


def _held(connection: Connection, project: str) -> UUID:
    found = projects.hold(connection, project)
    if found is None:
        raise NotFound(f"there is no project {project!r}")
    return found.id


def _subject(hold: Hold) -> str:
    return hold.project if hold.subject_id is None else f"{hold.project}/{hold.kind}/{hold.subject_id}"
