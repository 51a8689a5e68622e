"""Contents up and down through the real API: on both databases, in all places for bytes."""

import hashlib
import json
import os
import socket
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import urllib3

from pinnace import ids
from pinnace.records import Artifact, ArtifactPatch, Backend, ProjectPatch
from pinnace.records.lifecycle import Lifecycle
from support.api_server import ADMIN_TOKEN
from support.eventually import eventually
from support.files_api import FilesApi, files_api, files_api_at
from support.samples import artifact
from support.small_disk import small_disk

BIG = 5 * 2**20 + 17


PLACES = [
    ("sqlite", Backend.INLINE),
    ("postgresql", Backend.INLINE),
    ("sqlite", Backend.FILESYSTEM),
    ("postgresql", Backend.S3),
]


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: f"{place[0]}-{place[1]}")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesApi]:
    with files_api_at(request, tmp_path_factory.mktemp("api")) as made:
        yield made


def problem(answer: urllib3.BaseHTTPResponse) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.data)
    return answer.status, body["code"], body["field"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def bytes_of(api: FilesApi, artifact_id: Any) -> bytes:
    answer = api.request("GET", f"/artifacts/{artifact_id}/bytes")
    assert answer.status == 200, answer.data
    return answer.data


# --- up


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, BIG])
def test_what_goes_up_comes_down(api: FilesApi, size: int) -> None:
    content, path = os.urandom(size), f"up/and down/{size}.bin"
    row = api.put(path, content)
    assert (row.path, row.size, row.sha256) == (path, size, sha256(content))
    assert row.id == ids.artifact_id(api.iteration, path, row.sha256)
    assert row.location.backend is Backend(api.settings.artifacts_backend)
    assert row.created_by == "admin"
    answer = api.get(path)
    assert (answer.status, answer.data) == (200, content)
    assert answer.headers["etag"] == f'"{row.sha256}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"
    assert bytes_of(api, row.id) == content


def test_a_body_of_unknown_length_is_taken(api: FilesApi) -> None:
    blocks = [os.urandom(700_000) for _ in range(9)]
    row = api.put("chunked.bin", iter(blocks))
    assert bytes_of(api, row.id) == b"".join(blocks)


@pytest.mark.parametrize("path", ["ü/日本 語.txt", "a%b", "a+b&c=d;e?f#g", "x" * 3000, "%80", "new\nline", "~/a'b\"c"])
def test_any_path_is_kept_as_it_is(api: FilesApi, path: str) -> None:
    row = api.put(path, path.encode())
    assert row.path == path
    assert api.get(path).data == path.encode()
    assert [each.id for each in api.api.admin().iteration_artifacts(api.iteration) if each.path == path] == [row.id]


