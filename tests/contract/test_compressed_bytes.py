"""What sidecars compress: the API unpacks it wherever it reads bytes, and nobody is told that it is damaged."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import urllib3

from pinnace import ids
from pinnace.records import Artifact, Backend, Location
from pinnace_api.maintenance import exporting, moving, verifying
from pinnace_api.storage.reading import SMALL_BYTES
from support.files_api import FilesApi, files_api
from support.s3_server import REGION
from support.samples import artifact
from support.store_content import compressed, stored_as

#: Above and below what is compared before any of it is let go.
CONTENTS = {
    "small.txt": b"small " * 20_000,
    "large.txt": b"".join(b"%d\n" % number for number in random.Random(1).choices(range(10**6), k=SMALL_BYTES // 4)),
    "zeros.bin": bytes(3 * SMALL_BYTES),
}


@pytest.fixture
def api(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[FilesApi]:
    with files_api(tmp_path, new_database(), Backend.FILESYSTEM) as made:
        yield made


@pytest.fixture
def rows(api: FilesApi) -> dict[str, Artifact]:
    assert len(CONTENTS["large.txt"]) > SMALL_BYTES
    return {path: register(api, path, content) for path, content in CONTENTS.items()}


def register(api: FilesApi, path: str, content: bytes, frame: bytes | None = None) -> Artifact:
    """As a sidecar does that has compressed it."""
    kept = compressed(content) if frame is None else frame
    stored = stored_as(kept)
    row = artifact(api.iteration, path, content)
    key = ids.object_key("runs", row.id, stored.sha256)
    with api.server.lock:
        api.server._store(key, kept, None)
    location = Location(endpoint=api.server.endpoint, region=REGION, bucket=api.server.bucket, key=key)
    row = msgspec.structs.replace(row, location=location, stored=stored)
    with api.api.admin() as admin:
        (recorded,) = admin.put_artifacts(api.iteration, [row])
    assert recorded.stored == stored
    return recorded


def verified(api: FilesApi, *, sizes_only: bool = False) -> tuple[list[str], list[str], list[str]]:
    """The paths of what is missing, corrupt and out of reach."""
    with api.storage() as (database, storage):
        found = verifying.verify(database, storage, sizes_only=sizes_only)
    missing, corrupt, unreachable = (
        sorted(failure.path for failure in failures) for failures in (found.missing, found.corrupt, found.unreachable)
    )
    return missing, corrupt, unreachable


def arrives(api: FilesApi, path: str) -> bool:
    """Whether a download comes to its end."""
    try:
        return api.get(path).status == 200
    except urllib3.exceptions.ProtocolError:
        return False


def test_it_comes_down_unpacked_whole_and_in_ranges(api: FilesApi, rows: dict[str, Artifact]) -> None:
    for path, content in CONTENTS.items():
        whole = api.get(path)
        assert (whole.status, whole.data == content) == (200, True)
        assert whole.headers["etag"] == f'"{rows[path].sha256}"'
        size = len(content)
        for start, stop in ((0, 1), (10, 20), (size // 2, size // 2 + 2**20), (size - 7, size)):
            part = api.get(path, range=f"bytes={start}-{min(stop, size) - 1}")
            assert (part.status, part.data == content[start:stop]) == (206, True)


def test_nobody_is_sent_to_a_store_where_it_lies_compressed(api: FilesApi, rows: dict[str, Artifact]) -> None:
    answer = api.request("GET", f"/artifacts/{rows['small.txt'].id}/bytes?redirect=true")
    assert (answer.status, answer.data) == (200, CONTENTS["small.txt"])


@pytest.mark.parametrize("sizes_only", [True, False])
def test_it_is_verified(api: FilesApi, rows: dict[str, Artifact], sizes_only: bool) -> None:
    assert verified(api, sizes_only=sizes_only) == ([], [], [])
    with api.server.lock:
        for row in rows.values():
            api.server._store(row.location.key, api.server.objects[row.location.key].body[:-1], None)
    assert verified(api, sizes_only=sizes_only) == ([], sorted(CONTENTS), [])


@pytest.mark.parametrize("path", CONTENTS)
def test_a_flipped_byte_is_never_taken_for_the_content(api: FilesApi, rows: dict[str, Artifact], path: str) -> None:
    stored = rows[path].stored
    assert stored is not None
    for at in (0, stored.size // 2, stored.size - 1):
        api.damage(rows[path], at)
        assert not arrives(api, path)
        assert verified(api) == ([], [path], [])
        api.damage(rows[path], at)
    assert verified(api) == ([], [], [])


def test_a_frame_of_another_content_is_none_of_this(api: FilesApi) -> None:
    content = os.urandom(1000)
    for number, other in enumerate((content[:-1], content + b"X", content[:-1] + b"X", bytes(2**28), b"")):
        register(api, f"{number}.bin", content, compressed(other))
        assert api.get(f"{number}.bin").status == 500
    register(api, "plain.bin", content, content)
    assert api.get("plain.bin").status == 500
    assert len(verified(api)[1]) == 6


@pytest.mark.parametrize("to", [Backend.INLINE, Backend.FILESYSTEM])
def test_it_moves_and_is_plain_then(api: FilesApi, rows: dict[str, Artifact], to: Backend) -> None:
    with api.storage() as (database, storage):
        for place in (to, Backend.S3):
            store = storage.named(place)
            assert store is not None
            moved = moving.move(database, storage, store)
            assert (moved.objects, moved.failures) == (len(CONTENTS), [])
            with api.api.admin() as admin:
                assert all(admin.artifact(row.id).stored is None for row in rows.values())
            assert all(api.get(path).data == content for path, content in CONTENTS.items())
    assert verified(api) == ([], [], [])


def test_it_is_exported(api: FilesApi, rows: dict[str, Artifact], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    with api.storage() as (database, storage):
        assert exporting.export(database, storage, folder).files == len(rows)
    found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == CONTENTS


def test_what_comes_again_takes_the_place_of_what_got_lost_only(api: FilesApi, rows: dict[str, Artifact]) -> None:
    for path, content in CONTENTS.items():
        assert api.put(path, content).stored == rows[path].stored
    with api.server.lock:
        api.server.objects.clear()
    for path, content in CONTENTS.items():
        assert api.get(path).status == 404
        assert api.put(path, content).stored is None
        assert api.get(path).data == content
    assert verified(api) == ([], [], [])
