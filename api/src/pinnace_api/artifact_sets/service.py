"""What may be done with sets."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pinnace.naming import MANIFEST_NAME
from pinnace.records import Artifact, ArtifactPage, ArtifactSetPage, ArtifactSetWrite
from pinnace_api.artifact_sets import queries
from pinnace_api.artifacts import queries as artifacts
from pinnace_api.database import Connection, Database
from pinnace_api.iterations import queries as iterations
from pinnace_api.paging import Cut
from pinnace_api.refusals import Conflict, Invalid, NotFound


def check(sets: Sequence[ArtifactSetWrite], sent: Mapping[UUID, Artifact]) -> None:
    """Raise Invalid unless each is of a manifest of its own that was sent along."""
    seen: set[UUID] = set()
    for index, each in enumerate(sets):
        manifest = sent.get(each.id)
        if manifest is None or each.id in seen:
            raise Invalid("a set is that of a manifest in the same request, and named once", field=f"sets[{index}].id")
        if manifest.path.rpartition("/")[2] != MANIFEST_NAME:
            raise Invalid(f"only {MANIFEST_NAME} names a set", field=f"sets[{index}].id")
        seen.add(each.id)


def record(connection: Connection, iteration: UUID, sets: Sequence[ArtifactSetWrite]) -> None:
    """Say what belongs to the sets, all of whose files and manifests are recorded; again changes nothing.

    Raises Invalid for what can't belong to one, Conflict when the set is known to be another.
    """
    for index, each in sorted(enumerate(sets), key=lambda numbered: numbered[1].id):
        wanted = frozenset(each.members)
        # So that two who disagree don't both add theirs.
        artifacts.hold(connection, each.id)
        found = artifacts.find_all(connection, wanted | {each.id})
        folder = found[each.id].path.rpartition("/")[0]
        inside = f"{folder}/" if folder else ""
        for member in wanted:
            artifact = found.get(member)
            is_right = artifact is not None and artifact.iteration_id == iteration and member != each.id
            if artifact is None or not is_right or not artifact.path.startswith(inside):
                raise Invalid(
                    f"there is no artifact {member} of this iteration in the folder of the manifest",
                    field=f"sets[{index}].members",
                    hint="record the files of a set first, or in the same request",
                )
        present = queries.members(connection, each.id)
        if not present:
            queries.add(connection, each.id, wanted)
            present = queries.members(connection, each.id)
        if present != wanted:
            raise Conflict(
                f"set {each.id} has {len(present)} other members", field=f"sets[{index}].members", hint="a set stays"
            )


def page(database: Database, iteration: UUID, cut: Cut) -> ArtifactSetPage:
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return queries.page(connection, iteration, cut)


def page_of_members(database: Database, artifact: UUID, cut: Cut) -> ArtifactPage:
    """Of what is no set: nothing."""
    with database.read() as connection:
        if not artifacts.find_all(connection, [artifact]):
            raise NotFound(f"there is no artifact {artifact}")
        return queries.page_of_members(connection, artifact, cut)


def page_of_members_in(database: Database, iteration: UUID, manifest: UUID, cut: Cut) -> ArtifactPage:
    """Of what is no set of this iteration: nothing."""
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return queries.page_of_members(connection, manifest, cut, iteration=iteration)
