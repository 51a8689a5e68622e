"""A new connection to an endpoint: through its proxy where there is one, and by TLS where it is https."""

import socket
import ssl
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pinnace.settings import SettingsError
from pinnace.stores import http1
from pinnace.stores.classification import PROXY_HINT
from pinnace.stores.proxies import Proxy
from pinnace.stores.store import StoreRefused, StoreUnreachable, TransientStoreError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_PROXY_HEAD_BYTES: Final = 64 * 2**10


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
        return self._bracketed if self.port == _DEFAULT_PORTS[self.scheme] else f"{self._bracketed}:{self.port}"

    @property
    def host_and_port(self) -> str:
        """What CONNECT asks a proxy for: always with the port."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Dialler:
    """Opens connections. Safe to use from several threads at once.

    `ca_file`: PEM with the authorities to trust instead of the system's; read again when it has changed.
    `connect_seconds` bounds each of name resolution's addresses, the proxy's answer and the handshake.
    """

    def __init__(self, endpoint: Endpoint, *, ca_file: str, proxy: Proxy | None, connect_seconds: float) -> None:
        self._endpoint = endpoint
        self._ca_file = ca_file
        self._proxy = proxy
        self._connect_seconds = connect_seconds
        self._lock = threading.Lock()
        self._trust: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def dial(self) -> socket.socket:
        """Raises StoreUnreachable, or StoreRefused where certificates or the proxy are at fault."""
        sock = self._connect()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._endpoint.scheme == "https":
                if self._proxy is not None:
                    self._ask_for_tunnel(sock, self._proxy)
                sock = self._shake_hands(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect(self) -> socket.socket:
        to: Proxy | Endpoint = self._proxy or self._endpoint
        try:
            return socket.create_connection((to.host, to.port), self._connect_seconds)
        except socket.gaierror as error:
            name = "proxy's" if self._proxy else "endpoint's"
            raise StoreUnreachable(f"{to.host} has no address: {error}", hint=f"check the {name} name") from error
        except OSError as error:
            what = "the proxy" if self._proxy else "the store"
            raise StoreUnreachable(
                f"no connection to {to}: {error}", hint=f"check that {what} runs and that its address is right"
            ) from error

    def _ask_for_tunnel(self, sock: socket.socket, proxy: Proxy) -> None:
        target = self._endpoint.host_and_port
        request = http1.HttpRequest(method="CONNECT", target=target, headers={"host": target, **proxy.headers()})
        try:
            sock.sendall(http1.request_head(request))
            status = http1.parse_head(_head(sock)).status
        except OSError as error:
            raise StoreUnreachable(f"{proxy} did not open a way to {target}: {error}") from error
        except TransientStoreError as error:
            raise StoreUnreachable(f"{proxy} does not speak HTTP", hint="check the proxy's address") from error
        if status in (401, 403, 407):
            raise StoreRefused(
                f"{proxy} refuses a way to {target} ({status})",
                code="ProxyRefused",
                hint=PROXY_HINT if status != 403 else "have the proxy allow this host and port, or put it in no_proxy",
            )
        if not 200 <= status < 300:
            raise StoreUnreachable(
                f"{proxy} found no way to {target} ({status})", hint="check that the proxy can reach the store"
            )

    def _shake_hands(self, sock: socket.socket) -> socket.socket:
        try:
            return self._trusted().wrap_socket(sock, server_hostname=self._endpoint.host)
        except ssl.SSLCertVerificationError as error:
            raise StoreRefused(
                f"the certificate of {self._endpoint} is not trusted: {error.verify_message}",
                code="CertificateNotTrusted",
                hint="set ca_file to the PEM file of the authority that signed it",
            ) from error
        except OSError as error:
            raise StoreUnreachable(
                f"TLS with {self._endpoint} failed: {error}", hint="check that the endpoint speaks https"
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


def _head(sock: socket.socket) -> bytes:
    """The head of a proxy's answer and not a byte more: what follows belongs to TLS."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        peeked = sock.recv(4096, socket.MSG_PEEK)
        if not peeked:
            raise ConnectionError("it closed the connection")
        end = (bytes(head) + peeked).find(b"\r\n\r\n")
        head += sock.recv(len(peeked) if end < 0 else end + 4 - len(head))
        if len(head) > _MAX_PROXY_HEAD_BYTES:
            raise ConnectionError("its answer does not come to an end")
    return bytes(head[:-4])
