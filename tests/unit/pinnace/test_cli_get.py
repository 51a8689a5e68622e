"""`pinnace get` against an API and an S3 server over HTTP: the file is whole and right, or it isn't there."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result

from pinnace import ids
from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.records import Artifact, Location
from pinnace.stores.memory import MemoryStore
from pinnace.stores.retrieval import DigestMismatch, retrieve
from pinnace.stores.store import ObjectInfo, Sink, StoreUnreachable
from support.canned_api import CannedApi, canned_api
from support.environment import without_settings
from support.s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, s3_server
from support.store_content import compressed, digest_of, put_bytes, stored_as

CONTENT = b"weights " * 50_000


@pytest.fixture
def api() -> Iterator[CannedApi]:
    with canned_api() as running:
        yield running


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(autouse=True)
def environment(api: CannedApi, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    monkeypatch.setenv("PINNACE_API_URL", api.url)
    monkeypatch.setenv("PINNACE_API_TOKEN", api.token)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.chdir(tmp_path)


def artifact_of(content: bytes, *, endpoint: str = "", path: str = "out/model.pt") -> Artifact:
    digest = digest_of(content)
    identity = uuid4()
    return Artifact(
        id=identity,
        iteration_id=uuid4(),
        path=path,
        size=digest.size,
        sha256=digest.sha256,
        crc32c=digest.crc32c,
        location=Location(endpoint=endpoint, region=REGION, bucket="bucket", key=ids.object_key("runs", identity)),
        modified_at=datetime.now(UTC),
    )


@pytest.fixture
def artifact(api: CannedApi, s3: S3Server) -> Artifact:
    """One that is recorded in the API and lies in the store."""
    row = artifact_of(CONTENT, endpoint=s3.endpoint)
    api.records = {f"/artifacts/{row.id}": row}
    with s3.lock:
        s3._store(row.location.key, CONTENT, row.crc32c)
    return row


def without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["get", *arguments])


def test_the_bytes_arrive_under_the_name_that_was_given(artifact: Artifact, tmp_path: Path) -> None:
    result = run(str(artifact.id), "-o", "here.bin")
    assert result.exit_code == Exit.OK, result.output
    assert (tmp_path / "here.bin").read_bytes() == CONTENT
    assert artifact.sha256 in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["here.bin"]


def test_the_default_name_is_the_artifacts_own(artifact: Artifact, tmp_path: Path) -> None:
    assert run(str(artifact.id)).exit_code == Exit.OK
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


def test_a_folder_takes_the_artifact_under_its_own_name(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert run(str(artifact.id), "-o", "folder").exit_code == Exit.OK
    assert (tmp_path / "folder/model.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["a/..", "..", "a/\x1b[2J"])
def test_a_path_that_makes_no_file_name_becomes_the_id(api: CannedApi, artifact: Artifact, path: str) -> None:
    api.records = {f"/artifacts/{artifact.id}": msgspec.structs.replace(artifact, path=path)}
    assert run(str(artifact.id)).exit_code == Exit.OK
    assert Path(str(artifact.id)).read_bytes() == CONTENT


def test_json_says_what_was_downloaded(artifact: Artifact) -> None:
    result = run(str(artifact.id), "-o", "here", "--json")
    assert json.loads(result.stdout) == {
        "artifact": str(artifact.id),
        "file": "here",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }


def test_an_endpoint_inside_the_cluster_can_be_overridden(
    api: CannedApi, s3: S3Server, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = msgspec.structs.replace(artifact.location, endpoint="http://minio.minio.svc.invalid:9000")
    api.records = {f"/artifacts/{artifact.id}": msgspec.structs.replace(artifact, location=inside)}
    assert run(str(artifact.id), "-o", "none").exit_code == Exit.STORE
    assert run(str(artifact.id), "-o", "option", "--endpoint", s3.endpoint).exit_code == Exit.OK
    monkeypatch.setenv("PINNACE_STORE_ENDPOINT", s3.endpoint)
    assert run(str(artifact.id), "-o", "environment").exit_code == Exit.OK


def test_an_existing_file_is_kept_unless_forced(artifact: Artifact, s3: S3Server) -> None:
    here = Path("here")
    here.write_text("mine")
    result = run(str(artifact.id), "-o", "here")
    assert result.exit_code == Exit.FILE
    assert "--force" in result.stderr
    assert here.read_text() == "mine"
    assert s3.counts["Get"] == 0
    assert run(str(artifact.id), "-o", "here", "--force").exit_code == Exit.OK
    assert here.read_bytes() == CONTENT


@pytest.mark.parametrize("held", [CONTENT[:-1] + b"X", CONTENT[:-1], CONTENT + b"X", b""])
def test_other_bytes_than_recorded_leave_no_file(s3: S3Server, artifact: Artifact, tmp_path: Path, held: bytes) -> None:
    with s3.lock:
        s3._store(artifact.location.key, held, None)
    result = run(str(artifact.id), "-o", "here")
    assert result.exit_code == Exit.DIGEST
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_than_recorded_leave_the_old_file_when_forced(s3: S3Server, artifact: Artifact) -> None:
    Path("here").write_text("mine")
    with s3.lock:
        s3._store(artifact.location.key, b"other", None)
    assert run(str(artifact.id), "-o", "here", "--force").exit_code == Exit.DIGEST
    assert Path("here").read_text() == "mine"


def test_an_object_that_is_gone_is_an_error_of_the_store(s3: S3Server, artifact: Artifact, tmp_path: Path) -> None:
    with s3.lock:
        s3.objects.clear()
    result = run(str(artifact.id), "-o", "here")
    assert result.exit_code == Exit.STORE
    assert "NoSuchKey" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_wrong_credentials_are_an_error_of_the_store_with_a_hint(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    result = run(str(artifact.id))
    assert result.exit_code == Exit.STORE
    assert "SignatureDoesNotMatch" in result.stderr
    assert "Hint: " in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("option", [True, False])
def test_without_credentials_for_the_store_that_was_named_it_is_an_error_of_the_store(
    s3: S3Server, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, option: bool
) -> None:
    without_credentials(monkeypatch)
    if not option:
        monkeypatch.setenv("PINNACE_STORE_ENDPOINT", s3.endpoint)
    result = run(str(artifact.id), *(("--endpoint", s3.endpoint) if option else ()))
    assert result.exit_code == Exit.STORE
    assert "AWS_ACCESS_KEY_ID" in result.stderr


def test_without_any_credentials_the_api_is_asked_and_what_else_would_help_is_said(
    api: CannedApi, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_credentials(monkeypatch)
    result = run(str(artifact.id))
    assert result.exit_code == Exit.NOT_FOUND
    assert api.requests[-1] == f"/api/v1/artifacts/{artifact.id}/bytes"
    assert "AWS_ACCESS_KEY_ID" in result.stderr


def test_a_store_that_is_out_of_reach_can_be_gone_round(api: CannedApi, artifact: Artifact) -> None:
    inside = msgspec.structs.replace(artifact.location, endpoint="http://minio.minio.svc.invalid:9000")
    api.records = {f"/artifacts/{artifact.id}": msgspec.structs.replace(artifact, location=inside)}
    assert "--through-api" in run(str(artifact.id)).stderr
    run(str(artifact.id), "--through-api")
    assert api.requests[-1] == f"/api/v1/artifacts/{artifact.id}/bytes"


def test_credentials_may_come_from_a_folder(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "AWS_ACCESS_KEY_ID").write_text(ACCESS_KEY)
    (folder / "AWS_SECRET_ACCESS_KEY").write_text(SECRET_KEY)
    monkeypatch.setenv("PINNACE_STORE_CREDENTIALS_DIR", str(folder))
    assert run(str(artifact.id), "-o", "here").exit_code == Exit.OK


def test_an_artifact_that_is_not_recorded_is_not_found() -> None:
    assert run(str(uuid4())).exit_code == Exit.NOT_FOUND


def test_what_is_no_id_is_an_error_of_usage() -> None:
    assert run("model.pt").exit_code == Exit.USAGE


def test_a_folder_that_is_not_there_is_an_error_of_the_file(artifact: Artifact) -> None:
    result = run(str(artifact.id), "-o", "missing/here")
    assert result.exit_code == Exit.FILE
    assert "missing/here" in result.stderr


def test_it_runs_as_a_module_too(artifact: Artifact, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pinnace", "get", str(artifact.id), "-o", "here"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "here").read_bytes() == CONTENT


class Breaking(MemoryStore):
    """Breaks off each answer after `piece` bytes."""

    piece = 1000

    def get(self, key: str, sink: Sink, *, start: int = 0, size: int | None = None) -> ObjectInfo:
        rest = len(self.contents()[key]) - start
        info = super().get(key, sink, start=start, size=min(self.piece, rest) or None)
        if rest > self.piece:
            raise StoreUnreachable("broken off")
        return info


def test_an_answer_that_breaks_off_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    content = os.urandom(5500)
    row = artifact_of(content)
    store = Breaking()
    put_bytes(store, row.location.key, content)
    advanced: list[int] = []
    retrieve(store, row, tmp_path / "file", replace=False, advanced=advanced.append)
    assert (tmp_path / "file").read_bytes() == content
    assert advanced == [1000] * 5 + [500]


def test_an_answer_that_brings_nothing_is_not_asked_for_again(tmp_path: Path) -> None:
    row = artifact_of(CONTENT)
    store = MemoryStore()
    put_bytes(store, row.location.key, CONTENT)
    store.fail_next(StoreUnreachable("away"))
    with pytest.raises(StoreUnreachable):
        retrieve(store, row, tmp_path / "file", replace=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    row = artifact_of(CONTENT)
    store = MemoryStore()
    put_bytes(store, row.location.key, CONTENT)
    target = tmp_path / "file"
    with pytest.raises(Exception, match="exists"):
        retrieve(store, row, target, replace=False, advanced=lambda _: void(target.write_text("theirs")))
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def void(_: object) -> None:
    return


def test_an_empty_artifact_is_an_empty_file(tmp_path: Path) -> None:
    row = artifact_of(b"")
    store = MemoryStore()
    put_bytes(store, row.location.key, b"")
    retrieve(store, row, tmp_path / "file", replace=False)
    assert (tmp_path / "file").read_bytes() == b""


def test_a_mismatch_names_both_digests(tmp_path: Path) -> None:
    row = artifact_of(b"expected")
    store = MemoryStore()
    put_bytes(store, row.location.key, b"got this")
    with pytest.raises(DigestMismatch) as caught:
        retrieve(store, row, tmp_path / "file", replace=False)
    assert row.sha256 in str(caught.value)
    assert hashlib.sha256(b"got this").hexdigest() in str(caught.value)


# --- compressed in the store


@pytest.fixture
def packed(api: CannedApi, s3: S3Server, artifact: Artifact) -> Artifact:
    """The artifact, compressed in the store."""
    frame = compressed(CONTENT)
    row = msgspec.structs.replace(artifact, stored=stored_as(frame))
    api.records = {f"/artifacts/{row.id}": row}
    with s3.lock:
        s3._store(row.location.key, frame, None)
    return row


def test_what_lies_compressed_is_unpacked(packed: Artifact, tmp_path: Path) -> None:
    result = run(str(packed.id), "-o", "here")
    assert result.exit_code == Exit.OK, result.output
    assert (tmp_path / "here").read_bytes() == CONTENT
    assert packed.sha256 in result.stdout


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (compressed(CONTENT)[:-1], "compressed bytes instead of"),
        (compressed(CONTENT)[:40], "bytes instead of"),
        (compressed(CONTENT[:-1] + b"X"), "compressed bytes instead of"),
        (compressed(CONTENT[:-1]), "bytes instead of"),
        (compressed(CONTENT + b"X"), f"more than {len(CONTENT)} bytes"),
        (compressed(bytes(2**28)), f"more than {len(CONTENT)} bytes"),
        (compressed(CONTENT) + b"X", "compressed bytes instead of"),
        (CONTENT, "no zstd frame"),
        (b"", "bytes instead of"),
    ],
    ids=["no checksum", "cut off", "other content", "less", "more", "bomb", "something behind it", "plain", "nothing"],
)
def test_a_frame_that_is_not_the_recorded_one_leaves_no_file(
    s3: S3Server, packed: Artifact, tmp_path: Path, held: bytes, said: str
) -> None:
    with s3.lock:
        s3._store(packed.location.key, held, None)
    result = run(str(packed.id), "-o", "here")
    assert result.exit_code == Exit.DIGEST, result.output
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


class BreaksOff:
    """Gives a third of what is asked for, then an error."""

    def __init__(self, held: bytes) -> None:
        self.held = held
        self.starts: list[int] = []

    def get(self, key: str, sink: Sink, *, start: int = 0, size: int | None = None) -> ObjectInfo:
        self.starts.append(start)
        sink.write(memoryview(self.held)[start : start + len(self.held) // 3])
        raise StoreUnreachable("broke off")


def test_a_frame_that_breaks_off_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    frame = compressed(CONTENT)
    row = msgspec.structs.replace(artifact_of(CONTENT), stored=stored_as(frame))
    store = BreaksOff(frame)
    retrieve(store, row, tmp_path / "here", replace=False)
    assert (tmp_path / "here").read_bytes() == CONTENT
    assert store.starts[:3] == [0, len(frame) // 3, 2 * (len(frame) // 3)]