@pytest.mark.parametrize(
    "raw", ["../secret", "a/../../b", "%2e%2e/x", "/etc/passwd", "a//b", "a/", "a/./b", "..%2fx", "%00", "a%0", "%ff"]
)
def test_failure_10_no_path_leads_out_of_the_iteration(api: FilesApi, raw: str) -> None:
    with socket.create_connection(("127.0.0.1", int(api.api.url.rpartition(":")[2]))) as connection:
        connection.sendall(
            f"PUT /api/v1/iterations/{api.iteration}/files/{raw} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            f"authorization: Bearer {ADMIN_TOKEN}\r\ncontent-length: 1\r\n\r\nx".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if raw == "a%0":  # a percent sign like any other
        assert b"201" in answer.split(b"\r\n")[0]
    else:
        assert b"422" in answer.split(b"\r\n")[0]


def test_failure_9_another_content_is_another_version(api: FilesApi) -> None:
    first, second = api.put("versions.txt", b"first"), api.put("versions.txt", b"the second")
    assert first.id != second.id
    assert api.get("versions.txt").data == b"the second"
    assert bytes_of(api, first.id) == b"first"
    listed = json.loads(api.request("GET", f"/iterations/{api.iteration}/artifacts?path=versions.txt").data)
    assert [item["id"] for item in listed["items"]] == [str(first.id), str(second.id)]
    again = api.put("versions.txt", b"first")
    assert again.id == first.id
    assert api.get("versions.txt").data == b"first"


def test_the_same_again_is_the_same_artifact_and_keeps_no_second_copy(api: FilesApi) -> None:
    with api.storage() as (_, storage):
        one = api.put("again.bin", b"the same")
        held = {each.location for each in storage.new.list()}
        answer = api.request("PUT", api.file("again.bin"), b"the same")
        assert (answer.status, msgspec.json.decode(answer.data, type=Artifact).id) == (200, one.id)
        assert {each.location for each in storage.new.list()} == held


def test_two_who_write_one_path_at_once_make_two_versions_or_one_artifact(api: FilesApi) -> None:
    contents = [os.urandom(100_000)] * 3 + [os.urandom(100_000)] * 3
    with ThreadPoolExecutor(6) as pool:
        rows = list(pool.map(lambda content: api.put("raced.bin", content), contents))
    assert len({row.id for row in rows}) == 2
    assert api.get("raced.bin").data in contents
    for row, content in zip(rows, contents, strict=True):
        assert bytes_of(api, row.id) == content
    with api.storage() as (_, storage):
        sizes = [held.size for held in storage.new.list()]
    assert sizes.count(100_000) == 2


def test_a_digest_that_was_announced_is_compared(api: FilesApi) -> None:
    right = b64encode(hashlib.sha256(b"content").digest()).decode()
    for header in (
        {"repr_digest": f"sha-256=:{right}:"},
        {"content_digest": f"sha-512=:AAAA:, sha-256=:{right}:"},
        {"x_pinnace_sha256": sha256(b"content").upper()},
    ):
        api.put("announced.bin", b"content", **header)
    with api.storage() as (_, storage):
        before = len(list(storage.new.list()))
        for name, value in (("repr-digest", f"sha-256=:{right}:"), ("x-pinnace-sha256", sha256(b"content"))):
            answer = api.request("PUT", api.file("wrong.bin"), b"contenT", {name: value})
            assert problem(answer) == (422, "invalid", "sha256")
        assert len(list(storage.new.list())) == before
    assert api.get("wrong.bin").status == 404
    for name, value in (("repr-digest", "sha-256=:AA:"), ("repr-digest", "md5"), ("x-pinnace-sha256", "00")):
        assert problem(api.request("PUT", api.file("wrong.bin"), b"x", {name: value})) == (422, "invalid", name)


def test_a_writer_can_ask_for_a_path_that_is_free_or_as_it_was(api: FilesApi) -> None:
    star = {"if-none-match": "*"}
    assert api.request("PUT", api.file("free.bin"), b"1", star).status == 201
    assert problem(api.request("PUT", api.file("free.bin"), b"2", star)) == (
        412,
        "precondition-failed",
        "if-none-match",
    )
    tag = {"if-match": f'"{sha256(b"1")}"'}
    assert api.request("PUT", api.file("free.bin"), b"2", tag).status == 201
    assert problem(api.request("PUT", api.file("free.bin"), b"3", tag)) == (412, "precondition-failed", "if-match")
    assert api.get("free.bin").data == b"2"


@pytest.mark.parametrize("header", [("content-encoding", "gzip"), ("content-range", "bytes 0-1/2")])
def test_a_body_that_is_not_the_file_itself_is_refused(api: FilesApi, header: tuple[str, str]) -> None:
    assert problem(api.request("PUT", api.file("x"), b"x", dict([header]))) == (422, "invalid", header[0])


def test_what_breaks_off_leaves_nothing(api: FilesApi) -> None:
    with api.storage() as (_, storage):
        before = {held.location for held in storage.new.list()}
        with socket.create_connection(("127.0.0.1", int(api.api.url.rpartition(":")[2]))) as connection:
            head = f"PUT /api/v1{api.file('broken.bin')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n"
            connection.sendall(f"{head}content-length: 9000000\r\n\r\n".encode() + bytes(3_000_000))
            eventually(
                lambda: (storage.new.name is Backend.S3) or {held.location for held in storage.new.list()} != before,
                what="some has arrived",
            )
        eventually(lambda: {held.location for held in storage.new.list()} == before, what="it is gone")
    assert api.get("broken.bin").status == 404


def test_an_iteration_that_is_not_there_or_in_the_trash_takes_nothing(api: FilesApi) -> None:
    assert problem(api.request("PUT", f"/iterations/{uuid4()}/files/x", b"x"))[:2] == (404, "iteration-not-found")
    api.put("before.txt", b"before")
    with api.api.admin() as admin:
        admin.patch_project("p", ProjectPatch(lifecycle=Lifecycle.TRASHED))
        try:
            assert problem(api.request("PUT", api.file("x.txt"), b"x"))[:2] == (409, "trashed")
            assert api.get("before.txt").data == b"before"
        finally:
            admin.patch_project("p", ProjectPatch(lifecycle=Lifecycle.ACTIVE))


# --- down


@pytest.mark.parametrize("size", [1000, BIG])
def test_ranges_are_what_they_ask_for(api: FilesApi, size: int) -> None:
    content, path = os.urandom(size), f"ranges-{size}"
    tag = f'"{api.put(path, content).sha256}"'
    for field, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=-7", size - 7, size),
        (f"bytes={size - 5}-", size - 5, size),
        ("Bytes = 0 - 99999999999", 0, size),
    ):
        answer = api.get(path, range=field)
        assert (answer.status, answer.data) == (206, content[start:stop])
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert (answer.headers["etag"], answer.headers["accept-ranges"]) == (tag, "bytes")
    for field in ("bytes=5-4", "lines=0-1", "bytes=0-1,5-6", "bytes=-", "bytes=a-b"):
        assert (api.get(path, range=field).status, api.get(path, range=field).data) == (200, content)
    answer = api.get(path, range=f"bytes={size}-")
    assert problem(answer) == (416, "range", "range")
    assert answer.headers["content-range"] == f"bytes */{size}"
    assert api.get(path, range="bytes=0-1", if_range=tag).status == 206
    assert api.get(path, range="bytes=0-1", if_range='"other"').status == 200


