"""No more bytes a second than allowed, and no patience with a server that lets them through drop by drop."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from pinnace.stores.dialling import Endpoint
from pinnace.stores.http1 import FileSlice, HttpRequest
from pinnace.stores.pacing import Bandwidth, Floor
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.store import StoreUnreachable
from support.scripted_server import Script, answering, read_request, scripted_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Time:
    """A clock that goes on by waiting."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


# --- the limit


def test_a_limit_is_kept_from_the_first_second_on() -> None:
    clock = Time()
    bandwidth = Bandwidth(1000, monotonic=clock.monotonic, wait=clock.wait)
    for _ in range(100):
        bandwidth.take(100)
    assert clock.now - 100 == pytest.approx(10)


def test_what_was_not_used_can_not_be_saved_up() -> None:
    clock = Time()
    bandwidth = Bandwidth(1000, monotonic=clock.monotonic, wait=clock.wait)
    clock.now += 3600
    assert bandwidth.take(1100) == pytest.approx(1.0)


def test_connections_share_one_limit() -> None:
    waits: list[float] = []
    bandwidth = Bandwidth(1000, monotonic=lambda: 0.0, wait=waits.append)
    threads = [threading.Thread(target=bandwidth.take, args=(1000,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([1, 2, 3, 4])


@pytest.mark.parametrize("size", [1, 60_000, 300_000])
def test_a_body_takes_the_time_that_the_limit_asks_for(size: int) -> None:
    clock = Time()
    bandwidth = Bandwidth(100_000, monotonic=clock.monotonic, wait=clock.wait)
    with scripted_server(answering(OK)) as scripted, tempfile.TemporaryFile() as file:
        file.write(bytes(size))
        file.flush()
        with closing(ConnectionPool(Endpoint.from_url(scripted.url), bandwidth=bandwidth)) as pool:
            pool.exchange(HttpRequest(method="PUT", target="/", headers={}, body=FileSlice(file, 0, size)))
    assert clock.now - 100 == pytest.approx(size / 100_000)


def test_a_download_takes_the_time_that_the_limit_asks_for() -> None:
    clock = Time()
    bandwidth = Bandwidth(100_000, monotonic=clock.monotonic, wait=clock.wait)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + bytes(500_000)
    with (
        scripted_server(answering(answer)) as scripted,
        tempfile.TemporaryFile() as sink,
        closing(ConnectionPool(Endpoint.from_url(scripted.url), bandwidth=bandwidth)) as pool,
    ):
        pool.exchange(HttpRequest(method="GET", target="/", headers={}, sink=sink))
        assert sink.tell() == 500_000
    assert clock.now - 100 >= (500_000 - 16 * 2**10) / 100_000


# --- the floor


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def floor(clock: Time) -> Floor:
    return Floor(60, answer_seconds=300, bytes_per_second=1000, monotonic=clock.monotonic)


def test_a_body_that_goes_slowly_but_goes_is_borne(clock: Time, floor: Floor) -> None:
    for _ in range(100):
        clock.now += 30
        floor.moved(30_000)
        floor.check()


def test_a_body_that_trickles_is_given_up_after_one_window(clock: Time, floor: Floor) -> None:
    for _ in range(59):
        clock.now += 1
        floor.moved(1)
        floor.check()
    clock.now += 1
    with pytest.raises(StoreUnreachable, match="59 bytes moved within 60 s"):
        floor.check()


def test_waiting_for_our_own_limit_is_not_held_against_the_server(clock: Time, floor: Floor) -> None:
    clock.now += 3600
    floor.held_up(3600)
    floor.check()
    floor.sent()
    clock.now += 3600
    floor.held_up(3600)
    floor.check()


def test_an_answer_has_its_time_and_what_its_size_asks_for(clock: Time, floor: Floor) -> None:
    clock.now += 1000
    floor.sent()
    clock.now += 299
    floor.check()
    floor.announced(50_000)
    clock.now += 50
    floor.check()
    clock.now += 2
    with pytest.raises(StoreUnreachable, match="not there within 300 s"):
        floor.check()


def dribbling(text: bytes) -> Script:
    """A byte every 50 ms, for ever."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(text)
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)  # noqa: TID251 - what the server is there for

    return script


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_server_that_dribbles_its_answer_is_cut_off(text: bytes) -> None:
    with scripted_server(dribbling(text)) as scripted:
        pool = ConnectionPool(Endpoint.from_url(scripted.url), stall_seconds=5, answer_seconds=0.3)
        with closing(pool), pytest.raises(StoreUnreachable, match=r"within 0\.3 s"):
            pool.exchange(HttpRequest(method="GET", target="/", headers={}))


def sips(connection: socket.socket) -> None:
    """Reads some bytes now and then, for two seconds."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(100):
        connection.recv(4)
        time.sleep(0.02)  # noqa: TID251


def test_a_server_that_sips_a_body_is_cut_off() -> None:
    with scripted_server(sips) as scripted, tempfile.TemporaryFile() as file:
        file.truncate(64 * 2**20)
        request = HttpRequest(method="PUT", target="/", headers={}, body=FileSlice(file, 0, 64 * 2**20))
        with closing(ConnectionPool(Endpoint.from_url(scripted.url), stall_seconds=1)) as pool:
            raised = raising(lambda: pool.exchange(request))
    assert "moved" in str(raised)


def raising(call: Callable[[], object]) -> StoreUnreachable:
    with pytest.raises(StoreUnreachable) as caught:
        call()
    return caught.value
