"""What may be done with artifacts."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.records import Artifact, ArtifactBatch, ArtifactPage
from pinnace_api.artifacts import queries
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.experiments import queries as experiments
from pinnace_api.iterations import queries as iterations
from pinnace_api.paging import Cut
from pinnace_api.pods import queries as pods
from pinnace_api.refusals import Conflict, ExperimentNotFound, Invalid, IterationNotFound, NotFound
from pinnace_api.values import check_number, check_text, utc


def put(database: Database, iteration: UUID, batch: ArtifactBatch) -> tuple[ArtifactBatch, bool]:
    """Register artifacts, all or nothing; the bool says whether any was new.

    One that is there stays as it is, but for two things: it also becomes its new pod's, and it is no longer suspect
    when it comes again as not suspect. Another size or checksum under its id is a Conflict.
    """
    sent = [_checked(iteration, artifact, f"artifacts[{index}]") for index, artifact in enumerate(batch.artifacts)]
    unique: dict[UUID, Artifact] = {}
    for index, artifact in enumerate(sent):
        unique[artifact.id] = _agreed(unique.get(artifact.id, artifact), artifact, f"artifacts[{index}]")
    return database.write(_put, iteration, sent, unique)


def get(database: Database, artifact: UUID) -> Artifact:
    with database.read() as connection:
        found = queries.find_all(connection, [artifact])
    if not found:
        raise NotFound(f"there is no artifact {artifact}")
    return found[artifact]


def page_of_iteration(database: Database, iteration: UUID, cut: Cut) -> ArtifactPage:
    with database.read() as connection:
        if not iterations.exists(connection, iteration):
            raise IterationNotFound(iteration)
        return queries.page_of_iteration(connection, iteration, cut)


def page_of_pod(database: Database, iteration: UUID, pod_uid: str, cut: Cut) -> ArtifactPage:
    """What the pod registered, whoever was first; a pod that nobody heard of registered nothing."""
    check_text(pod_uid, "pod_uid")
    with database.read() as connection:
        if not iterations.exists(connection, iteration):
            raise IterationNotFound(iteration)
        return queries.page_of_pod(connection, iteration, pod_uid, cut)


def page_of_experiment(database: Database, experiment: UUID, cut: Cut) -> ArtifactPage:
    with database.read() as connection:
        if not experiments.exists(connection, experiment):
            raise ExperimentNotFound(experiment)
        return queries.page_of_experiment(connection, experiment, cut)


def _put(
    connection: Connection, iteration: UUID, sent: Sequence[Artifact], unique: Mapping[UUID, Artifact]
) -> tuple[ArtifactBatch, bool]:
    if not iterations.exists(connection, iteration):
        raise IterationNotFound(iteration)
    moment = now()
    stored = {key: msgspec.structs.replace(artifact, recorded_at=moment) for key, artifact in unique.items()}
    added = queries.add(connection, list(stored.values()))
    if added < len(unique):
        stored = queries.find_all(connection, unique)
        for index, artifact in enumerate(sent):
            agreed = _agreed(stored[artifact.id], artifact, f"artifacts[{index}]")
            if agreed != stored[artifact.id]:
                queries.clear_suspicion(connection, artifact.id)
                stored[artifact.id] = agreed
    pods.add_artifacts(connection, iteration, {(each.pod_uid, each.id) for each in sent if each.pod_uid})
    return ArtifactBatch(artifacts=tuple(stored[artifact.id] for artifact in sent)), added > 0


def _checked(iteration: UUID, artifact: Artifact, field: str) -> Artifact:
    """`artifact` as it may be stored. Raises Invalid."""
    if artifact.iteration_id != iteration:
        raise Invalid("the artifact belongs to another iteration", field=f"{field}.iteration_id")
    if artifact.id != ids.artifact_id(iteration, artifact.path, artifact.sha256):
        raise Invalid(
            "this path and content have another id",
            field=f"{field}.id",
            hint="the id is the UUIDv5 of `<sha256>:<path>` in the name space of the iteration's id",
        )
    if artifact.path.startswith("/") or not {"", ".", ".."}.isdisjoint(artifact.path.split("/")):
        raise Invalid("a path is relative to the volume, without empty parts, '.' and '..'", field=f"{field}.path")
    check_text(artifact.path, f"{field}.path")
    check_text(artifact.pod_uid, f"{field}.pod_uid")
    check_number(artifact.size, f"{field}.size")
    location = artifact.location
    for text in (location.endpoint, location.region, location.bucket, location.key):
        check_text(text, f"{field}.location")
    return msgspec.structs.replace(artifact, modified_at=utc(artifact.modified_at, f"{field}.modified_at"))


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
