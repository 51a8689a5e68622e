"""What the sidecar relies on in the metadata API: the one in memory that its tests use, and the real one over HTTP."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace import ids
from pinnace.client import Conflict, Forbidden, Invalid, NotFound
from pinnace.digests import manifest_sha256
from pinnace.naming import MANIFEST_NAME
from pinnace.records import (
    Artifact,
    Content,
    ContentQuery,
    ExperimentWrite,
    IterationWrite,
    Location,
    Manifest,
    MetricPoint,
    PodReport,
    WriterEnd,
)
from pinnace_sidecar.api_calls import Api
from support.api_server import ApiServer, api_server
from support.fake_api import FakeApi
from support.postgres_server import PostgresServer

POD = "pod-1"


@dataclass(frozen=True, slots=True)
class Subject:
    """An API that knows one iteration, and how to change the pod's writers."""

    api: Api
    iteration: UUID
    server: ApiServer | FakeApi

    def end_writers(self, ended: WriterEnd) -> None:
        if isinstance(self.server, FakeApi):
            self.server.ended = ended
        else:
            self.server.cluster.end_writers(namespace="ml", pod_uid=POD, ended=ended)


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "sqlite":
        return {}
    server: PostgresServer = request.getfixturevalue("postgres")
    return {"database_url": server.create_database()}


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    experiment = uuid4()
    iteration = ids.iteration_id(experiment, 0)
    if request.param == "memory":
        fake = FakeApi()
        fake.iterations = {iteration}
        yield Subject(fake, iteration, fake)
        return
    with api_server(tmp_path, **_settings(request)) as server:
        admin = server.admin()
        admin.put_experiment(experiment, ExperimentWrite(project="p", name="n", namespace="ml"))
        admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        yield Subject(server.sidecar(iteration, namespace="ml", pod_uid=POD), iteration, server)


def artifact(iteration: UUID, path: str = "model", content: bytes = b"weights", *, suspect: bool = False) -> Artifact:
    sha256 = hashlib.sha256(content).hexdigest()
    id_ = ids.artifact_id(iteration, path, sha256)
    return Artifact(
        id=id_,
        iteration_id=iteration,
        path=path,
        size=len(content),
        sha256=sha256,
        crc32c="AAAAAA==",
        location=Location(endpoint="", region="us-east-1", bucket="bucket", key=ids.object_key("", id_)),
        modified_at=datetime(2026, 1, 1, tzinfo=UTC),
        suspect=suspect,
        pod_uid=POD,
    )


def test_a_row_sent_twice_is_one_row(subject: Subject) -> None:
    row = artifact(subject.iteration)
    (first,) = subject.api.put_artifacts(subject.iteration, [row])
    (again,) = subject.api.put_artifacts(subject.iteration, [row])
    assert first == again
    assert msgspec.structs.replace(first, recorded_at=None, created_by="") == row


def test_a_suspect_row_is_cleared_and_never_the_other_way(subject: Subject) -> None:
    suspect, sound = (artifact(subject.iteration, suspect=flag) for flag in (True, False))
    (stored,) = subject.api.put_artifacts(subject.iteration, [suspect])
    assert stored.suspect
    for row in (sound, suspect):
        (stored,) = subject.api.put_artifacts(subject.iteration, [row])
        assert not stored.suspect


def test_one_wrong_id_refuses_the_whole_batch(subject: Subject) -> None:
    wrong = msgspec.structs.replace(artifact(subject.iteration, "other"), id=uuid4())
    with pytest.raises(Invalid):
        subject.api.put_artifacts(subject.iteration, [artifact(subject.iteration), wrong])
    standing = subject.api.put_pod_report(report(subject.iteration))
    assert standing.recorded.count == 0


def test_a_set_comes_with_its_manifest_and_stays(subject: Subject) -> None:
    one, two = (artifact(subject.iteration, f"step/{path}") for path in "ab")
    manifest = artifact(subject.iteration, f"step/{MANIFEST_NAME}")
    with pytest.raises(Invalid):
        subject.api.put_artifacts(subject.iteration, [manifest], {manifest.id: [one.id]})
    for _ in range(2):
        subject.api.put_artifacts(subject.iteration, [one, two, manifest], {manifest.id: [one.id]})
    with pytest.raises(Conflict):
        subject.api.put_artifacts(subject.iteration, [manifest], {manifest.id: [two.id]})
    subject.api.put_artifacts(subject.iteration, [manifest])
    assert subject.api.put_pod_report(report(subject.iteration)).recorded.count == 3


