"""Copies that go to the API itself, where there is no store: what arrives, what is sent again, and what is said."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO
from uuid import UUID

import pytest

from pinnace import ids
from pinnace.client import Client, Invalid, NotFound, Unavailable, Unexpected, Unreachable
from pinnace.client.errors import ApiError, Forbidden
from pinnace.digests import Digester
from pinnace.records import Artifact, Backend, FileState
from pinnace.stores.store import (
    CorruptContent,
    StoreRefused,
    StoreUnreachable,
    TerminalStoreError,
    TransientStoreError,
)
from pinnace_sidecar.buffer import Buffer
from pinnace_sidecar.crash import never
from pinnace_sidecar.disk import LocalDisk
from pinnace_sidecar.files import Fingerprint
from pinnace_sidecar.journal import JournaledFile
from pinnace_sidecar.store_calls import Acknowledged, CopyDamaged, Failed, Found, Result, Untried
from pinnace_sidecar.transfer import Job, Operation
from pinnace_sidecar.upload_calls import ApiFiles, UploadCalls
from pinnace_sidecar.verification import Compared
from support.files_api import FilesApi, files_api_at

PLACES = [("sqlite", Backend.FILESYSTEM), ("postgresql", Backend.S3)]
MODIFIED_NS = 1_700_000_000_123_456_000


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: f"{place[0]}-{place[1]}")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesApi]:
    with files_api_at(request, tmp_path_factory.mktemp("api")) as made:
        yield made


class OnTheWay:
    """The API's client, with something that happens to bytes on their way."""

    def __init__(self, inner: Client) -> None:
        self._inner = inner
        #: Bytes that arrive before the connection breaks off, once.
        self.breaks_after: int | None = None
        self.damages = False
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def append_to_upload(self, iteration: UUID, upload: UUID, content: BinaryIO, *, offset: int, size: int) -> Any:
        data = content.read(size) if size else b""
        if self.damages:
            data = bytes([data[0] ^ 1]) + data[1:]
        if self.breaks_after is not None:
            data, self.breaks_after = data[: self.breaks_after], None
            self._inner.append_to_upload(iteration, upload, BytesIO(data), offset=offset, size=len(data))
            raise Unreachable("the connection broke off")
        self.sent += len(data)
        return self._inner.append_to_upload(iteration, upload, BytesIO(data), offset=offset, size=len(data))


@dataclass
class Ship:
    """A buffer with copies, and what carries them to the API."""

    api: FilesApi
    folder: Path
    way: OnTheWay

    def copy(self, path: str, content: bytes, *, suspect: bool = False) -> JournaledFile:
        digester = Digester(max(len(content), 1))
        digester.update(content)
        digest = digester.finish()
        id_ = ids.artifact_id(self.api.iteration, path, digest.sha256)
        (self.folder / str(id_)).write_bytes(content)
        return JournaledFile(
            id=1,
            path=path,
            fingerprint=Fingerprint(1, len(content), MODIFIED_NS, 1),
            state=FileState.BUFFERED,
            suspect=suspect,
            settled_at=0.0,
            artifact_id=id_,
            name=str(id_),
            digest=digest,
            upload_id="",
            etag="",
        )

    def do(self, operation: Operation, file: JournaledFile) -> Result:
        # Each time as another process, which knows nothing but the buffer.
        calls = UploadCalls(
            ApiFiles(self.way, self.api.iteration), Buffer(self.folder, 2**30, LocalDisk()), never, monotonic
        )
        (answer,) = calls.call([Job(operation=operation, file=file, key=file.key(""))], 60.0)
        return answer.result

    def row(self, file: JournaledFile) -> Artifact:
        return self.way.artifact(file.artifact_id)  # type: ignore[no-any-return]

    def content(self, file: JournaledFile) -> bytes:
        data = bytearray()
        self.way.get_bytes(file.artifact_id, data.extend)
        return bytes(data)


@pytest.fixture
def ship(api: FilesApi, tmp_path: Path) -> Iterator[Ship]:
    with api.api.admin() as client:
        yield Ship(api, tmp_path, OnTheWay(client))


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_copy_becomes_a_row_with_its_bytes_and_its_time(ship: Ship, size: int) -> None:
    file = ship.copy(f"of/{size} bytes.bin", os.urandom(size))
    assert ship.do(Operation.LOOK, file) == Found()
    assert isinstance(ship.do(Operation.VERIFY, file), Compared)
    done = ship.do(Operation.PUT, file)
    assert isinstance(done, Acknowledged)
    assert (done.verified, done.stored.etag, done.stored.crc32c) == (True, file.digest.sha256, file.digest.crc32c)
    row = ship.row(file)
    assert (row.path, row.size, row.sha256, row.suspect) == (file.path, size, file.digest.sha256, False)
    assert row.modified_at.timestamp() == pytest.approx(MODIFIED_NS / 1e9, abs=1e-5)
    assert hashlib.sha256(ship.content(file)).hexdigest() == file.digest.sha256
    assert ship.do(Operation.VERIFY, file) == Compared("", done_evidence(ship.do(Operation.LOOK, file)))
    assert ship.do(Operation.PUT, file) == done
    assert [each.id for each in ship.way.iteration_artifacts(ship.api.iteration)].count(file.artifact_id) == 1


