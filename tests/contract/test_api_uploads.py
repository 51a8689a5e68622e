"""Uploads in several requests, as curl makes them: what has arrived stays, whatever breaks."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3

from pinnace.records import Artifact, Backend, Upload
from support.api_server import ADMIN_TOKEN
from support.eventually import eventually
from support.files_api import FilesApi, files_api_at

PLACES = [("sqlite", Backend.INLINE), ("sqlite", Backend.FILESYSTEM), ("postgresql", Backend.S3)]


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: f"{place[0]}-{place[1]}")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesApi]:
    with files_api_at(request, tmp_path_factory.mktemp("api")) as made:
        yield made


def address(api: FilesApi, upload: UUID) -> str:
    return f"/iterations/{api.iteration}/uploads/{upload}"


def begin(api: FilesApi, path: str, **fields: object) -> UUID:
    upload = uuid4()
    answer = api.request("PUT", address(api, upload), json.dumps({"path": path, **fields}))
    assert answer.status == 201, answer.data
    assert msgspec.json.decode(answer.data, type=Upload).received == 0
    return upload


def send(api: FilesApi, upload: UUID, offset: int, body: bytes, *, last: bool = False) -> urllib3.BaseHTTPResponse:
    headers = {"upload-offset": str(offset), **({"upload-complete": "?1"} if last else {})}
    return api.request("PATCH", address(api, upload), body, headers)


def offset(api: FilesApi, upload: UUID) -> int:
    answer = api.request("HEAD", address(api, upload))
    assert answer.status == 200
    return int(answer.headers["upload-offset"])


def code(answer: urllib3.BaseHTTPResponse) -> str:
    return str(json.loads(answer.data)["code"])


def test_pieces_become_one_artifact_and_nothing_else_is_left(api: FilesApi) -> None:
    content = os.urandom(7_000_003)
    upload = begin(api, "pieces.csv", size=len(content), sha256=hashlib.sha256(content).hexdigest())
    for at in range(0, len(content), 3_000_000):
        answer = send(api, upload, at, content[at : at + 3_000_000])
    row = msgspec.json.decode(answer.data, type=Artifact)
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")
    assert (row.path, row.content_type, row.created_by) == ("pieces.csv", "text/csv", "admin")
    assert api.get("pieces.csv").data == content
    with api.storage() as (_, storage):
        assert [held.location for held in storage.new.list() if held.size >= 1_000_000] == [row.location]
    again = send(api, upload, len(content), b"")
    assert (again.status, msgspec.json.decode(again.data, type=Artifact)) == (200, row)
    assert offset(api, upload) == len(content)


def test_without_a_size_the_last_piece_says_that_it_is(api: FilesApi) -> None:
    upload = begin(api, "unknown-size")
    assert send(api, upload, 0, b"first ").status == 204
    assert send(api, upload, 6, b"last", last=True).status == 201
    assert api.get("unknown-size").data == b"first last"
    empty = begin(api, "empty")
    assert send(api, empty, 0, b"", last=True).status == 201
    assert api.get("empty").data == b""


def test_a_piece_that_does_not_go_on_is_refused_and_told_where_it_goes_on(api: FilesApi) -> None:
    upload = begin(api, "offsets", size=10)
    assert send(api, upload, 0, b"01234").status == 204
    for wrong in (0, 4, 6):
        answer = send(api, upload, wrong, b"x")
        assert (answer.status, code(answer), answer.headers["upload-offset"]) == (409, "offset-mismatch", "5")
    assert send(api, upload, 5, b"5678901").status == 422
    answer = send(api, upload, 5, b"567", last=True)
    assert (answer.status, offset(api, upload)) == (422, 8)
    assert send(api, upload, 8, b"89").status == 201
    assert api.get("offsets").data == b"0123456789"
    for headers in (
        {},
        {"upload-offset": "-1"},
        {"upload-offset": "x"},
        {"upload-offset": "0", "upload-complete": "1"},
    ):
        assert api.request("PATCH", address(api, upload), b"", headers).status == 422


def test_two_who_send_the_same_piece_at_once_keep_it_once(api: FilesApi) -> None:
    upload = begin(api, "raced", size=200_000)
    piece = os.urandom(100_000)
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda _: send(api, upload, 0, piece), range(4)))
    assert statuses == [204, 409, 409, 409]
    assert offset(api, upload) == 100_000
    with ThreadPoolExecutor(4) as pool:
        assert send(api, upload, 100_000, piece).status == 201
        ends = list(pool.map(lambda _: send(api, upload, 200_000, b"", last=True), range(4)))
    assert {answer.status for answer in ends} == {200}
    assert api.get("raced").data == 2 * piece


def test_a_digest_that_was_announced_is_compared(api: FilesApi) -> None:
    upload = begin(api, "wrong-digest", sha256=hashlib.sha256(b"right").hexdigest())
    answer = send(api, upload, 0, b"wrong", last=True)
    assert (answer.status, code(answer)) == (422, "invalid")
    assert api.get("wrong-digest").status == 404


def test_failure_8_what_arrived_before_the_connection_broke_stays(api: FilesApi) -> None:
    content = os.urandom(6_000_000)
    upload = begin(api, "broken", size=len(content))
    with socket.create_connection(("127.0.0.1", int(api.api.url.rpartition(":")[2]))) as connection:
        head = f"PATCH /api/v1{address(api, upload)} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n"
        connection.sendall(f"{head}upload-offset: 0\r\ncontent-length: {len(content)}\r\n\r\n".encode())
        connection.sendall(content[:4_000_000])
    eventually(lambda: offset(api, upload) > 0, what="what arrived was kept")
    arrived = offset(api, upload)
    assert 3_000_000 <= arrived <= 4_000_000
    api.restart()
    assert send(api, upload, arrived, content[arrived:]).status == 201
    assert api.get("broken").data == content


def test_an_upload_is_given_up_with_all_that_arrived(api: FilesApi) -> None:
    with api.storage() as (_, storage):
        before = {held.location for held in storage.new.list()}
        upload = begin(api, "given-up", size=10)
        send(api, upload, 0, b"01234")
        assert api.request("DELETE", address(api, upload)).status == 204
        assert {held.location for held in storage.new.list()} == before
    for method in ("GET", "HEAD", "DELETE"):
        assert api.request(method, address(api, upload)).status == 404
    assert send(api, upload, 0, b"").status == 404


def test_an_id_is_of_one_file_of_one_iteration(api: FilesApi) -> None:
    upload = begin(api, "one", size=1)
    for fields, status in (({"path": "one", "size": 1}, 200), ({"path": "one", "size": 2}, 409), ({"path": "b"}, 409)):
        assert api.request("PUT", address(api, upload), json.dumps(fields)).status == status
    other = f"/iterations/{uuid4()}/uploads/{upload}"
    assert api.request("GET", other).status == 404
    for path in ("../x", "/x", "a//b", ""):
        assert api.request("PUT", address(api, uuid4()), json.dumps({"path": path})).status == 422
    assert api.request("PUT", address(api, uuid4()), json.dumps({"path": "one", "size": 2**63})).status == 422


def test_what_an_upload_says_of_its_file_stands_in_the_row(api: FilesApi) -> None:
    said = {"modified_at": "2001-02-03T04:05:06.789+01:00", "suspect": True}
    upload = begin(api, "said.bin", **said)
    answer = api.request("PUT", address(api, upload), json.dumps({"path": "said.bin", **said}))
    assert answer.status == 200
    answer = api.request("PUT", address(api, upload), json.dumps({"path": "said.bin", **said, "suspect": False}))
    assert (answer.status, code(answer)) == (409, "conflict")
    row = msgspec.json.decode(send(api, upload, 0, b"said", last=True).data, type=Artifact)
    assert (row.suspect, row.modified_at.isoformat()) == (True, "2001-02-03T03:05:06.789000+00:00")
    again = begin(api, "said.bin")
    row = msgspec.json.decode(send(api, again, 0, b"said", last=True).data, type=Artifact)
    assert (row.suspect, row.modified_at.year) == (False, 2001)
    wrong = json.dumps({"path": "said.bin", "modified_at": "0001-01-01T00:00:00+23:00"})
    answer = api.request("PUT", address(api, uuid4()), wrong)
    assert (answer.status, json.loads(answer.data)["field"]) == (422, "modified_at")
