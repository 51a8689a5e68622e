"""The HTTPS endpoint that the API server calls, in a thread and an event loop of its own.

Apart from kopf's, because every replica answers, also one that does not lead, and because a watch that hangs must not
refuse pods. What can't be answered is an HTTP error: the webhook's failurePolicy says then what becomes of the object.
"""

import asyncio
import logging
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from pinnace_operator.admission.certificates import Serving
from pinnace_operator.admission.keeping import Keeper
from pinnace_operator.admission.review import Decision, Outcome, Request, UnreadableError, answer, read

Hook = Callable[[Request], Decision]

#: Told of each request: the hook's path, what came of it, and in how many seconds. From the server's thread.
Note = Callable[[str, Outcome, float], None]


def _silent(_path: str, _outcome: Outcome, _seconds: float) -> None:
    """Nobody counts."""


_Handler = Callable[[web.Request], Awaitable[tuple[web.StreamResponse, Decision]]]

#: Old and new object of the largest that an API server takes (3 MiB each), and what JSON adds.
MAX_BODY: Final = 8 * 2**20

#: Below the timeoutSeconds of the chart, so that the reason arrives.
ANSWER_S: Final = 4.0

#: Longer than API servers keep a connection without a request (90 s), so that they never send into one that we close.
KEEP_ALIVE_S: Final = 120.0

#: What requests under way get when we are asked to end.
END_S: Final = 5.0

#: And connections without a request, to close.
FAREWELL_S: Final = 0.1

_log = logging.getLogger(__name__)


class AdmissionServer:
    """A context. Entering it binds `port` (OSError where somebody listens); it answers once it has a certificate."""

    def __init__(self, hooks: Mapping[str, Hook], keeper: Keeper, *, port: int, note: Note = _silent) -> None:
        self._application = _application(hooks, note)
        self._keeper = keeper
        self._port = port
        self._stop = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="admission")

    def __enter__(self) -> Self:
        self._socket = _bound(self._port)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._wake()
        self._thread.join()

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # noqa: BLE001 - logged, and the end of this thread alone
            # The readiness probe tells it; Experiments are carried out all the same.
            _log.exception("webhook.ended")

    async def _serve(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        runner = web.AppRunner(
            self._application, access_log=None, keepalive_timeout=KEEP_ALIVE_S, shutdown_timeout=END_S
        )
        await runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        served: Serving | None = None
        try:
            while not self._stop.is_set():
                serving, pause = await asyncio.to_thread(self._keeper.look)
                if serving is not None and serving != served and _load(context, serving):
                    if served is None:
                        await web.SockSite(runner, self._socket, ssl_context=context).start()
                        _log.info("webhook.serving port=%d", self.port)
                    served = serving
                await _wait(woken, pause.total_seconds())
        finally:
            await _end(runner)
            self._socket.close()


def _bound(port: int) -> socket.socket:
    """On every address, and not listening yet."""
    dual = socket.has_dualstack_ipv6()
    bound = socket.socket(socket.AF_INET6 if dual else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dual:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("", port))
    except OSError:
        bound.close()
        raise
    return bound


async def _end(runner: web.AppRunner) -> None:
    """Answer what is under way, then close every connection, also those whose other end does not say goodbye."""
    open_ones = [] if runner.server is None else [handler.transport for handler in runner.server.connections]
    await runner.cleanup()
    await _wait(asyncio.Event(), FAREWELL_S)
    for transport in open_ones:
        if transport is not None:
            transport.abort()
    # The loop closes the sockets in its next turns.
    await _wait(asyncio.Event(), FAREWELL_S)


def _application(hooks: Mapping[str, Hook], note: Note) -> web.Application:
    application = web.Application(client_max_size=MAX_BODY)
    for path, hook in hooks.items():
        application.router.add_post(path, _noted(path, _handler(hook), note))

    async def healthy(request: web.Request) -> web.Response:  # noqa: ARG001 - the library's signature
        return web.Response(text="ok\n")

    application.router.add_get("/healthz", healthy)
    return application


def _noted(path: str, handler: _Handler, note: Note) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(http: web.Request) -> web.StreamResponse:
        begun, outcome = time.perf_counter(), Outcome.FAILED
        try:
            response, decision = await handler(http)
            outcome = Outcome.REFUSED if decision.refusal else Outcome.ALLOWED
            return response
        finally:
            note(path, outcome, time.perf_counter() - begun)

    return handle


def _handler(hook: Hook) -> _Handler:
    async def handle(http: web.Request) -> tuple[web.StreamResponse, Decision]:
        if http.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send an AdmissionReview as application/json\n")
        try:
            async with asyncio.timeout(ANSWER_S):
                request = read(await http.read())
                decision = await asyncio.to_thread(hook, request)
        except UnreadableError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        except TimeoutError as error:
            _log.warning("admission.timeout path=%s", http.path)
            raise web.HTTPGatewayTimeout(text=f"no decision within {ANSWER_S:g} s\n") from error
        except web.HTTPException:
            raise
        except Exception as error:
            _log.exception("admission.failed path=%s", http.path)
            raise web.HTTPInternalServerError(text="the operator's log says what went wrong\n") from error
        if decision.refusal:
            _log.info(
                "admission.refused kind=%s name=%s/%s dry_run=%s reason=%s",
                request.kind.kind,
                request.namespace,
                request.name,
                request.dry_run,
                decision.refusal,
            )
        return web.Response(body=answer(request.uid, decision), content_type="application/json"), decision

    return handle


def _load(context: ssl.SSLContext, serving: Serving) -> bool:
    """Have new connections see this certificate; those that are open go on."""
    with tempfile.NamedTemporaryFile(prefix="pinnace-webhook-") as file:  # readable by us only
        file.write(serving.certificate + serving.key)
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except (ssl.SSLError, OSError) as error:
            _log.warning("webhook.certificate.unusable error=%s", error)
            return False
    return True


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
