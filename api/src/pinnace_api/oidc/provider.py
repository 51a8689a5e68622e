"""What is asked of the identity provider: where it is, its keys, and whose login a code stands for.

Only signatures with a key pair are taken: a token without one, or signed with a shared secret, is nobody's. Keys are
fetched again when a token names one that is not known, at most every half minute.
"""

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from urllib3.exceptions import HTTPError

from pinnace_api.refusals import Unauthorized, Unavailable
from pinnace_api.settings import ApiSettings, is_loopback

#: With a key pair, each of them.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=10.0)
_MAX_BYTES: Final = 2**20
_METADATA_SECONDS: Final = 3600.0
_REFRESH_SECONDS: Final = 30.0
#: By how much the provider's clock and ours may differ.
_LEEWAY_SECONDS: Final = 60

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class _Metadata(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str = ""


class Provider:
    """The identity provider of the settings. Safe to use from several threads."""

    def __init__(self, settings: ApiSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._redirect = f"{settings.public_url}/api/v1/oidc/callback"
        self._clock = clock
        self._pool = urllib3.PoolManager(
            timeout=_TIMEOUT, retries=False, cert_reqs="CERT_REQUIRED", ca_certs=settings.oidc_ca_file or None
        )
        self._lock = threading.Lock()
        self._metadata: tuple[float, _Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def address(self, *, state: str, nonce: str, challenge: str) -> str:
        """Where to send the browser. Raises Unavailable."""
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": self._redirect,
            "scope": " ".join(self._settings.oidc_scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = self._discovered().authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def claims(self, *, code: str, verifier: str, nonce: str) -> Mapping[str, Any]:
        """What the provider vouches for in exchange for the code. Raises Unauthorized or Unavailable."""
        tokens = self._exchange(code, verifier)
        claims = self._verified(tokens.id_token, nonce)
        endpoint = self._discovered().userinfo_endpoint
        if not endpoint or not tokens.access_token:
            return claims
        headers = {"authorization": f"Bearer {tokens.access_token}"}
        more = _decoded(self._request("GET", endpoint, headers=headers), dict[str, Any])
        if more.get("sub") != claims["sub"]:
            raise _failed("the user's facts are another user's")
        return {**more, **claims}

    def _exchange(self, code: str, verifier: str) -> _Tokens:
        metadata = self._discovered()
        client, secret = self._settings.oidc_client_id, self._secret()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if not secret:
            fields["client_id"] = client
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            fields |= {"client_id": client, "client_secret": secret}
        return _decoded(self._request("POST", metadata.token_endpoint, urlencode(fields), headers), _Tokens)

    def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._settings.oidc_issuer},
            aud={"essential": True, "value": self._settings.oidc_client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        for fresh in (False, True):
            try:
                claims = jwt.decode(token, self._key_set(fresh=fresh), algorithms=list(ALGORITHMS)).claims
            except (JoseError, ValueError) as error:
                if fresh or not self._may_refresh():
                    raise _failed(f"the identity token is not the provider's: {type(error).__name__}") from error
                continue
            try:
                registry.validate(claims)
            except JoseError as error:
                raise _failed(f"the identity token is not for this login: {error}") from error
            break
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._settings.oidc_client_id:
            raise _failed("the identity token is for another program")
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
            raise _failed("the identity token names nobody")
        return claims

    def _discovered(self) -> _Metadata:
        with self._lock:
            known = self._metadata
        if known is not None and self._clock() - known[0] < _METADATA_SECONDS:
            return known[1]
        issuer = self._settings.oidc_issuer
        address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = _decoded(self._request("GET", address), _Metadata)
        if metadata.issuer != issuer:
            raise Unavailable("the identity provider calls itself otherwise", hint="oidc_issuer must be its very name")
        for endpoint in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
            parts = urlsplit(endpoint)
            if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
                raise Unavailable("the identity provider wants secrets over plain http")
        with self._lock:
            self._metadata = (self._clock(), metadata)
        return metadata

    def _key_set(self, *, fresh: bool) -> KeySet:
        with self._lock:
            known = self._keys
        if known is not None and not fresh and self._clock() - known[0] < _METADATA_SECONDS:
            return known[1]
        found: Any = _decoded(self._request("GET", self._discovered().jwks_uri), dict[str, Any])
        try:
            keys = KeySet.import_key_set(found)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Unavailable("the identity provider's keys can't be read") from error
        with self._lock:
            self._keys = (self._clock(), keys)
        return keys

    def _may_refresh(self) -> bool:
        with self._lock:
            return self._keys is None or self._clock() - self._keys[0] >= _REFRESH_SECONDS

    def _secret(self) -> str:
        if not self._settings.oidc_client_secret_file:
            return ""
        try:
            return Path(self._settings.oidc_client_secret_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            _log.error("oidc.secret_unreadable", extra={"fields": {"cause": error.strerror}})
            raise Unavailable("the secret for the identity provider can't be read") from error

    def _request(
        self, method: str, url: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        try:
            answer = self._pool.request(
                method, url, body=body, headers=dict(headers or {}), redirect=False, preload_content=False
            )
            content = answer.read(_MAX_BYTES)
            answer.release_conn()
        except (HTTPError, OSError) as error:
            _log.warning("oidc.unreachable", extra={"fields": {"cause": str(error)}})
            raise Unavailable("the identity provider can't be reached", hint="try again") from error
        if answer.status >= 500:
            raise Unavailable("the identity provider can't answer at the moment", hint="try again")
        if answer.status != 200:
            raise _failed(f"the identity provider answers {answer.status}")
        return content


def _decoded(content: bytes, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable("the identity provider answers what can't be read") from error


def _failed(cause: str) -> Unauthorized:
    """The cause is for the log: to whoever tries, all failures are the same."""
    _log.warning("oidc.refused", extra={"fields": {"cause": cause}})
    return Unauthorized("the login at the identity provider failed", hint="begin again")
