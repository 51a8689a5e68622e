"""A token service on 127.0.0.1: AssumeRoleWithWebIdentity and AssumeRole, with what it was shown."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qs


class TokenService:
    """`seconds`: how long what it gives is valid; `refuses`: the code of an error to answer with instead."""

    def __init__(self, access_key: str, secret: str) -> None:
        self.access_key, self.secret = access_key, secret
        self.seconds = 3600.0
        self.refuses = ""
        self.shown: list[str] = []
        self.url = ""
        self._numbers = count(1)

    def answer(self, form: dict[str, list[str]]) -> tuple[int, str]:
        action = form["Action"][0]
        self.shown.append(form["WebIdentityToken" if action == "AssumeRoleWithWebIdentity" else "Policy"][0])
        if self.refuses:
            return 400, (
                f"<ErrorResponse><Error><Type>Sender</Type><Code>{self.refuses}</Code><Message>no</Message></Error>"
                "</ErrorResponse>"
            )
        ends = (datetime.now(UTC) + timedelta(seconds=self.seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 200, (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<{action}Result><Credentials>"
            f"<AccessKeyId>{self.access_key}</AccessKeyId><SecretAccessKey>{self.secret}</SecretAccessKey>"
            f"<SessionToken>session-{next(self._numbers)}</SessionToken><Expiration>{ends}</Expiration>"
            f"</Credentials></{action}Result></{action}Response>"
        )


@contextmanager
def token_service(access_key: str, secret: str) -> Iterator[TokenService]:
    """A running one; stopped at the end."""
    service = TokenService(access_key, secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, text = service.answer(form)
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
