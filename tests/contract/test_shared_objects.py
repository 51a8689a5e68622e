"""Artifacts that share an object: who is told of it, who may point at it, and that none loses bytes by another row."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3
from sqlalchemy import delete

from pinnace import ids
from pinnace.client import Client, Conflict, Forbidden, Invalid, NotFound
from pinnace.records import (
    Artifact,
    Content,
    ContentQuery,
    ExperimentWrite,
    IterationWrite,
    ProblemDetails,
    RecordedContent,
    Stored,
)
from pinnace_api.artifacts import queries
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.database import Connection, Database
from pinnace_api.pods.tables import POD_ARTIFACTS
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.samples import MOMENT, artifact
from support.store_content import stored_as


@dataclass(frozen=True)
class World:
    """An experiment with two iterations and another experiment of the same namespace; sidecars of each."""

    api: ApiServer
    first: UUID
    second: UUID
    stranger: UUID

    def sidecar(self, iteration: UUID) -> Client:
        return self.api.sidecar(iteration, namespace="ml", pod_uid=f"pod-of-{iteration}")

    def find(self, asker: UUID, *held: Artifact) -> tuple[RecordedContent, ...]:
        return self.sidecar(asker).recorded_contents(asker, query(*held))

    def register(self, row: Artifact) -> Artifact:
        row = msgspec.structs.replace(row, pod_uid=f"pod-of-{row.iteration_id}")
        (stored,) = self.sidecar(row.iteration_id).put_artifacts(row.iteration_id, [row])
        return stored


@pytest.fixture
def world(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[World]:
    with api_server(tmp_path, database_url=new_database()) as api:
        admin = api.admin()
        iterations = []
        for experiment, name in ((uuid4(), "ours"), (uuid4(), "theirs")):
            admin.put_experiment(experiment, ExperimentWrite(project="p", name=name, namespace="ml"))
            for index in range(2):
                iteration = ids.iteration_id(experiment, index)
                admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=index))
                iterations.append(iteration)
        yield World(api, *iterations[:3])


@pytest.fixture
def database(world: World) -> Iterator[Database]:
    """The API's own, from beside it: as whatever removes rows will see it."""
    database = Database(world.api.settings.database_url)
    yield database
    database.close()


def query(*held: Artifact) -> ContentQuery:
    location = held[0].location
    contents = tuple(Content(size=each.size, sha256=each.sha256, crc32c=each.crc32c) for each in held)
    return ContentQuery(endpoint=location.endpoint, bucket=location.bucket, contents=contents)


def sharing(iteration: UUID, object_of: Artifact, path: str = "copy.bin", content: bytes = b"content") -> Artifact:
    return artifact(iteration, path, content, location=object_of.location)


def remove(database: Database, row: Artifact) -> None:
    def transaction(connection: Connection) -> None:
        connection.execute(delete(POD_ARTIFACTS).where(POD_ARTIFACTS.c.artifact_id == row.id))
        connection.execute(delete(ARTIFACTS).where(ARTIFACTS.c.id == row.id))

    database.write(transaction)


def is_needed(database: Database, row: Artifact) -> bool:
    return database.write(queries.find_user, row.location) is not None


def test_content_of_the_same_experiment_is_told_of_and_shared(world: World) -> None:
    original = world.register(artifact(world.first, etag="the-etag"))
    (found,) = world.find(world.second, sharing(world.second, original), artifact(world.second, content=b"other"))
    assert (found.sha256, found.location, found.etag) == (original.sha256, original.location, "the-etag")
    copy = world.register(artifact(world.second, "copy.bin", location=found.location, etag=found.etag))
    assert copy.id != original.id
    assert copy.location == original.location


def test_another_experiment_is_told_nothing_and_may_not_point_there(world: World) -> None:
    original = world.register(artifact(world.first))
    assert world.find(world.stranger, original) == ()
    with pytest.raises(Conflict) as refused:
        world.register(sharing(world.stranger, original))
    assert refused.value.code == "object-not-recorded"


@pytest.mark.parametrize("guess", [{"size": 8}, {"crc32c": "AAAAAA=="}])
def test_who_knows_the_sha256_alone_is_told_nothing(world: World, guess: dict[str, object]) -> None:
    original = world.register(artifact(world.first))
    assert world.find(world.second, msgspec.structs.replace(original, **guess)) == ()


@pytest.mark.parametrize("elsewhere", [{"bucket": "other-bucket"}, {"endpoint": "http://127.0.0.1:9001"}])
def test_objects_elsewhere_are_not_told_of(world: World, elsewhere: dict[str, str]) -> None:
    original = world.register(artifact(world.first))
    location = msgspec.structs.replace(original.location, **elsewhere)
    assert world.find(world.second, msgspec.structs.replace(original, location=location)) == ()
    with pytest.raises(Conflict):
        world.register(artifact(world.second, location=location))


def test_a_pod_asks_for_its_own_iteration_only(world: World) -> None:
    with pytest.raises(Forbidden):
        world.sidecar(world.first).recorded_contents(world.second, query(artifact(world.first)))
    with pytest.raises(Forbidden):
        world.api.operator().recorded_contents(world.first, query(artifact(world.first)))
    with pytest.raises(NotFound):
        world.api.admin().recorded_contents(uuid4(), query(artifact(world.first)))


def test_each_content_is_answered_once_however_many_have_it(world: World) -> None:
    original = world.register(artifact(world.first))
    for number in range(3):
        world.register(sharing(world.second, original, f"copy-{number}"))
    assert [found.location for found in world.find(world.second, original, original)] == [original.location]


def test_a_row_can_not_point_at_an_object_with_other_content(world: World) -> None:
    original = world.register(artifact(world.first))
    with pytest.raises(Conflict):
        world.register(sharing(world.second, original, content=b"something else"))