def test_what_the_client_has_is_not_sent_again(api: FilesApi) -> None:
    row = api.put("cached.bin", b"cached")
    for field in (f'"{row.sha256}"', f'"x", W/"{row.sha256}"', "*"):
        answer = api.get("cached.bin", if_none_match=field)
        assert (answer.status, answer.data, answer.headers["etag"]) == (304, b"", f'"{row.sha256}"')
    assert api.get("cached.bin", if_none_match='"other"').status == 200


@pytest.mark.parametrize("size", [0, BIG])
def test_head_says_what_get_would(api: FilesApi, size: int) -> None:
    row = api.put(f"head-{size}", bytes(size))
    for path in (api.file(f"head-{size}"), f"/artifacts/{row.id}/bytes"):
        asked, got = api.request("HEAD", path), api.request("GET", path)
        dropped = {"date", "x-request-id"}
        assert asked.status == 200
        assert {name: value for name, value in asked.headers.items() if name not in dropped} == {
            name: value for name, value in got.headers.items() if name not in dropped
        }
        assert asked.headers["content-length"] == str(size)
    assert api.request("HEAD", api.file("nowhere")).status == 404


@pytest.mark.parametrize(
    ("path", "sent", "kept", "shown"),
    [
        ("page.html", "", "text/html", "attachment"),
        ("image.svg", "image/svg+xml", "image/svg+xml", "attachment"),
        ("script", "text/javascript", "text/javascript", "attachment"),
        ("plot.png", "", "image/png", "inline"),
        ("notes.md", "application/octet-stream", "text/markdown", "inline"),
        ("table.csv", "", "text/csv", "inline"),
        ("model", "", "", "attachment"),
        ("odd", "application/vnd.x+json; charset=utf-8", "application/vnd.x+json; charset=utf-8", "attachment"),
    ],
)
def test_failure_23_a_browser_carries_nothing_out(api: FilesApi, path: str, sent: str, kept: str, shown: str) -> None:
    row = api.put(path, b"<script>alert(1)</script>", **({"content_type": sent} if sent else {}))
    assert row.content_type == kept
    headers = api.get(path).headers
    assert headers["content-disposition"].startswith(shown)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert headers["content-type"].startswith(kept or "application/octet-stream")


def test_failure_23_names_are_harmless_in_a_header(api: FilesApi) -> None:
    for path, field in (
        ('a"; filename=evil.exe', 'filename="a__ filename=evil.exe"'),
        ("ünï.bin", "filename*=UTF-8''%C3%BCn%C3%AF.bin"),
        ("a\r\nset-cookie: x", "filename*=UTF-8''a%0D%0Aset-cookie%3A%20x"),
        ("..x/..y", 'filename="..y"'),
    ):
        api.put(path, b"x")
        assert field in api.get(path).headers["content-disposition"]
    answer = api.request("PUT", api.file("x"), b"x", {"content-type": "text/html, x"})
    assert problem(answer) == (422, "invalid", "content-type")


