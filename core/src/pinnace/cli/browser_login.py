"""Logging in with the browser: the API sends it to the identity provider, and it comes back to a port of ours.

What comes back is a one-time code, of no use without the verifier that never left this process.
"""

import base64
import hashlib
import secrets
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from pinnace.client import Client
from pinnace.errors import PinnaceError
from pinnace.records import SessionGrant

WAIT_SECONDS: Final = 300.0
_PAGE: Final = b"<!doctype html><title>Pinnace</title><p>You are logged in. This page can be closed."


class _Waiting(HTTPServer):
    timeout = WAIT_SECONDS
    code = ""
    gave_up = False

    def handle_timeout(self) -> None:
        self.gave_up = True


class _Handler(BaseHTTPRequestHandler):
    server: _Waiting

    def do_GET(self) -> None:
        code = parse_qs(urlsplit(self.path).query).get("code", [""])[0]
        self.send_response(HTTPStatus.OK if code else HTTPStatus.NOT_FOUND)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        if code:
            self.server.code = code
            self.wfile.write(_PAGE)

    def log_message(self, *_: object) -> None:
        """The address holds the code."""


def log_in(client: Client, api_url: str, *, show: Callable[[str], object]) -> SessionGrant:
    """The session that the login in the browser ended with; `show` gets the address to open.

    Raises PinnaceError when nobody logs in within five minutes, ApiError when the API refuses.
    """
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with _Waiting(("127.0.0.1", 0), _Handler) as server:
        query = urlencode({"port": server.server_port, "challenge": challenge})
        address = f"{api_url.rstrip('/')}/api/v1/oidc/login?{query}"
        show(address)
        webbrowser.open(address)
        while not server.code:
            server.handle_request()
            if server.gave_up:
                raise PinnaceError("nobody logged in", hint="open the address in a browser of this computer")
        return client.exchange(server.code, verifier)
