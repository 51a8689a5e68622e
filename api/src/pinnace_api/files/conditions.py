"""What a request's headers ask of a content: digests, conditions and ranges (RFC 9110, 9530). Pure."""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final, NamedTuple

from pinnace_api.refusals import Invalid, PreconditionFailed, RangeUnsatisfiable

_MEMBER: Final = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/]*={0,2}):\s*(?:;[^,]*)?")
_HEX: Final = re.compile("[0-9a-fA-F]{64}")
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


class Span(NamedTuple):
    """`[start, stop)`"""

    start: int
    stop: int


def announced_sha256(plain: str, fields: Sequence[str]) -> str:
    """The digest that the content must have, in hex; empty: none was announced. Raises Invalid.

    `plain` is X-Pinnace-Sha256, `fields` are Repr-Digest and Content-Digest, which mean the same in a whole upload.
    """
    found = set()
    if plain:
        if not _HEX.fullmatch(plain.strip()):
            raise Invalid("this is no SHA-256 in hex", field="x-pinnace-sha256")
        found.add(plain.strip().lower())
    for field in fields:
        found |= {digest for member in field.split(",") if (digest := _sha256(member))}
    if len(found) > 1:
        raise Invalid("the headers name different digests", field="repr-digest")
    return found.pop() if found else ""


def digest_field(sha256: str) -> str:
    """For Repr-Digest."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"


def etag(sha256: str) -> str:
    return f'"{sha256}"'


def is_match(field: str, sha256: str | None) -> bool:
    """Whether If-None-Match or If-Match names the content, None for that there is none. Weak comparison."""
    if field.strip() == "*":
        return sha256 is not None
    return sha256 is not None and sha256 in {tag for _, tag in _TAG.findall(field)}


def check_write(if_match: str, if_none_match: str, sha256: str | None) -> None:
    """Raise PreconditionFailed unless the current content (None: there is none) is as the writer expects."""
    if if_none_match and is_match(if_none_match, sha256):
        raise PreconditionFailed("there is such a content under this path", field="if-none-match")
    if if_match and not is_match(if_match, sha256):
        raise PreconditionFailed("the path has another content now", field="if-match", hint="read it again")


def span_of(field: str, if_range: str, sha256: str, size: int) -> Span | None:
    """The one range that is asked for; None: everything. Raises RangeUnsatisfiable.

    Several ranges, other units and what is no range mean everything, as the standard has it.
    """
    match = _RANGE.fullmatch(field)
    if match is None or match[1] == match[2] == "":
        return None
    # Strong comparison; a date never matches.
    if if_range and if_range.strip() != etag(sha256):
        return None
    if not match[1]:
        span = Span(max(size - int(match[2]), 0), size)
    else:
        last = int(match[2]) if match[2] else size - 1
        if match[2] and last < int(match[1]):
            return None
        span = Span(int(match[1]), min(last + 1, size))
    if span.start >= span.stop:
        raise RangeUnsatisfiable(size)
    return span


def _sha256(member: str) -> str:
    match = _MEMBER.fullmatch(member)
    if match is None:
        raise Invalid("this is no digest field", field="repr-digest", hint="example: sha-256=:BASE64:")
    if match[1] != "sha-256":
        return ""  # others are not compared
    try:
        digest = b64decode(match[2], validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Invalid("this is no SHA-256 in base64", field="repr-digest", hint="example: sha-256=:BASE64:")
    return digest.hex()
