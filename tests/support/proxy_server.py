"""An HTTP proxy on 127.0.0.1: passes absolute-form requests on, opens tunnels, asks for a user, and counts."""

import base64
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlsplit


class ProxyServer(socketserver.ThreadingTCPServer):
    """`user` (`name:password`): who may pass; empty: everybody. `refusal`: a status to answer everything with."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Client)
        self.user = ""
        self.refusal = 0
        #: `METHOD target` of each request that it read.
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Client(socketserver.StreamRequestHandler):
    server: ProxyServer

    def handle(self) -> None:
        try:
            while self._one_request():
                pass
        except (OSError, ValueError):
            return

    def _one_request(self) -> bool:
        line = self.rfile.readline(65536).decode("latin-1")
        if not line:
            return False
        method, target, _ = line.split()
        headers: dict[str, str] = {}
        while (header := self.rfile.readline(65536).decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        self.server.requests.append(f"{method} {target}")
        body = self.rfile.read(int(headers.get("content-length", "0")))
        if status := self._refusal(headers):
            self.wfile.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            return method != "CONNECT"
        if method == "CONNECT":
            return self._tunnel(target)
        return self._pass_on(method, target, headers, body)

    def _refusal(self, headers: dict[str, str]) -> int:
        if self.server.refusal:
            return self.server.refusal
        wanted = f"Basic {base64.b64encode(self.server.user.encode()).decode()}"
        return 407 if self.server.user and headers.get("proxy-authorization") != wanted else 0

    def _pass_on(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bool:
        url = urlsplit(target)
        assert url.scheme == "http", "absolute form"
        headers.pop("proxy-authorization", None)
        lines = [f"{method} {url.path}{f'?{url.query}' if url.query else ''} HTTP/1.1", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        with socket.create_connection((url.hostname or "", url.port or 80)) as upstream:
            upstream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            while data := upstream.recv(65536):
                self.wfile.write(data)
        return False

    def _tunnel(self, target: str) -> bool:
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            ends = {self.connection: upstream, upstream: self.connection}
            while ends:
                ready, _, _ = select.select(list(ends), [], [], 30)
                if not ready:
                    return False
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return False
                    ends[end].sendall(data)
        return False


@contextmanager
def proxy_server() -> Iterator[ProxyServer]:
    """A running proxy; stopped at the end."""
    with ProxyServer() as server:
        yield server
