"""A TCP server that does on each connection exactly what a test says: for what no well-behaved server does."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: What to do with one connection; it is closed afterwards.
Script = Callable[[socket.socket], None]


@dataclass(slots=True)
class ScriptedServer:
    """Where it listens, and how many connections were accepted."""

    url: str
    connections: list[socket.socket] = field(default_factory=list)


@contextmanager
def scripted_server(*scripts: Script) -> Iterator[ScriptedServer]:
    """The n-th connection follows the n-th script; more connections than scripts are closed at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ScriptedServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(listener, server, scripts))
        thread.start()
        try:
            yield server
        finally:
            # Wakes accept(), which closing the socket would not.
            listener.shutdown(socket.SHUT_RDWR)
            for connection in server.connections:
                _hang_up(connection)
            thread.join()


def _serve(listener: socket.socket, server: ScriptedServer, scripts: tuple[Script, ...]) -> None:
    workers = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            break
        script = scripts[len(server.connections)] if len(server.connections) < len(scripts) else _hang_up
        server.connections.append(connection)
        workers.append(threading.Thread(target=_follow, args=(script, connection)))
        workers[-1].start()
    for worker in workers:
        worker.join()


def _follow(script: Script, connection: socket.socket) -> None:
    with connection:
        try:
            script(connection)
        except OSError:
            return  # the client has gone, which some tests want


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def read_request(connection: socket.socket) -> bytes:
    """One request, its body too; empty when the client closes the connection before the end of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65_536)
        if not received:
            return b""
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = int(lengths[0]) if lengths else 0
    pieces, missing = [body], size - len(body)
    while missing > 0:
        received = connection.recv(65_536)
        if not received:
            return b""
        pieces.append(received)
        missing -= len(received)
    return head + b"\r\n\r\n" + b"".join(pieces)


def answering(*answers: bytes) -> Script:
    """One answer after the other, each after a whole request; then waits for the client to close."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            if not read_request(connection):
                return
            connection.sendall(answer)
        read_request(connection)

    return script


def reset(connection: socket.socket) -> None:
    """End the connection by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
