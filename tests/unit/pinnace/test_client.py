"""The client's own promises, against a server that answers whatever a test tells it."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pinnace import records
from pinnace.client import (
    ApiError,
    Client,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
    Unexpected,
    Unreachable,
)
from pinnace.client import connection as connection_module
from pinnace.records import MetricPoint, MetricReceipt
from pinnace.settings import ClientSettings
from support.certificate import make_certificate
from support.samples import artifact

PROJECT = {
    "id": "56784bef-3772-56ef-8691-48c2aa2cf064",
    "name": "iris",
    "description": "",
    "created_at": "2026-01-31T12:00:00Z",
}


class Answers:
    """An HTTP server that gives the next of the answers it was told, the last one for ever."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        answers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                answers.asked.append((self.command, self.path, dict(self.headers), body))
                status, content, headers = answers.queue.pop(0) if len(answers.queue) > 1 else answers.queue[0]
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def do_PUT(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def tell(self, status: int, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.queue.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def answers() -> Iterator[Answers]:
    fake = Answers()
    thread = threading.Thread(target=fake.server.serve_forever, args=(0.01,))
    thread.start()
    yield fake
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


@pytest.fixture
def client(answers: Answers) -> Iterator[Client]:
    with Client(ClientSettings(api_url=answers.url), timeout=5) as client:
        yield client


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [
        (401, Unauthorized, False),
        (403, Forbidden, False),
        (404, NotFound, False),
        (409, Conflict, False),
        (413, Invalid, False),
        (422, Invalid, False),
        (429, Unavailable, True),
        (503, Unavailable, True),
        (500, Unexpected, False),
        (418, Unexpected, False),
        (307, Unexpected, False),
    ],
)
def test_each_refusal_is_its_own_error_with_what_the_api_said(
    answers: Answers, client: Client, status: int, kind: type[ApiError], transient: bool
) -> None:
    problem = {"title": "T", "status": status, "code": "c", "detail": "d", "hint": "h", "field": "f"}
    answers.tell(status, problem, x_request_id="r1", location="http://127.0.0.1:1/", retry_after="7")
    with pytest.raises(ApiError) as caught:
        client.project("iris")
    error = caught.value
    assert type(error) is kind
    assert error.transient is transient
    found = (error.status, error.code, error.detail, error.hint, error.field, error.request_id)
    assert found == (status, "c", "d", "h", "f", "r1")
    assert str(error) == f"GET /projects/iris: {status} T: f: d (h)"
    if isinstance(error, Unavailable):
        assert error.retry_after == 7.0
    assert len(answers.asked) == 1


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"[]", b'{"status": 1}'])
def test_a_refusal_that_is_no_problem_document_still_has_its_status(
    answers: Answers, client: Client, content: bytes
) -> None:
    answers.tell(503, content)
    with pytest.raises(Unavailable) as caught:
        client.project("iris")
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "", None)


def test_a_download_that_breaks_off_goes_on_as_long_as_that_brings_more(answers: Answers, client: Client) -> None:
    row = artifact(uuid4(), "model.bin", b"0123456789")
    answers.tell(200, b"0123", content_length="10", connection="close")
    answers.tell(206, b"456", content_length="6", connection="close")
    answers.tell(206, b"789")
    arrived = bytearray()
    client.download(row, arrived.extend)
    assert arrived == b"0123456789"
    asked = [{name.lower(): value for name, value in headers.items()} for _, _, headers, _ in answers.asked]
    assert [headers.get("range") for headers in asked] == [None, "bytes=4-", "bytes=7-"]


def test_a_download_that_brings_nothing_more_is_given_up(answers: Answers, client: Client) -> None:
    answers.tell(206, b"", content_length="6", connection="close")
    with pytest.raises(Unreachable):
        client.download(artifact(uuid4(), "model.bin", b"0123456789"), bytearray().extend, start=4)
    assert len(answers.asked) == 1


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"{}", b'{"id": 1}'])
def test_an_answer_that_is_not_the_api_s_is_unexpected(answers: Answers, client: Client, content: bytes) -> None:
    answers.tell(200, content)
    with pytest.raises(Unexpected, match="is not a Project"):
        client.project("iris")


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(ClientSettings(api_url=url), timeout=2) as client, pytest.raises(Unreachable) as caught:
            client.project("iris")
    assert caught.value.transient
    assert caught.value.status is None


