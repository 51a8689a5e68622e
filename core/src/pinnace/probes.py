"""What can be asked of a running process: /healthz (is it alive?) and /metrics (Prometheus)."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_log = logging.getLogger(__name__)


class ProbeServer:
    """Serves on `port` of every address (0: any free one, see `port`) until `close`.

    `metrics` is a text in Prometheus' format, `complaint` why the process is not well; empty: it is. Both are called
    from threads of the server's.
    """

    def __init__(self, port: int, metrics: Callable[[], bytes], complaint: Callable[[], str]) -> None:
        self._server = ThreadingHTTPServer(("", port), _handler(metrics, complaint))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="probes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(metrics: Callable[[], bytes], complaint: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # A probe that connects and says nothing must not hold a thread for ever.
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, metrics(), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path != "/healthz":
                self._answer(HTTPStatus.NOT_FOUND, b"only /healthz and /metrics are here\n")
            elif said := complaint():
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{said}\n".encode())
            else:
                self._answer(HTTPStatus.OK, b"ok\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            _log.debug(format % args)

        def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
