"""Sets in SQL."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select

from pinnace.records import ArtifactPage, ArtifactSet, ArtifactSetPage
from pinnace_api import paging
from pinnace_api.artifact_sets.tables import ARTIFACT_SET_MEMBERS
from pinnace_api.artifacts import queries as artifacts
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.paging import Cut, Moment, Order
from pinnace_api.tables import insert_missing

_MEMBERS = select(ARTIFACT_SET_MEMBERS.c.artifact_id).where(ARTIFACT_SET_MEMBERS.c.set_id == bindparam("set"))
_TOTALS = (
    select(ARTIFACT_SET_MEMBERS.c.set_id, func.count().label("files"), func.sum(ARTIFACTS.c.size).label("bytes"))
    .join_from(ARTIFACT_SET_MEMBERS, ARTIFACTS, ARTIFACTS.c.id == ARTIFACT_SET_MEMBERS.c.artifact_id)
    .where(ARTIFACT_SET_MEMBERS.c.set_id.in_(bindparam("sets", expanding=True)))
    .group_by(ARTIFACT_SET_MEMBERS.c.set_id)
)
_RECORDED = Order(columns=(ARTIFACTS.c.recorded_at, ARTIFACTS.c.id), key=tuple[Moment, UUID])
_LATEST = Order(columns=(ARTIFACTS.c.recorded_at, ARTIFACTS.c.id), key=tuple[Moment, UUID], descending=True)


def add(connection: Connection, set_: UUID, members: Iterable[UUID]) -> None:
    """Say what the set is. It must have no members yet, and all of them must be recorded."""
    insert_missing(
        connection, ARTIFACT_SET_MEMBERS, [{"set_id": set_, "artifact_id": member} for member in sorted(members)]
    )


def members(connection: Connection, set_: UUID) -> frozenset[UUID]:
    """Empty: it is no set."""
    return frozenset(connection.execute(_MEMBERS, {"set": set_}).scalars())


def page(connection: Connection, iteration: UUID, cut: Cut) -> ArtifactSetPage:
    """The one recorded last first."""
    is_set = select(ARTIFACT_SET_MEMBERS.c.set_id).where(ARTIFACT_SET_MEMBERS.c.set_id == ARTIFACTS.c.id).exists()
    statement = select(ARTIFACTS).where(ARTIFACTS.c.iteration_id == iteration, ARTIFACTS.c.deleted_at.is_(None), is_set)
    part = paging.fetch(connection, statement, _LATEST, cut)
    totals = {row.set_id: row for row in connection.execute(_TOTALS, {"sets": [row.id for row in part.rows]})}
    items = tuple(
        ArtifactSet(manifest=artifacts.record(row), files=totals[row.id].files, bytes=int(totals[row.id].bytes))
        for row in part.rows
    )
    return ArtifactSetPage(items=items, next=part.next)


def page_of_members(connection: Connection, set_: UUID, cut: Cut, *, iteration: UUID | None = None) -> ArtifactPage:
    """In the order of recording; none where the set is not of that iteration."""
    statement = (
        select(ARTIFACTS)
        .join_from(ARTIFACT_SET_MEMBERS, ARTIFACTS, ARTIFACT_SET_MEMBERS.c.artifact_id == ARTIFACTS.c.id)
        .where(ARTIFACT_SET_MEMBERS.c.set_id == set_)
    )
    if iteration is not None:
        statement = statement.where(ARTIFACTS.c.iteration_id == iteration)
    part = paging.fetch(connection, statement, _RECORDED, cut)
    return ArtifactPage(items=tuple(artifacts.record(row) for row in part.rows), next=part.next)