def test_a_refused_row_takes_its_whole_batch_along(world: World) -> None:
    sound, wrong = artifact(world.second, "sound"), sharing(world.second, artifact(world.first))
    with pytest.raises(Conflict):
        world.api.admin().put_artifacts(world.second, [sound, wrong])
    assert list(world.api.admin().iteration_artifacts(world.second)) == []


def test_a_row_that_is_there_stays_whatever_object_it_is_sent_with(world: World) -> None:
    original = world.register(artifact(world.first))
    shared = world.register(sharing(world.second, original))
    again = world.register(artifact(world.second, "copy.bin"))
    assert again == shared
    assert world.register(original) == original


def test_an_object_is_needed_as_long_as_any_row_points_at_it(world: World, database: Database) -> None:
    original = world.register(artifact(world.first))
    copies = [world.register(sharing(world.second, original, f"copy-{number}")) for number in range(2)]
    needed = []
    for row in (original, *copies):
        remove(database, row)
        needed.append(is_needed(database, original))
    assert needed == [True, True, False]


def test_what_was_collected_between_the_answer_and_the_row_is_refused(world: World, database: Database) -> None:
    original = world.register(artifact(world.first))
    (found,) = world.find(world.second, original)
    remove(database, original)
    assert not is_needed(database, original)
    late = artifact(world.second, "copy.bin", location=found.location)
    with pytest.raises(Conflict) as refused:
        world.register(late)
    assert refused.value.code == "object-not-recorded"
    own = world.register(artifact(world.second, "copy.bin"))
    assert ids.is_own_key(own.location.key, own.id)


def test_a_row_that_vouches_can_not_go_before_the_row_it_vouches_for_is_there(world: World, database: Database) -> None:
    original = world.register(artifact(world.first))
    copy = msgspec.structs.replace(sharing(world.second, original), recorded_at=MOMENT)
    other = Database(world.api.settings.database_url)
    remover = threading.Thread(target=remove, args=(other, original))

    def register(connection: Connection) -> None:
        assert queries.find_user(connection, original.location)
        remover.start()
        remover.join(0.5)
        assert remover.is_alive()
        queries.add(connection, [copy])

    try:
        database.write(register)
        remover.join(10)
        assert not remover.is_alive()
        with database.read() as connection:
            assert queries.find_all(connection, [original.id]) == {}
        assert is_needed(database, original)
    finally:
        other.close()


def test_a_row_whose_original_was_removed_vouches_for_further_ones(world: World, database: Database) -> None:
    original = world.register(artifact(world.first))
    world.register(sharing(world.second, original, "copy-0"))
    remove(database, original)
    (found,) = world.find(world.first, original)
    world.register(artifact(world.first, "later", location=found.location))
    assert is_needed(database, original)


def test_a_key_that_no_store_takes_is_refused(world: World) -> None:
    row = artifact(world.first)
    key = f"{'ü' * 500}/{row.location.key}"
    with pytest.raises(Invalid):
        world.register(msgspec.structs.replace(row, location=msgspec.structs.replace(row.location, key=key)))


# --- compressed


def packed(iteration: UUID, path: str = "model.bin", content: bytes = b"content", frame: bytes = b"frame") -> Artifact:
    """An artifact whose own object holds this frame."""
    row = artifact(iteration, path, content, stored=stored_as(frame))
    location = msgspec.structs.replace(row.location, key=ids.object_key("", row.id, stored_as(frame).sha256))
    return msgspec.structs.replace(row, location=location)


def test_what_an_object_holds_is_recorded_told_and_shared(world: World) -> None:
    original = world.register(packed(world.first))
    assert original.stored == stored_as(b"frame")
    assert world.api.admin().artifact(original.id) == original
    (found,) = world.find(world.second, original)
    assert (found.size, found.stored) == (len(b"content"), stored_as(b"frame"))
    copy = sharing(world.second, original)
    assert world.register(msgspec.structs.replace(copy, stored=found.stored)).stored == found.stored


@pytest.mark.parametrize("claimed", [None, stored_as(b"another frame")])
def test_who_shares_an_object_says_what_it_holds(world: World, claimed: Stored | None) -> None:
    original = world.register(packed(world.first))
    with pytest.raises(Conflict) as refused:
        world.register(msgspec.structs.replace(sharing(world.second, original), stored=claimed))
    assert refused.value.code == "object-not-recorded"


def test_a_key_that_does_not_name_what_the_object_holds_is_nobodys_own(world: World) -> None:
    row = packed(world.first)
    for wrong in (
        msgspec.structs.replace(row, stored=None),
        msgspec.structs.replace(row, stored=stored_as(b"another frame")),
        artifact(world.first, stored=stored_as(b"frame")),
    ):
        with pytest.raises(Conflict):
            world.register(wrong)


def test_the_first_that_was_recorded_stays(world: World) -> None:
    first = world.register(packed(world.first))
    again = world.register(packed(world.first, frame=b"of another release"))
    assert (again.stored, again.location) == (first.stored, first.location)


@pytest.mark.parametrize(
    ("name", "value"),
    [("encoding", "gzip"), ("size", -1), ("size", 2**63), ("sha256", "short"), ("crc32c", "no"), ("crc32c", None)],
)
def test_what_makes_no_sense_is_refused_with_its_field(world: World, name: str, value: object) -> None:
    fields = msgspec.to_builtins(packed(world.first))
    fields["stored"][name] = value
    answer = urllib3.request(
        "PUT",
        f"{world.api.url}/api/v1/iterations/{world.first}/artifacts",
        headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        json={"artifacts": [fields]},
    )
    problem = msgspec.json.decode(answer.data, type=ProblemDetails)
    assert (answer.status, problem.field) == (422, f"artifacts[0].stored.{name}")