def test_failure_5_a_flipped_byte_is_never_taken_for_the_content(
    api: FilesApi, caplog: pytest.LogCaptureFixture
) -> None:
    for size in (1000, BIG):
        row = api.put(f"flipped-{size}", os.urandom(size))
        api.damage(row, size - 1)
        if size == 1000:
            answer = api.get(f"flipped-{size}")
            assert problem(answer)[:2] == (500, "bytes-corrupt")
            assert problem(api.get(f"flipped-{size}", range="bytes=0-9"))[:2] == (500, "bytes-corrupt")
        else:
            answer = api.request("GET", api.file(f"flipped-{size}"), preload_content=False)
            assert (answer.status, answer.headers["content-length"]) == (200, str(size))
            with pytest.raises(urllib3.exceptions.ProtocolError):
                answer.read()
            answer.close()
            assert "bytes.corrupt" in caplog.text


def test_missing_bytes_are_said_and_the_row_stays(api: FilesApi) -> None:
    row = api.put("missing.bin", b"missing")
    with api.storage() as (_, storage):
        storage.new.delete(row.location)
    assert problem(api.get("missing.bin"))[:2] == (404, "bytes-missing")
    assert row.location.key in api.get("missing.bin").data.decode()
    assert api.request("GET", f"/artifacts/{row.id}").status == 200
    assert api.put("missing.bin", b"missing").location != row.location
    assert api.get("missing.bin").data == b"missing"


def test_who_asks_is_sent_to_the_store(api: FilesApi) -> None:
    row = api.put("sent.html", b"<html>")
    answer = api.request("GET", f"/artifacts/{row.id}/bytes?redirect=true")
    if row.location.backend is not Backend.S3:
        assert (answer.status, answer.data) == (200, b"<html>")
        return
    assert (answer.status, answer.data) == (307, b"")
    address = answer.headers["location"]
    assert address.startswith(f"{api.server.endpoint}/bucket/runs/")
    assert "response-content-disposition=attachment" in address
    assert answer.headers["cache-control"] == "no-store"


# --- what is said about it, and its end


def test_what_is_said_about_it_can_be_edited_and_its_content_not(api: FilesApi) -> None:
    row = api.put("described.bin", b"described")
    change: dict[str, Any] = {
        "description": "best so far",
        "tags": {"kind": "checkpoint"},
        "content_type": "application/x-model",
    }
    answer = api.request("PATCH", f"/artifacts/{row.id}", json.dumps(change))
    changed = msgspec.json.decode(answer.data, type=Artifact)
    assert changed == msgspec.structs.replace(row, **change)
    answer = api.request("PATCH", f"/artifacts/{row.id}", json.dumps({"tags": {"kind": None}, "description": None}))
    assert json.loads(answer.data)["tags"] == {}
    assert api.get("described.bin").headers["content-type"] == "application/x-model"
    for change in ({"content_type": "no type"}, {"tags": {"": "x"}}, {"description": "\0"}):
        assert api.request("PATCH", f"/artifacts/{row.id}", json.dumps(change)).status == 422
    assert ArtifactPatch() == msgspec.json.decode(b'{"size": 7}', type=ArtifactPatch)


def test_what_is_deleted_is_left_out_and_comes_back_when_it_is_sent_again(api: FilesApi) -> None:
    row = api.put("deleted.bin", b"deleted")
    for _ in range(2):
        assert api.request("DELETE", f"/artifacts/{row.id}").status == 204
    assert problem(api.request("DELETE", f"/artifacts/{uuid4()}"))[:2] == (404, "not-found")
    for path in (f"/artifacts/{row.id}", f"/artifacts/{row.id}/bytes", api.file("deleted.bin")):
        assert problem(api.request("GET", path))[:2] == (404, "not-found")
    assert problem(api.request("PATCH", f"/artifacts/{row.id}", b"{}"))[:2] == (404, "not-found")
    with api.api.admin() as admin:
        assert row.id not in {each.id for each in admin.iteration_artifacts(api.iteration)}
        assert api.put("deleted.bin", b"deleted").id == row.id
        assert row.id in {each.id for each in admin.iteration_artifacts(api.iteration)}
    assert api.get("deleted.bin").data == b"deleted"


