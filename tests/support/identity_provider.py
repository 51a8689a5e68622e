"""Identity providers on 127.0.0.1: a real one (oidc_provider/, a certified library), and one that forges."""

import base64
import hmac
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import urllib3
from joserfc import jwt
from joserfc.jwk import RSAKey

from pinnace_api.oidc.service import s256
from support.tools import tool

_SOURCE = Path(__file__).with_name("oidc_provider")


@contextmanager
def real_provider(folder: Path, *, client: str, secret: str, redirect: str) -> Iterator[str]:
    """The issuer's address. POST /rotate there changes its keys."""
    program = folder / "provider"
    subprocess.run([tool("go"), "build", "-o", str(program), "."], cwd=_SOURCE, check=True)
    with subprocess.Popen([str(program), client, secret, redirect], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Browser:
    """Cookies by host name and no scripts: what logging in needs."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}
        self._pool = urllib3.PoolManager(retries=False)

    def get(self, url: str) -> urllib3.BaseHTTPResponse:
        return self._send("GET", url)

    def follow(self, url: str, *, until: str) -> str:
        """Follow redirects from `url`; the first address that begins with `until`, not fetched."""
        for _ in range(10):
            if url.startswith(until):
                return url
            answer = self._send("GET", url)
            assert answer.status in (302, 303), (url, answer.status, answer.data)
            url = urljoin(url, answer.headers["location"])
        raise AssertionError("the redirects do not end")

    def log_in(self, login: str, *, user: str, password: str, until: str) -> str:
        """From our login route through the real provider's page to the first address that begins with `until`."""
        page = self.follow(login, until=self.provider_page(login))
        request = parse_qs(urlsplit(page).query)["authRequestID"][0]
        fields = {"username": user, "password": password, "id": request}
        answer = self._send("POST", page, fields=fields)
        assert answer.status == 302, answer.data
        return self.follow(urljoin(page, answer.headers["location"]), until=until)

    def provider_page(self, login: str) -> str:
        issuer = urlsplit(self._send("GET", login).headers["location"])
        return f"{issuer.scheme}://{issuer.netloc}/login/"

    def _send(self, method: str, url: str, fields: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        host = urlsplit(url).netloc
        cookies = self.cookies.setdefault(host, {})
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
        answer = (
            self._pool.request(method, url, headers=headers, redirect=False, fields=fields, encode_multipart=False)
            if fields
            else self._pool.request(method, url, headers=headers, redirect=False)
        )
        for line in answer.headers.getlist("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            cookies[name] = value.strip('"')
            if "max-age=0" in line.lower():
                del cookies[name]
        return answer


class ForgingProvider:
    """Answers the token request with whatever `forge` makes of the right claims."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.nonce = ""
        self.challenge = ""
        self.changes: dict[str, Any] = {}
        #: How the token is signed: RS256 by the published key unless a test says otherwise.
        self.signing = "RS256"
        self.key_requests = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer_get(self)

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                provider.answer_post(self, {name: values[0] for name, values in form.items()})

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def claims(self) -> dict[str, Any]:
        now = int(time.time())
        right = {
            "iss": self.issuer,
            "aud": self.client,
            "sub": "subject-1",
            "nonce": self.nonce,
            "iat": now,
            "exp": now + 300,
            "preferred_username": "Mallory",
            "groups": ["researchers"],
        }
        return {name: value for name, value in {**right, **self.changes}.items() if value is not None}

    def token(self) -> str:
        claims = self.claims()
        match self.signing:
            case "RS256":
                return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
            case "none":
                parts = ({"alg": "none"}, claims)
                return ".".join(_segment(json.dumps(part).encode()) for part in parts) + "."
            case "HS256":
                # Signed with our public key as if it were a secret that both sides share.
                signed = ".".join(_segment(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims))
                return f"{signed}.{_segment(hmac.digest(self.key.as_pem(private=False), signed.encode(), 'sha256'))}"
            case "another key":
                other = RSAKey.generate_key(2048, {"kid": "one"})
                return jwt.encode({"alg": "RS256", "kid": "one"}, claims, other)
            case _:
                return self.signing

    def answer_get(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        if path == "/.well-known/openid-configuration":
            _reply(
                handler,
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                },
            )
        else:
            self.key_requests += 1
            _reply(handler, {"keys": [self.key.as_dict(private=False)]})

    def answer_post(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        if s256(form.get("code_verifier", "")) != self.challenge:
            _reply(handler, {"error": "invalid_grant"}, status=400)
        else:
            _reply(handler, {"id_token": self.token(), "access_token": "", "token_type": "Bearer"})


def _segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _reply(handler: BaseHTTPRequestHandler, body: dict[str, Any], status: int = 200) -> None:
    content = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
