"""How uvicorn serves the application, wherever that is, and how it ends."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from litestar import Litestar

from pinnace_api.settings import ApiSettings

#: Of the time that requests under way get at the end, uploads are told this share earlier that they are to go on
#: elsewhere: keeping what has arrived takes time too.
_UPLOADS_SHARE: Final = 0.5


def options(settings: ApiSettings) -> dict[str, Any]:
    """uvicorn.Config's. Left alone, it believes what anybody on this computer says of a caller's address."""
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
        # Seconds, whole ones by its types.
        "timeout_graceful_shutdown": settings.grace_seconds,
    }


class Server(uvicorn.Server):
    """Asked to end, it takes no new requests and finishes those under way within the settings' time."""

    def __init__(self, app: Litestar, settings: ApiSettings, started: Callable[[], object] = lambda: None) -> None:
        super().__init__(uvicorn.Config(app, **options(settings)))
        self._stop_uploads = app.state.stop
        self._uploads_seconds = settings.grace_seconds * _UPLOADS_SHARE
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        timer = asyncio.get_running_loop().call_later(self._uploads_seconds, self._stop_uploads)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()


def listener(settings: ApiSettings) -> socket.socket:
    """A socket at the settings' address; connections are refused until it is served. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def url_of(bound: socket.socket) -> str:
    """The address that a client on this computer uses."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