def test_a_sidecars_registration_brings_nothing_back(api: FilesApi) -> None:
    with api.api.admin() as admin:
        (row,) = admin.put_artifacts(api.iteration, [artifact(api.iteration, "shipped.bin")])
        assert api.request("DELETE", f"/artifacts/{row.id}").status == 204
        admin.put_artifacts(api.iteration, [row])
    assert api.request("GET", f"/artifacts/{row.id}").status == 404
    wrong = msgspec.structs.replace(row.location, backend=Backend.FILESYSTEM)
    body = msgspec.json.encode({"artifacts": [msgspec.structs.replace(row, location=wrong)]})
    answer = api.request("PUT", f"/iterations/{api.iteration}/artifacts", body)
    assert problem(answer) == (422, "invalid", "artifacts[0].location.backend")


def test_bytes_that_this_api_cannot_reach_are_said_to_lie_elsewhere(api: FilesApi) -> None:
    with api.api.admin() as admin:
        (row,) = admin.put_artifacts(api.iteration, [artifact(api.iteration, "elsewhere.bin")])
    answer = api.request("GET", f"/artifacts/{row.id}/bytes")
    assert problem(answer)[:2] == (409, "storage-unknown")


# --- the places


def test_failure_1_what_holds_a_row_is_in_the_row(tmp_path: Path, database_url: str) -> None:
    with files_api(tmp_path, database_url, Backend.INLINE) as api:
        rows = {Backend.INLINE: api.put("inline", b"inline")}
        for backend in (Backend.FILESYSTEM, Backend.S3, Backend.INLINE):
            api.restart(artifacts_backend=backend.value)
            rows[backend] = api.put(backend.value, backend.value.encode())
            for name, row in rows.items():
                assert row.location.backend is name
                assert bytes_of(api, row.id) == name.value.encode()
        api.restart(artifacts_dir="")
        assert problem(api.get("filesystem"))[:2] == (409, "storage-unknown")
        assert api.get("s3").data == b"s3"


def test_failure_2_bytes_sent_after_a_switch_are_a_version_of_their_own(tmp_path: Path, database_url: str) -> None:
    with files_api(tmp_path, database_url, Backend.INLINE) as api:
        first = api.put("model.bin", b"first")
        api.restart(artifacts_backend="filesystem")
        second = api.put("model.bin", b"second")
        same = api.put("model.bin", b"first")
        assert (first.location.backend, second.location.backend) == (Backend.INLINE, Backend.FILESYSTEM)
        assert same.location == first.location
        assert (bytes_of(api, first.id), bytes_of(api, second.id)) == (b"first", b"second")


def test_failure_8_a_full_disk_refuses_and_leaves_nothing(tmp_path: Path, database_url: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        small_disk(disk, "size=3m"),
        files_api(tmp_path, database_url, Backend.FILESYSTEM, artifacts_dir=str(disk / "artifacts")) as api,
    ):
        kept = api.put("kept.bin", b"kept")
        assert problem(api.request("PUT", api.file("large.bin"), bytes(5 * 2**20)))[:2] == (507, "storage-full")
        assert api.get("large.bin").status == 404
        assert sum(path.is_file() for path in (disk / "artifacts").rglob("*")) == 1
        assert bytes_of(api, kept.id) == b"kept"


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path, database_url: str) -> None:
    with files_api(tmp_path, database_url, Backend.FILESYSTEM, artifact_limit_bytes=2_000_000) as api:
        assert api.request("PUT", api.file("small.bin"), bytes(2_000_000)).status == 201
        for body in (bytes(2_000_001), iter([bytes(1_500_000)] * 2)):
            assert problem(api.request("PUT", api.file("large.bin"), body))[:2] == (413, "too-large")
        assert sum(path.is_file() for path in api.root.rglob("*")) == 1


def test_an_upload_is_refused_without_waiting_for_writers(tmp_path: Path) -> None:
    file = tmp_path / "api.db"
    with (
        files_api(tmp_path, f"sqlite:///{file}", Backend.FILESYSTEM) as api,
        closing(sqlite3.connect(file, isolation_level=None)) as writer,
    ):
        api.put("taken.bin", b"1")
        writer.execute("BEGIN IMMEDIATE")
        answer = api.request("PUT", api.file("taken.bin"), b"2", {"if-none-match": "*"})
        assert problem(answer) == (412, "precondition-failed", "if-none-match")
