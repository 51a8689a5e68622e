"""Requests to an S3 server as they arrive, and its answers."""

from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived, its body read."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def path(self) -> tuple[str, str]:
        """Bucket and key."""
        bucket, _, key = urlsplit(self.target).path.lstrip("/").partition("/")
        return unquote(bucket), unquote(key)

    @property
    def operation(self) -> str:
        query, (_, key) = self.query, self.path
        if "uploadId" in query:
            names = {"PUT": "PutPart", "POST": "Complete", "DELETE": "Abort", "GET": "ListParts"}
        elif "uploads" in query:
            names = {"POST": "Create", "GET": "ListUploads"}
        elif key:
            names = {"PUT": "Put", "GET": "Get", "HEAD": "Head", "DELETE": "Delete"}
        else:
            names = {"GET": "List", "PUT": "CreateBucket", "HEAD": "HeadBucket"}
        return names.get(self.method, self.method)


class S3Error(Exception):
    """An error answer."""

    def __init__(self, status: int, code: str, message: str = "", **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.headers = status, code, message, headers


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: A HEAD says the length of what it does not send.
    length: int | None = None


def error_answer(error: S3Error) -> Answer:
    body = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
    return Answer(status=error.status, body=body.encode(), headers=dict(error.headers))


def xml_answer(body: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>{body}'
    return Answer(body=text.encode(), headers={"Content-Type": "application/xml"})


def xml_key(key: str) -> str:
    return escape(quote(key))


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
