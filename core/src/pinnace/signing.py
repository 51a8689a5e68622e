"""AWS Signature Version 4 for S3: pure functions, a stage each, with the time passed in.

`sign` reads as the specification: canonical request → string to sign → signature → header. The two strings between
are public because comparing them with the store's own is how a SignatureDoesNotMatch is understood.

S3 differs from AWS's other services, and this is S3's way: a path is encoded once and never normalised (`a//b`, `.` and
`..` are keys like others), and `x-amz-content-sha256` is always sent. A Request holds path and query as they go over
the wire, so what is sent is what was signed.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import msgspec

ALGORITHM: Final = "AWS4-HMAC-SHA256"
#: Stands for the body's digest where that is not signed: in a presigned URL, whose user decides what the body is.
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
#: The longest that S3 lets a presigned URL live: seven days.
MAX_PRESIGNED_SECONDS: Final = 7 * 24 * 3600

_SERVICE: Final = "s3"
#: Paths that are encoded as they are.
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~/-]*").fullmatch


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """An access key. Printing it shows the key's id only."""

    access_key_id: str
    secret_access_key: str
    #: Comes with temporary credentials; empty for others.
    session_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r}, secret_access_key='***')"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature covers. `path` and `query` are encoded: made by `encode_path` and `encode_query`."""

    method: str
    #: As in the Host header: with the port unless it is the scheme's own.
    host: str
    path: str
    query: str = ""
    #: Name in lower case → value. All of them are signed, besides `host` and the `x-amz-…` that signing adds.
    headers: dict[str, str] = {}
    #: SHA-256 of the body in lower-case hex, or UNSIGNED_PAYLOAD.
    payload_sha256: str

    @property
    def target(self) -> str:
        """The request line's second word."""
        return f"{self.path}?{self.query}" if self.query else self.path


def sign(request: Request, credentials: Credentials, region: str, now: datetime) -> dict[str, str]:
    """All headers to send with `request`: its own, `host`, the `x-amz-…` ones and `authorization`.

    `now` must be aware; a store refuses one that is more than 15 minutes off its own clock.
    """
    timestamp = _timestamp(now)
    headers = {
        **request.headers,
        "host": request.host,
        "x-amz-content-sha256": request.payload_sha256,
        "x-amz-date": timestamp,
    }
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = _signed_headers(tuple(headers))
    canonical = canonical_request(request, headers, names)
    signature = sign_string(credentials, region, timestamp, string_to_sign(canonical, region, timestamp))
    headers["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{_scope(region, timestamp)},"
        f"SignedHeaders={names},Signature={signature}"
    )
    return headers


def presign(request: Request, credentials: Credentials, region: str, now: datetime, *, seconds: int) -> str:
    """The target (path and query) with which anybody may send `request` for `seconds` from `now`, without a key.

    The user must send the request's own headers as they are; the body is not signed, whatever `payload_sha256` says.
    """
    if not 1 <= seconds <= MAX_PRESIGNED_SECONDS:
        raise ValueError(f"a presigned URL lives 1 to {MAX_PRESIGNED_SECONDS} seconds, not {seconds}")
    timestamp = _timestamp(now)
    headers = {**request.headers, "host": request.host}
    pairs = [
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key_id}/{_scope(region, timestamp)}"),
        ("X-Amz-Date", timestamp),
        ("X-Amz-Expires", str(seconds)),
        ("X-Amz-SignedHeaders", signed_headers(headers)),
    ]
    if credentials.session_token:
        pairs.append(("X-Amz-Security-Token", credentials.session_token))
    query = _sorted_query([*_encoded_pairs(pairs), *_split_query(request.query)])
    unsigned = msgspec.structs.replace(request, query=query, payload_sha256=UNSIGNED_PAYLOAD)
    canonical = canonical_request(unsigned, headers)
    signature = sign_string(credentials, region, timestamp, string_to_sign(canonical, region, timestamp))
    return f"{unsigned.target}&X-Amz-Signature={signature}"


def canonical_request(request: Request, headers: dict[str, str], names: str = "") -> str:
    """The request as both sides write it down before they hash it; `headers` are those to sign.

    `names`: their `signed_headers`, where they are known.
    """
    names = names or signed_headers(headers)
    values = "".join(headers.values())
    if " " in values or not values.isprintable():
        # Blanks in a row count as one, and those at the ends not at all; most headers have none.
        headers = {name: " ".join(value.split()) for name, value in headers.items()}
    lines = "".join([f"{name}:{headers[name]}\n" for name in names.split(";")])
    return f"{request.method}\n{request.path}\n{request.query}\n{lines}\n{names}\n{request.payload_sha256}"


def string_to_sign(canonical: str, region: str, timestamp: str) -> str:
    """`timestamp` as in `x-amz-date`: YYYYMMDDTHHMMSSZ."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{_scope(region, timestamp)}\n{digest}"


@lru_cache(maxsize=8)
def signing_key(secret_access_key: str, region: str, day: str) -> bytes:
    """The key of one day (YYYYMMDD) and region: four HMACs that hundreds of thousands of requests share."""
    key = _hmac(f"AWS4{secret_access_key}".encode(), day)
    for word in (region, _SERVICE, "aws4_request"):
        key = _hmac(key, word)
    return key


def sign_string(credentials: Credentials, region: str, timestamp: str, text: str) -> str:
    """The signature of a string to sign, in hex."""
    return _hmac(signing_key(credentials.secret_access_key, region, timestamp[:8]), text).hex()


def signed_headers(headers: Iterable[str]) -> str:
    """The names of the signed headers as the Authorization header lists them."""
    return _signed_headers(tuple(headers))


@lru_cache(maxsize=64)
def _signed_headers(headers: tuple[str, ...]) -> str:
    return ";".join(sorted(headers))


def encode_path(*parts: str) -> str:
    """The wire path of `/` + the parts joined by `/`: every byte but A-Z a-z 0-9 - . _ ~ and `/` as %XX, once."""
    path = "/".join(parts)
    return f"/{path}" if _PLAIN(path) else "/" + quote(path, safe="/~")


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values encoded and sorted as the signature wants them; a parameter without a value gets `=` too."""
    return _sorted_query(_encoded_pairs(pairs)) if pairs else ""


def _encoded_pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs]


def _split_query(query: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (word.partition("=") for word in query.split("&") if word)]


def _sorted_query(encoded: list[tuple[str, str]]) -> str:
    # Names first, then values: sorting the joined text would put `a-=` before `a=`.
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _timestamp(now: datetime) -> str:
    if now.tzinfo is None:
        raise ValueError("the time of a signature needs a time zone")
    # Six times as fast as strftime; there is one for each request.
    at = now if now.tzinfo is UTC else now.astimezone(UTC)
    return f"{at.year:04}{at.month:02}{at.day:02}T{at.hour:02}{at.minute:02}{at.second:02}Z"


def _scope(region: str, timestamp: str) -> str:
    return f"{timestamp[:8]}/{region}/{_SERVICE}/aws4_request"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
