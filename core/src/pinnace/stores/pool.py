"""Connections to one endpoint, kept open between requests and shared by threads.

The only thing that is ever sent twice in here is a repeatable request on a connection that had been idle and that the
other side closed before a byte of an answer: servers do that at any time, and it says nothing about the store.
"""

import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from pinnace.settings import SettingsError
from pinnace.stores.connection import Connection
from pinnace.stores.http1 import Answer, HttpRequest
from pinnace.stores.store import StoreRefused, StoreUnreachable

CONNECT_SECONDS: Final = 10.0
STALL_SECONDS: Final = 60.0
#: Below the idle time-outs of the usual stores and load balancers.
IDLE_SECONDS: Final = 15.0
MAX_IDLE: Final = 16

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store listens."""

    scheme: str
    host: str
    port: int

    @classmethod
    def from_url(cls, url: str) -> "Endpoint":
        """`http[s]://HOST[:PORT]`; SettingsError for anything else."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == -1 or not is_bare:
            raise SettingsError(
                f"{url!r} is no endpoint of a store", hint="write http[s]://HOST[:PORT], without a path"
            )
        return cls(scheme=parts.scheme, host=parts.hostname, port=port or _DEFAULT_PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """The Host header: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class _Idle(NamedTuple):
    connection: Connection
    since: float


class ConnectionPool:
    """As many connections as there are exchanges at a time; at most MAX_IDLE of them are kept for the next.

    `ca_file`: PEM with the authorities to trust instead of the system's; read again when it has changed.
    `connect_seconds` bounds each of name resolution's addresses and the handshake, `stall_seconds` every wait after.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ca_file: str = "",
        connect_seconds: float = CONNECT_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self._ca_file = ca_file
        self._connect_seconds = connect_seconds
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []
        self._trust: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def close(self) -> None:
        """Close idle connections; exchanges under way go on, and the pool stays usable."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def exchange(self, request: HttpRequest, *, repeatable: bool = True) -> Answer:
        """One exchange (Connection.exchange) on a connection of the pool. `repeatable`: doing it twice is harmless."""
        connection = self._take_idle()
        if connection is not None:
            try:
                return self._exchange_on(connection, request)
            except StoreUnreachable:
                if not (repeatable and connection.dropped_unanswered):
                    raise
        return self._exchange_on(self._connect(), request)

    def _exchange_on(self, connection: Connection, request: HttpRequest) -> Answer:
        try:
            answer = connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        self._put_back(connection)
        return answer

    def _take_idle(self) -> Connection | None:
        """The one that was used last: the others may grow old and be closed."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and connection.is_quiet():
                return connection
            connection.close()

    def _put_back(self, connection: Connection) -> None:
        if connection.reusable:
            with self._lock:
                if len(self._idle) < MAX_IDLE:
                    self._idle.append(_Idle(connection, time.monotonic()))
                    return
        connection.close()

    def _connect(self) -> Connection:
        host, port = self.endpoint.host, self.endpoint.port
        try:
            sock = socket.create_connection((host, port), self._connect_seconds)
        except socket.gaierror as error:
            raise StoreUnreachable(f"{host} has no address: {error}", hint="check the endpoint's name") from error
        except OSError as error:
            raise StoreUnreachable(
                f"no connection to {self.endpoint}: {error}",
                hint="check that the store runs and that its endpoint is right",
            ) from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.endpoint.scheme == "https":
                sock = self._shake_hands(sock)
            return Connection(sock, stall_seconds=self._stall_seconds)
        except BaseException:
            sock.close()
            raise

    def _shake_hands(self, sock: socket.socket) -> socket.socket:
        try:
            return self._trusted().wrap_socket(sock, server_hostname=self.endpoint.host)
        except ssl.SSLCertVerificationError as error:
            raise StoreRefused(
                f"the certificate of {self.endpoint} is not trusted: {error.verify_message}",
                code="CertificateNotTrusted",
                hint="set ca_file to the PEM file of the authority that signed it",
            ) from error
        except OSError as error:
            raise StoreUnreachable(
                f"TLS with {self.endpoint} failed: {error}", hint="check that the endpoint speaks https"
            ) from error

    def _trusted(self) -> ssl.SSLContext:
        stamp = self._stamp()
        with self._lock:
            if self._trust is None or self._trust[0] != stamp:
                self._trust = (stamp, self._new_context())
            return self._trust[1]

    def _stamp(self) -> tuple[int, ...]:
        if not self._ca_file:
            return ()
        try:
            stat = Path(self._ca_file).stat()
        except OSError as error:
            raise self._unusable_ca_file(error) from error
        return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _new_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            raise self._unusable_ca_file(error) from error
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _unusable_ca_file(self, error: OSError) -> StoreRefused:
        return StoreRefused(
            f"the authorities in {self._ca_file} can't be read: {error}",
            code="CaFileUnusable",
            hint="set ca_file to a PEM file with the store's authority",
        )