def test_silence_is_unreachable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(ClientSettings(api_url=url), timeout=0.2) as client, pytest.raises(Unreachable):
            client.project("iris")


def test_an_answer_that_trickles_is_given_up() -> None:
    done = threading.Event()

    def trickle(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
            while not done.wait(0.02):
                try:
                    connection.sendall(b" " * 70000)
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=trickle, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Client(ClientSettings(api_url=url), timeout=0.05) as client, pytest.raises(Unreachable):
            client.project("iris")
        done.set()
        thread.join()


def test_tls_is_trusted_by_the_given_authority_only(answers: Answers, tmp_path: Path) -> None:
    folder = make_certificate(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "public.crt", folder / "private.key")
    answers.server.socket = context.wrap_socket(answers.server.socket, server_side=True)
    answers.tell(200, PROJECT)
    url = answers.url.replace("http", "https")
    with Client(ClientSettings(api_url=url, api_ca_file=str(folder / "public.crt")), timeout=5) as trusting:
        assert trusting.project("iris").name == "iris"
    with (
        Client(ClientSettings(api_url=url), timeout=5) as stranger,
        pytest.raises(Unreachable, match="api_ca_file") as caught,
    ):
        stranger.project("iris")
    assert caught.value.transient


def test_a_kept_connection_that_was_closed_is_replaced_once(answers: Answers, client: Client) -> None:
    answers.tell(0, b"")
    answers.tell(200, PROJECT)
    assert client.project("iris").name == "iris"
    assert len(answers.asked) == 2


def test_a_server_that_always_hangs_up_is_unreachable(answers: Answers, client: Client) -> None:
    answers.tell(0, b"")
    with pytest.raises(Unreachable):
        client.project("iris")
    assert len(answers.asked) == 2


def test_an_endless_answer_is_not_read_to_its_end(
    answers: Answers, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_RESPONSE_BYTES", 100_000)
    answers.tell(200, b" " * 200_000)
    with pytest.raises(Unexpected, match="longer than 100000 bytes"):
        client.project("iris")


def test_a_rotated_token_file_is_read_at_each_call(answers: Answers, tmp_path: Path) -> None:
    file = tmp_path / "token"
    answers.tell(200, PROJECT)
    with Client(ClientSettings(api_url=answers.url, api_token_file=str(file))) as client:
        for token in ("first", "second\n"):
            file.write_text(token)
            client.project("iris")
        file.unlink()
        with pytest.raises(Unauthorized) as caught:
            client.project("iris")
    sent = [headers.get("authorization") for _, _, headers, _ in answers.asked]
    assert sent == ["Bearer first", "Bearer second"]
    assert caught.value.code == "token-unreadable"


@pytest.mark.parametrize("token", ["a\r\nx: y", "a b", "é"])
def test_a_token_can_not_smuggle_headers(answers: Answers, token: str) -> None:
    answers.tell(200, PROJECT)
    with Client(ClientSettings(api_url=answers.url, api_token=token)) as client, pytest.raises(Unauthorized) as caught:
        client.project("iris")
    assert answers.asked == []
    assert token not in str(caught.value)


def test_without_a_token_none_is_sent(answers: Answers, client: Client) -> None:
    answers.tell(200, PROJECT)
    client.project("iris")
    assert "authorization" not in answers.asked[0][2]


def test_names_can_not_leave_their_place_in_the_path(answers: Answers, client: Client) -> None:
    answers.tell(200, PROJECT)
    client.project("../a/b?c#d%")
    assert answers.asked[0][1] == "/api/v1/projects/..%2Fa%2Fb%3Fc%23d%25"


class TestLists:
    def test_pages_are_fetched_as_they_are_needed_and_never_more(self, answers: Answers, client: Client) -> None:
        answers.tell(200, {"items": [PROJECT] * 2, "next": "a/b="})
        answers.tell(200, {"items": [PROJECT], "next": None})
        projects = client.projects()
        assert answers.asked == []
        next(projects)
        assert len(answers.asked) == 1
        assert len(list(projects)) == 2
        assert [path for _, path, _, _ in answers.asked] == [
            "/api/v1/projects?lifecycle=active&limit=1000",
            "/api/v1/projects?lifecycle=active&limit=1000&after=a%2Fb%3D",
        ]

    def test_the_limit_is_for_all_pages_together(self, answers: Answers, client: Client) -> None:
        answers.tell(200, {"items": [PROJECT] * 1000, "next": "a"})
        answers.tell(200, {"items": [PROJECT] * 5, "next": "b"})
        assert len(list(client.projects(limit=1005))) == 1005
        assert [path.partition("active&")[2] for _, path, _, _ in answers.asked] == ["limit=1000", "limit=5&after=a"]

    def test_a_limit_of_nothing_asks_nothing(self, answers: Answers, client: Client) -> None:
        assert list(client.projects(limit=0)) == []
        assert answers.asked == []

    def test_filters_that_are_not_given_are_not_sent(self, answers: Answers, client: Client) -> None:
        answers.tell(200, {"items": []})
        list(client.experiments(namespace="ml", limit=1))
        assert answers.asked[0][1] == "/api/v1/experiments?namespace=ml&lifecycle=active&limit=1"

    @pytest.mark.parametrize("items", [[], [PROJECT]])
    def test_a_list_that_goes_in_circles_is_ended(
        self, answers: Answers, client: Client, items: list[dict[str, str]]
    ) -> None:
        answers.tell(200, {"items": items, "next": "again"})
        with pytest.raises(Unexpected, match="does not come to an end"):
            list(client.projects())


class TestBatches:
    def test_nothing_to_send_sends_nothing(self, answers: Answers, client: Client) -> None:
        assert client.put_metrics(uuid4(), []) == MetricReceipt(added=0, present=0)
        assert client.put_artifacts(uuid4(), []) == ()
        assert answers.asked == []

    def test_a_batch_that_is_too_large_is_halved_until_it_is_not(self, answers: Answers, client: Client) -> None:
        answers.tell(413, {"title": "T", "status": 413, "code": "too-large"})
        answers.tell(200, {"added": 1, "present": 1})
        points = [MetricPoint(key="a", step=step, value=1.0) for step in range(4)]
        assert client.put_metrics(uuid4(), points) == MetricReceipt(added=2, present=2)
        sent = [[point["step"] for point in json.loads(body)["points"]] for _, _, _, body in answers.asked]
        assert sent == [[0, 1, 2, 3], [0, 1], [2, 3]]

    def test_one_that_can_not_be_halved_is_invalid(self, answers: Answers, client: Client) -> None:
        answers.tell(413, {"title": "T", "status": 413, "code": "too-large"})
        with pytest.raises(Invalid):
            client.put_metrics(uuid4(), [MetricPoint(key="a", step=0, value=1.0)])
        assert len(answers.asked) == 1

    def test_floats_that_json_lacks_are_spelled(self, answers: Answers, client: Client) -> None:
        answers.tell(200, {"added": 3, "present": 0})
        values = (float("nan"), float("inf"), float("-inf"))
        client.put_metrics(uuid4(), [MetricPoint(key="a", step=0, value=value) for value in values])
        sent = [point["value"] for point in json.loads(answers.asked[0][3])["points"]]
        assert sent == ["NaN", "Infinity", "-Infinity"]

    def test_more_points_than_a_request_takes_are_several_requests(self, answers: Answers, client: Client) -> None:
        answers.tell(200, {"added": 1, "present": 0})
        points = [MetricPoint(key="a", step=step, value=1.0) for step in range(records.MAX_POINTS_PER_REQUEST + 1)]
        assert client.put_metrics(uuid4(), points).added == 2


def test_many_threads_share_one_client(answers: Answers, client: Client) -> None:
    answers.tell(200, PROJECT)
    failures: list[Exception] = []

    def call(work: Callable[[], object]) -> None:
        try:
            for _ in range(20):
                work()
        except ApiError as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(lambda: client.project("iris"),)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(answers.asked) == 240


def test_the_client_s_settings_do_not_show_the_token() -> None:
    assert "secret" not in repr(ClientSettings(api_token="secret"))
