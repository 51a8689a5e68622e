"""What may be done with artifacts."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.records import (
    Artifact,
    ArtifactBatch,
    ArtifactPage,
    ArtifactPatch,
    ArtifactSetWrite,
    Backend,
    ContentQuery,
    RecordedContent,
    RecordedContents,
)
from pinnace.stores.store import MAX_KEY_BYTES
from pinnace_api.artifact_sets import service as sets
from pinnace_api.artifacts import queries
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.edits import check_tags, edited_tags, edited_text
from pinnace_api.experiments import queries as experiments
from pinnace_api.holds import service as holds
from pinnace_api.iterations import queries as iterations
from pinnace_api.model_versions import protection
from pinnace_api.paging import Cut
from pinnace_api.pods import queries as pods
from pinnace_api.refusals import (
    Conflict,
    ExperimentNotFound,
    Invalid,
    IterationNotFound,
    NotFound,
    ObjectNotRecorded,
)
from pinnace_api.values import check_number, check_text, utc


def put(database: Database, iteration: UUID, batch: ArtifactBatch, *, by: str) -> tuple[ArtifactBatch, bool]:
    """Register artifacts and sets of them, all or nothing; the bool says whether any artifact was new.

    One that is there stays as it is, deleted if it was, but for two things: it also becomes its new pod's, and it is no
    longer suspect when it comes again as not suspect. Another size or checksum under its id is a Conflict.
    """
    sent = [_checked(iteration, artifact, by, f"artifacts[{index}]") for index, artifact in enumerate(batch.artifacts)]
    unique: dict[UUID, Artifact] = {}
    for index, artifact in enumerate(sent):
        unique[artifact.id] = _agreed(unique.get(artifact.id, artifact), artifact, f"artifacts[{index}]")
    sets.check(batch.sets, unique)
    return database.write(_put, iteration, sent, unique, batch.sets)


def find_contents(database: Database, iteration: UUID, query: ContentQuery) -> RecordedContents:
    """Which of the contents the iteration's experiment has recorded in that bucket. No other experiment is looked at.

    Only for who knows size and checksums too, and so holds the bytes.
    """
    check_text(query.endpoint, "endpoint")
    check_text(query.bucket, "bucket")
    with database.read() as connection:
        experiment = iterations.experiment(connection, iteration)
        if experiment is None:
            raise IterationNotFound(iteration)
        found = queries.find_contents(connection, experiment, query)
    asked = {(content.size, content.sha256, content.crc32c) for content in query.contents}
    return RecordedContents(
        items=tuple(
            RecordedContent(
                size=artifact.size,
                sha256=artifact.sha256,
                crc32c=artifact.crc32c,
                location=artifact.location,
                stored=artifact.stored,
                etag=artifact.etag,
            )
            for artifact in found.values()
            if (artifact.size, artifact.sha256, artifact.crc32c) in asked
        )
    )


def get(database: Database, artifact: UUID) -> Artifact:
    """Raises NotFound, Gone."""
    with database.read() as connection:
        found = queries.find_to_read(connection, artifact)
    if found is None:
        raise NotFound(f"there is no artifact {artifact}")
    return found


def patch(database: Database, artifact: UUID, change: ArtifactPatch) -> Artifact:
    """Edit what is said about it. Raises NotFound, Trashed, Invalid."""
    return database.write(_patch, artifact, change)


def delete(database: Database, artifact: UUID, *, by: str) -> None:
    """Leave it out from now on; the bytes go when the garbage collector comes.

    Raises NotFound, Trashed, Held, and Conflict for what a version of a model needs.
    """
    database.write(_delete, artifact, by)


def page_of_iteration(database: Database, iteration: UUID, cut: Cut) -> ArtifactPage:
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return queries.page_of_iteration(connection, iteration, cut)


def page_of_path(database: Database, iteration: UUID, path: str, *, newest: bool, cut: Cut) -> ArtifactPage:
    """The contents of one path with their numbers, in the order of recording or the newest first."""
    check_text(path, "path")
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return queries.page_of_path(connection, iteration, path, newest=newest, cut=cut)


def page_of_pod(database: Database, iteration: UUID, pod_uid: str, cut: Cut) -> ArtifactPage:
    """What the pod registered, whoever was first; a pod that nobody heard of registered nothing."""
    check_text(pod_uid, "pod_uid")
    with database.read() as connection:
        iterations.check_exists(connection, iteration)
        return queries.page_of_pod(connection, iteration, pod_uid, cut)


def page_of_experiment(database: Database, experiment: UUID, cut: Cut) -> ArtifactPage:
    with database.read() as connection:
        if not experiments.exists(connection, experiment):
            raise ExperimentNotFound(experiment)
        return queries.page_of_experiment(connection, experiment, cut)


def _put(
    connection: Connection,
    iteration: UUID,
    sent: Sequence[Artifact],
    unique: Mapping[UUID, Artifact],
    named: Sequence[ArtifactSetWrite],
) -> tuple[ArtifactBatch, bool]:
    iterations.check_exists(connection, iteration)
    moment = now()
    stored = {key: msgspec.structs.replace(artifact, recorded_at=moment) for key, artifact in unique.items()}
    _check_objects(connection, sent)
    _check_shared(connection, iteration, unique)
    added = queries.add(connection, list(stored.values()))
    if added < len(unique):
        stored = queries.find_all(connection, unique)
        for index, artifact in enumerate(sent):
            agreed = _agreed(stored[artifact.id], artifact, f"artifacts[{index}]")
            if agreed != stored[artifact.id]:
                queries.clear_suspicion(connection, artifact.id)
                stored[artifact.id] = agreed
    sets.record(connection, iteration, named)
    pods.add_artifacts(connection, iteration, {(each.pod_uid, each.id) for each in sent if each.pod_uid})
    return ArtifactBatch(artifacts=tuple(stored[artifact.id] for artifact in sent)), added > 0


def _patch(connection: Connection, artifact: UUID, change: ArtifactPatch) -> Artifact:
    stored = _held(connection, artifact)
    changed = msgspec.structs.replace(
        stored,
        content_type=edited_text(stored.content_type, change.content_type, "content_type"),
        description=edited_text(stored.description, change.description, "description"),
        tags=edited_tags(stored.tags, change.tags),
    )
    if changed != stored:
        queries.describe(connection, changed)
    return changed


def _delete(connection: Connection, artifact: UUID, by: str) -> None:
    found = queries.hold(connection, artifact)
    if found is None:
        raise NotFound(f"there is no artifact {artifact}")
    if found[1] is None:
        _check_writable(connection, found[0].iteration_id)
        if protection.kept_artifacts(connection, [artifact]):
            raise Conflict(f"a version of a model needs artifact {artifact}", hint="purge the version first")
        holds.check_artifact(connection, artifact)
        queries.set_deleted(connection, artifact, now(), by)


def _held(connection: Connection, artifact: UUID) -> Artifact:
    found = queries.hold(connection, artifact)
    if found is not None:
        queries.check_kept(found[0])
    if found is None or found[1] is not None:
        raise NotFound(f"there is no artifact {artifact}")
    _check_writable(connection, found[0].iteration_id)
    return found[0]


def _check_writable(connection: Connection, iteration: UUID) -> None:
    standing = iterations.standing(connection, iteration)
    if standing is None:
        raise IterationNotFound(iteration)
    standing.check_writable()


def _checked(iteration: UUID, artifact: Artifact, by: str, field: str) -> Artifact:
    """`artifact` as it may be stored. Raises Invalid."""
    if artifact.iteration_id != iteration:
        raise Invalid("the artifact belongs to another iteration", field=f"{field}.iteration_id")
    if artifact.id != ids.artifact_id(iteration, artifact.path, artifact.sha256):
        raise Invalid(
            "this path and content have another id",
            field=f"{field}.id",
            hint="the id is the UUIDv5 of `<sha256>:<path>` in the name space of the iteration's id",
        )
    check_path(artifact.path, f"{field}.path")
    check_text(artifact.description, f"{field}.description")
    check_tags(artifact.tags)
    check_text(artifact.pod_uid, f"{field}.pod_uid")
    check_number(artifact.size, f"{field}.size")
    if artifact.stored is not None:
        check_number(artifact.stored.size, f"{field}.stored.size")
    location = artifact.location
    for text in (location.endpoint, location.region, location.bucket, location.key):
        check_text(text, f"{field}.location")
    check_text(artifact.etag, f"{field}.etag")
    check_text(artifact.description, f"{field}.description")
    check_tags(artifact.tags)
    if len(location.key.encode()) > MAX_KEY_BYTES:
        raise Invalid(f"a key has at most {MAX_KEY_BYTES} bytes", field=f"{field}.location.key")
    return msgspec.structs.replace(
        artifact, modified_at=utc(artifact.modified_at, f"{field}.modified_at"), version=None, created_by=by
    )


def check_path(path: str, field: str) -> None:
    """Raise Invalid unless it is the path of an artifact."""
    check_text(path, field)
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise Invalid("a path is relative to the volume, without empty parts, '.' and '..'", field=field)


def _check_objects(connection: Connection, sent: Sequence[Artifact]) -> None:
    """Raise Invalid when what lies elsewhere than in a bucket would be new; what was uploaded may come again."""
    elsewhere = {artifact.id for artifact in sent if artifact.location.backend is not Backend.S3}
    there = queries.find_all(connection, elsewhere) if elsewhere else {}
    for index, artifact in enumerate(sent):
        stored = there.get(artifact.id)
        if artifact.id in elsewhere and (stored is None or stored.location != artifact.location):
            raise Invalid(
                "only an object can be registered",
                field=f"artifacts[{index}].location.backend",
                hint="upload the file",
            )


def _check_shared(connection: Connection, iteration: UUID, artifacts: Mapping[UUID, Artifact]) -> None:
    """Raise ObjectNotRecorded when a new row would point at an object that holds no such content of its experiment."""
    sharing = {
        key: each
        for key, each in artifacts.items()
        if not ids.is_own_key(each.location.key, key, each.stored.sha256 if each.stored else "")
    }
    if not sharing:
        return
    experiment = iterations.experiment(connection, iteration)
    there = queries.find_all(connection, sharing)
    for artifact in sharing.values():
        if artifact.id in there:
            continue
        user, its_experiment = queries.find_user(connection, artifact.location) or (None, None)
        if user is None or its_experiment != experiment or _object(user) != _object(artifact):
            raise ObjectNotRecorded(
                f"artifact {artifact.id} points at an object that is not recorded with its content",
                hint="upload the content under the artifact's own key",
            )


def _object(artifact: Artifact) -> tuple[object, ...]:
    """What artifacts that share an object have in common."""
    location = artifact.location
    content = artifact.sha256, artifact.size, artifact.crc32c
    return *content, artifact.stored, location.endpoint, location.bucket, location.key


def _agreed(stored: Artifact, sent: Artifact, field: str) -> Artifact:
    """What is stored when `sent` comes to `stored`, both of one id. Raises Conflict when they can't both be true."""
    for fact in ("size", "crc32c"):
        if getattr(stored, fact) != getattr(sent, fact):
            raise Conflict(
                f"artifact {sent.id} has the {fact} {getattr(stored, fact)}, not {getattr(sent, fact)}",
                field=f"{field}.{fact}",
                hint="one SHA-256 means one content; compute the digests again",
            )
    if stored.suspect and not sent.suspect:
        return msgspec.structs.replace(stored, suspect=False)
    return stored
