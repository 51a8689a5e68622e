"""HTTP/1.1 as text: what a request looks like on the wire and what the head of an answer says. Pure."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from pinnace.stores.classification import BAD_ANSWER
from pinnace.stores.store import Sink, Source, TransientStoreError

_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_HEADER_LINES: Final = re.compile(r"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*)*")
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LENGTH: Final = re.compile("[0-9]{1,18}")


class FileSlice(msgspec.Struct, frozen=True):
    """`size` bytes of an open file from `offset` on, as a request's body."""

    source: Source
    offset: int
    size: int


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over the wire; `content-length` is added. An answer's body goes into `sink` if it has `sink_status`."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | FileSlice = b""
    sink: Sink | None = None
    sink_status: int = 200


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The head of an answer. Header names in lower case; a repeated header's values are joined by a comma."""

    status: int
    keep_alive: bool
    headers: dict[str, str]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; `body` is empty where it went into a sink."""

    status: int
    headers: dict[str, str]
    body: bytes


def request_head(request: HttpRequest) -> bytes:
    """Everything before the body."""
    size = len(request.body) if isinstance(request.body, bytes) else request.body.size
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if size or request.method in ("PUT", "POST"):
        lines.append(f"content-length: {size}")
    text = "\r\n".join(lines)
    # One line more than was meant would be a header, or a request, that nobody signed.
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a header must not have a line break in it")
    return f"{text}\r\n\r\n".encode("ascii")


def parse_head(data: bytes) -> Head:
    """Everything before the empty line. Raises TransientStoreError `BadAnswer`, as do the other functions in here."""
    text = data.decode("latin-1")
    line, *lines = text.split("\r\n")
    first = _STATUS_LINE.fullmatch(line)
    if not first:
        raise bad_answer(f"{line[:60]!r}, which is not HTTP/1.1")
    if not _HEADER_LINES.fullmatch(text, len(line)):
        wrong = next(line for line in lines if not _HEADER_LINES.fullmatch(f"\r\n{line}"))
        raise bad_answer(f"{wrong[:60]!r}, which is no header")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    keep_alive = first[1] == "1" and "close" not in headers.get("connection", "").lower()
    return Head(status=int(first[2]), keep_alive=keep_alive, headers=headers)


def content_length(headers: Mapping[str, str]) -> int | None:
    """In bytes; None without one."""
    text = headers.get("content-length")
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise bad_answer(f"the content-length {text[:60]!r}")
    return int(text)


def is_empty(headers: Mapping[str, str]) -> bool:
    """Whether the head says that no body follows."""
    return headers.get("content-length") == "0" and "transfer-encoding" not in headers


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Whether the body comes in chunks; there is no other transfer encoding that we asked for."""
    encoding = headers.get("transfer-encoding")
    if encoding is not None and encoding.lower() != "chunked":
        raise bad_answer(f"the transfer-encoding {encoding[:60]!r}")
    return encoding is not None


def parse_chunk_size(line: bytes) -> int:
    match = _CHUNK_LINE.fullmatch(line)
    if not match:
        raise bad_answer(f"{line[:60]!r}, which is no chunk size")
    return int(match[1], 16)


def bad_answer(what: str) -> TransientStoreError:
    """The error for an answer with `what` in it."""
    return TransientStoreError(f"the store answered with {what}", code=BAD_ANSWER.code, hint=BAD_ANSWER.hint)