def test_points_sent_twice_are_there_once(subject: Subject) -> None:
    values: list[float | str] = [0.5, "NaN", "-Infinity"]
    points = [
        MetricPoint(key="loss", step=step, value=value, source=f"{POD}:metrics.jsonl", offset=10 * step)
        for step, value in enumerate(values)
    ]
    receipts = [subject.api.put_metrics(subject.iteration, points) for _ in range(2)]
    assert [(receipt.added, receipt.present) for receipt in receipts] == [(3, 0), (0, 3)]


def test_a_report_is_answered_with_what_the_api_holds_of_the_pod(subject: Subject) -> None:
    rows = [artifact(subject.iteration, path) for path in ("a", "b")]
    subject.api.put_artifacts(subject.iteration, rows)
    standing = subject.api.put_pod_report(report(subject.iteration))
    expected = Manifest(count=2, sha256=manifest_sha256(row.id for row in rows))
    assert (standing.pod_uid, standing.recorded, standing.bytes_recorded) == (POD, expected, 14)


def test_a_pod_is_told_what_it_registered_and_nothing_else(subject: Subject) -> None:
    rows = [artifact(subject.iteration, path) for path in ("a", "b")]
    subject.api.put_artifacts(subject.iteration, rows)
    other = subject.api
    if isinstance(subject.server, ApiServer):
        other = subject.server.sidecar(subject.iteration, namespace="ml", pod_uid="pod-2")
    theirs = [msgspec.structs.replace(artifact(subject.iteration, path), pod_uid="pod-2") for path in ("b", "c")]
    other.put_artifacts(subject.iteration, theirs)
    held = list(subject.api.pod_artifacts(subject.iteration, POD))
    assert sorted(row.path for row in held) == ["a", "b"]
    assert sorted(row.path for row in other.pod_artifacts(subject.iteration, "pod-2")) == ["b", "c"]
    if isinstance(subject.server, ApiServer):
        with pytest.raises(Forbidden):
            list(subject.api.pod_artifacts(subject.iteration, "pod-2"))


def test_content_that_is_recorded_may_be_shared(subject: Subject) -> None:
    row, other = artifact(subject.iteration), artifact(subject.iteration, content=b"other")
    subject.api.put_artifacts(subject.iteration, [msgspec.structs.replace(row, etag="etag")])
    held = tuple(Content(size=each.size, sha256=each.sha256, crc32c=each.crc32c) for each in (row, other))
    query = ContentQuery(endpoint="", bucket="bucket", contents=held)
    (found,) = subject.api.recorded_contents(subject.iteration, query)
    assert (found.sha256, found.location, found.etag) == (row.sha256, row.location, "etag")
    copy = msgspec.structs.replace(artifact(subject.iteration, "copy"), location=found.location)
    (stored,) = subject.api.put_artifacts(subject.iteration, [copy])
    assert stored.location == row.location
    wrong = msgspec.structs.replace(artifact(subject.iteration, "wrong", b"other"), location=found.location)
    with pytest.raises(Conflict) as refused:
        subject.api.put_artifacts(subject.iteration, [wrong])
    assert refused.value.code == "object-not-recorded"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def early(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Api, UUID]]:
    """The API as a sidecar finds it that is earlier than the operator: without its iteration."""
    iteration = uuid4()
    if request.param == "memory":
        fake = FakeApi()
        fake.iterations = set()
        yield fake, iteration
        return
    with api_server(tmp_path, **_settings(request)) as server:
        yield server.sidecar(iteration, namespace="ml", pod_uid=POD), iteration


def test_an_iteration_that_is_not_there_yet_has_its_own_code(early: tuple[Api, UUID]) -> None:
    api, iteration = early
    calls: tuple[Callable[[], object], ...] = (
        lambda: api.put_artifacts(iteration, [artifact(iteration)]),
        lambda: api.put_metrics(iteration, [MetricPoint(key="a", step=1, value=1.0)]),
        lambda: api.put_pod_report(report(iteration)),
        lambda: api.writers(iteration, POD),
        lambda: api.recorded_contents(iteration, ContentQuery(endpoint="", bucket="b", contents=())),
        lambda: list(api.pod_artifacts(iteration, POD)),
    )
    for call in calls:
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.code == "iteration-not-found"


@pytest.mark.parametrize("ended", list(WriterEnd))
def test_the_end_of_the_writers_is_told(subject: Subject, ended: WriterEnd) -> None:
    subject.end_writers(ended)
    assert subject.api.writers(subject.iteration, POD).ended is ended


def report(iteration: UUID) -> PodReport:
    return PodReport(iteration_id=iteration, pod_uid=POD, sequence=1, manifest=Manifest(count=0, sha256="0" * 64))
