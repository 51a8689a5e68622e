"""Are the watches alive? Each is connected anew within minutes; one that is not has been forgotten or hangs."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import kopf

#: The API server ends a watch after so long; it is resumed where it was.
WATCH_S: Final = 300

#: A watch is taken for dead when nothing arrives for so long. The server sends a bookmark every minute or so.
SILENCE_S: Final = 90

#: Without a new connection for so long, a watch is stale: two that were due did not come about.
STALE_S: Final = 2.0 * WATCH_S + SILENCE_S


class Watches:
    """Written by the loop, read by any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._connected: dict[str, float] = {}
        #: Something that was watched is no more.
        self.is_bereft = False
        #: In seconds since 1970; 0: nothing yet.
        self.last_event_at = 0.0

    def saw_event(self) -> None:
        self.last_event_at = time.time()

    def begin(self, watch: str) -> None:
        """It is about to be connected."""
        self._connected.setdefault(watch, self._monotonic())

    def connected(self, watch: str) -> None:
        self._connected[watch] = self._monotonic()
        self.saw_event()

    def has(self, api_version: str, plural: str) -> bool:
        """Whether some watch of these was ever begun."""
        group = f"/apis/{api_version}/"
        return any(path.startswith(group) and path.endswith(f"/{plural}") for path in list(self._connected))

    def forget(self) -> None:
        """They begin anew."""
        self._connected.clear()
        self.is_bereft = False

    def stale(self) -> list[str]:
        now = self._monotonic()
        return sorted(watch for watch, at in self._connected.items() if now - at > STALE_S)

    def session(self, info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        """kopf's own connection, which tells of each watch that is begun and connected."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._on_start)
        trace.on_request_end.append(self._on_end)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            proxy=info.proxy_url,
            trust_env=info.trust_env,
            trace_configs=[trace],
        )
        return kopf.AiohttpSession(
            server=info.server, default_namespace=info.default_namespace, aiohttp_session=session
        )

    async def _on_start(self, _session: Any, _context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        if params.url.query.get("watch") == "true":
            self.begin(params.url.path)

    async def _on_end(self, _session: Any, _context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        if params.response.status == 404 and params.url.path in self._connected:
            # To hear of it would bring all of kopf to its end, and not in good time: it has to wait until it is ended.
            self.is_bereft = True
            await asyncio.Event().wait()
        if params.url.query.get("watch") == "true" and params.response.status == 200:
            self.connected(params.url.path)