def done_evidence(result: Result) -> Any:
    assert isinstance(result, Found)
    assert result.etag
    return result.evidence


def test_an_upload_that_broke_off_goes_on_where_it_ended(ship: Ship) -> None:
    content = os.urandom(5_000_000)
    file = ship.copy("large.bin", content)
    ship.way.breaks_after = 4_000_000
    failed = ship.do(Operation.PUT, file)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, StoreUnreachable)
    with pytest.raises(NotFound):
        ship.row(file)
    assert isinstance(ship.do(Operation.PUT, file), Acknowledged)
    assert ship.way.sent == 1_000_000
    assert ship.content(file) == content


def test_what_was_suspect_is_no_longer_when_it_comes_complete(ship: Ship) -> None:
    content = os.urandom(1000)
    suspect, complete = ship.copy("model.bin", content, suspect=True), ship.copy("model.bin", content)
    assert isinstance(ship.do(Operation.PUT, suspect), Acknowledged)
    assert ship.row(suspect).suspect
    assert done_evidence(ship.do(Operation.LOOK, suspect))
    assert ship.do(Operation.LOOK, complete) == Found()
    assert isinstance(ship.do(Operation.PUT, complete), Acknowledged)
    assert not ship.row(complete).suspect
    # And never the other way.
    assert isinstance(ship.do(Operation.PUT, suspect), Acknowledged)
    assert not ship.row(complete).suspect


def test_bytes_that_arrive_wrong_make_no_row_and_are_sent_again(ship: Ship) -> None:
    file = ship.copy("a.bin", os.urandom(1000))
    ship.way.damages = True
    failed = ship.do(Operation.PUT, file)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, CorruptContent)
    with pytest.raises(NotFound):
        ship.row(file)
    ship.way.damages = False
    assert isinstance(ship.do(Operation.PUT, file), Acknowledged)
    assert hashlib.sha256(ship.content(file)).hexdigest() == file.digest.sha256


def test_a_copy_that_rotted_or_is_gone_is_said_to_be(ship: Ship) -> None:
    rotten, gone = ship.copy("rotten.bin", os.urandom(1000)), ship.copy("gone.bin", os.urandom(1000))
    (ship.folder / rotten.name).write_bytes(os.urandom(1000))
    (ship.folder / gone.name).unlink()
    for file in (rotten, gone):
        failed = ship.do(Operation.PUT, file)
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, CopyDamaged)
        with pytest.raises(NotFound):
            ship.row(file)


@pytest.mark.parametrize("operation", [Operation.OPEN, Operation.LIST, Operation.SEND, Operation.SHARE])
def test_parts_are_no_business_of_the_api(ship: Ship, operation: Operation) -> None:
    failed = ship.do(operation, ship.copy("a", b"a"))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, TerminalStoreError)


class Failing:
    """An API that fails for one reason."""

    def __init__(self, error: ApiError) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        del name

        def fail(*_: object, **__: object) -> None:
            raise self.error

        return fail


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (Unreachable("x"), StoreUnreachable, "StoreUnreachable"),
        (Unavailable("x", status=503, code="not-ready"), TransientStoreError, "NotReady"),
        (Unexpected("x", status=500), TransientStoreError, "ApiFailed"),
        (Unexpected("x", status=507, code="storage-full"), StoreRefused, "StorageFull"),
        (Forbidden("x", status=403, code="forbidden"), StoreRefused, "Forbidden"),
        (NotFound("x", status=404, code="iteration-not-found"), StoreRefused, "IterationNotFound"),
        (Invalid("x", status=413, code="too-large"), TerminalStoreError, "TooLarge"),
    ],
)
def test_what_the_api_says_is_said_as_of_a_store(tmp_path: Path, error: ApiError, kind: type, code: str) -> None:
    way: Any = Failing(error)
    api: Any = type("Api", (), {"iteration": UUID(int=1)})
    ship = Ship(api, tmp_path, way)
    file = ship.copy("a", b"a")
    calls = UploadCalls(ApiFiles(way, UUID(int=1)), Buffer(tmp_path, 2**30, LocalDisk()), never, monotonic)
    first, second = calls.call([Job(operation=Operation.PUT, file=file, key="k")] * 2, 60.0)
    assert isinstance(first.result, Failed)
    assert type(first.result.error) is kind
    assert first.result.error.code == code
    assert second.result == Untried()
