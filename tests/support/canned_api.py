"""A metadata API that answers GETs with given records, page by page: for tests of what reads from it."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import msgspec

from pinnace.records import ProblemDetails


@dataclass(slots=True)
class CannedApi:
    """`records`: path below /api/v1 → one record, or a list of them that is served in pages of `page_size`.

    A list whose path was asked for with `name=` or `project=` or `key=` is cut to the records that have it.
    """

    url: str
    token: str = "token"
    page_size: int = 2
    records: Mapping[str, msgspec.Struct | Sequence[msgspec.Struct]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def answer(self, target: str, authorization: str) -> tuple[int, bytes]:
        self.requests.append(target)
        if authorization != f"Bearer {self.token}":
            return problem(401, "unauthorized", "no or wrong token")
        url = urlsplit(target)
        found = self.records.get(url.path.removeprefix("/api/v1"))
        if found is None:
            return problem(404, "not-found", f"nothing at {url.path}")
        if isinstance(found, msgspec.Struct):
            return 200, msgspec.json.encode(found)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        filters = {name: value for name, value in query.items() if name in ("name", "project", "key")}
        rows = [row for row in found if all(getattr(row, name) == value for name, value in filters.items())]
        start, size = int(query.get("after", "0")), min(self.page_size, int(query["limit"]))
        following = str(start + size) if start + size < len(rows) else None
        return 200, msgspec.json.encode({"items": rows[start : start + size], "next": following})


def problem(status: int, code: str, detail: str) -> tuple[int, bytes]:
    return status, msgspec.json.encode(ProblemDetails(title=code, status=status, code=code, detail=detail))


@contextmanager
def canned_api() -> Iterator[CannedApi]:
    """A running one; stopped at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            status, body = api.answer(self.path, self.headers.get("authorization", ""))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        api = CannedApi(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
