"""HTTP/1.1 over a socket whose other side does what it likes: answers in every framing, early, torn, late or never."""

import io
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pinnace.stores.connection import MAX_ANSWER_BYTES, MAX_HEAD_BYTES
from pinnace.stores.dialling import Endpoint
from pinnace.stores.http1 import Answer, FileSlice, HttpRequest
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.store import CorruptContent, StoreError, StoreUnreachable, TransientStoreError
from support.scripted_server import Script, ScriptedServer, answering, read_request, reset, scripted_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = HttpRequest(method="GET", target="/", headers={"host": "h"})
LARGE = 40 * 2**20


@contextmanager
def served(*scripts: Script, stall_seconds: float = 10) -> Iterator[tuple[ConnectionPool, ScriptedServer]]:
    with scripted_server(*scripts) as server:
        pool = ConnectionPool(Endpoint.from_url(server.url), stall_seconds=stall_seconds)
        try:
            yield pool, server
        finally:
            pool.close()


def answer_to(raw: bytes, request: HttpRequest = GET, *, closing: bool = False) -> Answer:
    """What the client makes of `raw`."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)
        if not closing:
            read_request(connection)

    with served(script) as (pool, _):
        return pool.exchange(request)


@pytest.fixture
def large(tmp_path: Path) -> Iterator[FileSlice]:
    with (tmp_path / "large").open("w+b") as file:
        file.truncate(LARGE)
        yield FileSlice(file, 0, LARGE)


def put(body: bytes | FileSlice) -> HttpRequest:
    return HttpRequest(method="PUT", target="/key", headers={"host": "h"}, body=body)


# --- requests


def test_a_request_is_sent_as_it_was_given_with_the_length_of_its_body() -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)

    with served(script) as (pool, _):
        pool.exchange(HttpRequest(method="PUT", target="/a%20b?c=", headers={"host": "h", "x-y": "z"}, body=b"body"))
    assert seen == [b"PUT /a%20b?c= HTTP/1.1\r\nhost: h\r\nx-y: z\r\ncontent-length: 4\r\n\r\nbody"]


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3 * 2**20])
def test_a_slice_of_a_file_is_sent_to_the_byte(tmp_path: Path, size: int) -> None:
    data = os.urandom(size + 200)
    (tmp_path / "file").write_bytes(data)
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection).partition(b"\r\n\r\n")[2])
        connection.sendall(OK)

    with served(script) as (pool, _), (tmp_path / "file").open("rb") as file:
        pool.exchange(put(FileSlice(file, 100, size)))
        assert file.tell() == 0
    assert seen == [data[100 : 100 + size]]


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb"])
def test_a_line_break_never_gets_into_a_request(value: str) -> None:
    with served(answering(OK)) as (pool, _), pytest.raises(ValueError, match="line break"):
        pool.exchange(HttpRequest(method="GET", target="/", headers={"host": value}))


def test_a_file_that_ends_before_its_slice_is_named(tmp_path: Path) -> None:
    for size, held in ((10, 5), (LARGE, LARGE - 1)):
        with (tmp_path / "file").open("w+b") as file, served(answering(OK)) as (pool, _):
            file.truncate(held)
            with pytest.raises(CorruptContent) as caught:
                pool.exchange(put(FileSlice(file, 0, size)))
            assert caught.value.code == "SourceTooShort"
            assert str(held) in str(caught.value)


def test_an_error_of_the_file_stays_one(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, served(answering(OK)) as (pool, _):
        file.truncate(LARGE)
        with pytest.raises(OSError, match="Bad file descriptor"):
            pool.exchange(put(FileSlice(file, 0, LARGE)))


# --- answers


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;x=y\r\no\r\n01\r\nk\r\n0\r\nA: b\r\n\r\n", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
    ],
)
def test_every_framing_of_an_answer_is_understood(raw: bytes, body: bytes) -> None:
    assert answer_to(raw).body == body


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    assert answer_to(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", closing=True).body == b"until the end"


def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    answer = answer_to(raw, HttpRequest(method="HEAD", target="/", headers={}))
    assert (answer.headers["content-length"], answer.body) == ("1000", b"")


def test_header_names_are_lower_case_and_repeated_ones_joined() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2 \r\nContent-Length: 0\r\n\r\n"
    assert answer_to(raw).headers == {"x-a": "1, 2", "content-length": "0"}


def test_an_answer_that_comes_byte_by_byte_is_the_same() -> None:
    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_request(connection)
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
            connection.sendall(bytes([byte]))
        read_request(connection)

    with served(script) as (pool, _):
        assert pool.exchange(GET).body == b"abcde"


def test_a_wanted_body_goes_into_the_sink_and_an_error_does_not() -> None:
    wanted, kept = io.BytesIO(), io.BytesIO()
    request = HttpRequest(method="GET", target="/", headers={}, sink=wanted)
    assert answer_to(OK, request).body == b""
    assert wanted.getvalue() == b"ok"
    request = HttpRequest(method="GET", target="/", headers={}, sink=kept)
    assert answer_to(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", request).body == b"gone"
    assert kept.getvalue() == b""


def test_a_large_body_goes_through_the_sink_in_pieces() -> None:
    data = os.urandom(3 * 2**20)

    class Sink(io.BytesIO):
        largest = 0

        def write(self, data: memoryview, /) -> int:  # type: ignore[override]
            self.largest = max(self.largest, len(data))
            return super().write(data)

    sink = Sink()
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data
    answer_to(raw, HttpRequest(method="GET", target="/", headers={}, sink=sink))
    assert sink.getvalue() == data
    assert sink.largest <= 256 * 2**10


def test_an_error_of_the_sink_stays_one_and_ends_the_connection() -> None:
    class Full:
        def write(self, data: memoryview, /) -> object:
            raise OSError(28, "No space left on device")

    with served(answering(OK, OK), answering(OK)) as (pool, server):
        with pytest.raises(OSError, match="No space left"):
            pool.exchange(HttpRequest(method="GET", target="/", headers={}, sink=Full()))
        assert pool.exchange(GET).body == b"ok"
        assert len(server.connections) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * (MAX_HEAD_BYTES + 20_000),
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1) + b"x" * (MAX_ANSWER_BYTES + 1),
    ],
)
def test_what_is_not_http_is_a_bad_answer_and_never_a_crash(raw: bytes) -> None:
    with pytest.raises(TransientStoreError) as caught:
        answer_to(raw)
    assert caught.value.code == "BadAnswer"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_unreachable(raw: bytes) -> None:
    with pytest.raises(StoreUnreachable):
        answer_to(raw, closing=True)


def test_a_server_that_never_answers_is_given_up_after_the_stall_time() -> None:
    def script(connection: socket.socket) -> None:
        while read_request(connection):
            pass

    with served(script, stall_seconds=0.1) as (pool, _), pytest.raises(StoreUnreachable, match=r"0\.1 s"):
        pool.exchange(GET)


def test_a_server_that_stops_reading_is_given_up_after_the_stall_time(large: FileSlice) -> None:
    done = threading.Event()
    with served(lambda _: void(done.wait()), stall_seconds=0.1) as (pool, _):
        with pytest.raises(StoreUnreachable, match="no byte moved"):
            pool.exchange(put(large))
        done.set()


def void(_: object) -> None:
    return


# --- early answers


REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"


def refusing(connection: socket.socket) -> None:
    """Answers after the head, reads no more and waits until the client has gone."""
    connection.recv(65_536)
    connection.sendall(REFUSAL)
    waiting = select.poll()
    waiting.register(connection, select.POLLRDHUP)
    waiting.poll(10_000)


def refusing_and_gone(connection: socket.socket) -> None:
    """Answers after the head and closes with most of the body unread, which is a RST."""
    connection.recv(65_536)
    connection.sendall(REFUSAL)


@pytest.mark.parametrize("script", [refusing, refusing_and_gone])
def test_an_answer_in_the_middle_of_the_body_is_heard_and_the_connection_not_used_again(
    large: FileSlice, script: Script
) -> None:
    with served(script, answering(OK)) as (pool, server):
        answer = pool.exchange(put(large))
        assert (answer.status, answer.body) == (403, b"no")
        assert pool.exchange(GET).body == b"ok"
        assert len(server.connections) == 2


def test_a_server_that_resets_in_the_middle_of_the_body_is_unreachable(large: FileSlice) -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(65_536)
        reset(connection)

    with served(script) as (pool, _), pytest.raises(StoreUnreachable):
        pool.exchange(put(large))


# --- reuse


def test_a_connection_is_used_again() -> None:
    with served(answering(OK, OK, OK)) as (pool, server):
        for _ in range(3):
            assert pool.exchange(GET).body == b"ok"
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"more than was asked for",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_a_connection_that_can_not_be_trusted_is_not_used_again(raw: bytes) -> None:
    with served(answering(raw, OK), answering(OK)) as (pool, server):
        assert pool.exchange(GET).body == b"ok"
        assert pool.exchange(GET).body == b"ok"
        assert len(server.connections) == 2


def dropping(connection: socket.socket) -> None:
    """Answers once, takes a second request and closes without a word."""
    read_request(connection)
    connection.sendall(OK)
    read_request(connection)


def resetting(connection: socket.socket) -> None:
    dropping(connection)
    reset(connection)


@pytest.mark.parametrize("script", [dropping, resetting])
def test_an_idle_connection_that_was_closed_costs_nothing(script: Script) -> None:
    with served(script, answering(OK)) as (pool, server):
        pool.exchange(GET)
        assert pool.exchange(GET).body == b"ok"
        assert len(server.connections) == 2


def test_one_thread_has_several_requests_out_each_on_a_connection_of_its_own() -> None:
    arrived = threading.Barrier(3)

    def script(connection: socket.socket) -> None:
        number = read_request(connection)[-1:]
        arrived.wait(10)  # nobody is answered before all have asked
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + number)
        read_request(connection)

    with served(script, script, script) as (pool, server):
        answers = [pool.begin(put(b"%d" % number)) for number in range(3)]
        assert [answer().body for answer in answers] == [b"0", b"1", b"2"]
        assert len(server.connections) == 3


def test_a_request_that_met_a_closed_connection_is_sent_again_when_its_answer_is_asked_for() -> None:
    with served(dropping, answering(OK), answering(OK)) as (pool, server):
        pool.exchange(GET)
        answers = [pool.begin(put(b"a")), pool.begin(put(b"b"))]
        assert [answer().body for answer in answers] == [b"ok", b"ok"]
        assert len(server.connections) == 3


def test_a_store_that_falls_silent_is_not_waited_for_once_for_each_request() -> None:
    released = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        released.wait(20)

    with served(*[silent] * 6, stall_seconds=0.5) as (pool, _):
        began = time.monotonic()
        answers = [pool.begin(put(b"body")) for _ in range(6)]
        for answer in answers:
            with pytest.raises(StoreUnreachable, match="no byte moved"):
                answer()
        took = time.monotonic() - began
        released.set()
    assert 0.4 < took < 1.5


def test_what_must_not_happen_twice_is_not_sent_twice() -> None:
    with served(dropping, answering(OK)) as (pool, server):
        pool.exchange(GET)
        with pytest.raises(StoreUnreachable):
            pool.exchange(GET, repeatable=False)
        assert len(server.connections) == 1


def test_a_new_connection_that_was_closed_is_not_tried_again() -> None:
    with served(void, answering(OK)) as (pool, server):
        with pytest.raises(StoreUnreachable):
            pool.exchange(GET)
        assert len(server.connections) == 1


def test_a_second_drop_in_a_row_is_not_tried_again() -> None:
    with served(dropping, void, answering(OK)) as (pool, server):
        pool.exchange(GET)
        with pytest.raises(StoreUnreachable):
            pool.exchange(GET)
        assert len(server.connections) == 2


def test_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    def script(connection: socket.socket) -> None:
        dropping(connection)
        connection.sendall(b"HTTP/1.1 2")

    with served(script, answering(OK)) as (pool, server):
        pool.exchange(GET)
        with pytest.raises(StoreUnreachable):
            pool.exchange(GET)
        assert len(server.connections) == 1


def test_threads_have_connections_of_their_own() -> None:
    together = threading.Barrier(3)

    def script(connection: socket.socket) -> None:
        read_request(connection)
        together.wait(10)
        connection.sendall(OK)
        read_request(connection)

    with served(script, script, script) as (pool, server):
        answers: list[bytes] = []
        threads = [threading.Thread(target=lambda: answers.append(pool.exchange(GET).body)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [b"ok"] * 3
        assert len(server.connections) == 3


# --- endpoints


def test_an_endpoint_is_scheme_host_and_port() -> None:
    for url, authority in (
        ("http://minio:9000", "minio:9000"),
        ("http://minio:80/", "minio"),
        ("https://s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"),
        ("https://[::1]:9000", "[::1]:9000"),
    ):
        assert Endpoint.from_url(url).authority == authority


@pytest.mark.parametrize(
    "url", ["", "minio:9000", "ftp://host", "http://", "http://h/path", "http://h:x", "http://u@h"]
)
def test_what_is_no_endpoint_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(Exception, match="without a path"):
        Endpoint.from_url(url)


def test_a_name_without_an_address_is_unreachable_and_named() -> None:
    pool = ConnectionPool(Endpoint.from_url("http://no-such-host.invalid:9000"))
    with pytest.raises(StoreError) as caught:
        pool.exchange(GET)
    assert isinstance(caught.value, StoreUnreachable)
    assert "no-such-host.invalid" in str(caught.value)
