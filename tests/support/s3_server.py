"""An S3 server for tests: checks what real ones don't, counts, and misbehaves on command.

It verifies each signature with botocore (not with the code under test), `x-amz-content-sha256` and
`x-amz-checksum-crc32c` against the body, and keeps objects in memory. `server.faults` holds rules; the first one that
matches a request is carried out and used up.
"""

import base64
import hashlib
import socket
import socketserver
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import google_crc32c
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY, REGION = "test-key", "test-secret-value", "us-east-1"


class Misbehaviour(StrEnum):
    """What can go wrong. `stored` ones carry the request out before they fail: the ambiguous cases."""

    RESET_BEFORE_BODY = "reset before the body is read"
    RESET_MID_BODY = "reset in the middle of the body"
    RESET_AFTER_BODY = "reset after the last byte, nothing stored"
    RESET_AFTER_STORED = "reset after the last byte, stored"
    STATUS = "a status and code, nothing stored"
    STATUS_STORED = "a status and code, stored"
    ERROR_IN_200 = "status 200 with an <Error> body, nothing stored"
    TRUNCATED_ANSWER = "stored, and the answer ends in the middle"
    WRONG_ETAG = "stored, and another ETag answered"
    LOSES_BYTES = "acknowledged, but stored without its last byte"
    WRONG_CONTENT = "acknowledged, but other content of the same size stored"
    SLOW = "stored, answered after `seconds`"


class Unknown(StrEnum):
    """What a server does about a header that it doesn't know."""

    REFUSED = "a 501"
    INVALID = "a 400 InvalidArgument"
    IGNORED = "nothing"


@dataclass(slots=True, kw_only=True)
class Traits:
    """What a server knows of S3 beyond what they all do; `unknown`: what it does about the rest."""

    checksums: bool = True
    whole_checksums: bool = True
    conditions: bool = True
    encryption: bool = True
    #: Takes `UNSIGNED-PAYLOAD`; a bucket's policy can forbid it.
    bare_bodies: bool = True
    #: Encrypted by KMS without having been asked to, as a bucket's default does it.
    always_kms: bool = False
    #: ETags are MD5s.
    md5_etags: bool = True
    unknown: Unknown = Unknown.REFUSED


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule: `operation` as in `Request.operation` or `*`; carried out `times` times."""

    kind: Misbehaviour
    operation: str = "*"
    key: str = ""
    times: int = 1
    status: int = 503
    code: str = "SlowDown"
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def answer(self) -> "Answer":
        status = 200 if self.kind is Misbehaviour.ERROR_IN_200 else self.status
        return _error(S3Error(status, self.code, "on command", **self.headers))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What the server holds of one key."""

    body: bytes
    etag: str
    crc32c: str | None
    stored_at: datetime
    encryption: str = ""


@dataclass(slots=True)
class Upload:
    """A multipart upload under way."""

    key: str
    initiated: datetime
    encryption: str = ""
    parts: dict[int, StoredObject] = field(default_factory=dict)


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


class S3Server(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1; use as a context manager. All state is guarded by `lock`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *, bucket: str = "bucket", certificates: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self._tls: ssl.SSLContext | None = None
        if certificates is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificates / "public.crt", certificates / "private.key")
        self.lock = threading.Lock()
        self.bucket = bucket
        self.objects: dict[str, StoredObject] = {}
        self.uploads: dict[str, Upload] = {}
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        #: How often each key was completed with which content: proves "exactly once".
        self.writes: Counter[tuple[str, str]] = Counter()
        #: How many bodies came without their SHA-256.
        self.bare_bodies = 0
        self.bytes_received = 0
        self.clock_offset = timedelta()
        self.credentials = {ACCESS_KEY: SECRET_KEY}
        self.expired_tokens: set[str] = set()
        self.traits = Traits()
        #: What is full beyond so many bytes.
        self.quota: int | None = None
        #: The tokens and proxies' words of the requests that came.
        self.tokens: list[str] = []
        self._numbers = iter(range(1, 10**9))
        self._turned_away: dict[str, Fault] = {}
        #: Called with the operation when a request was carried out, before anything is answered.
        self.on_done: Callable[[str], None] = lambda operation: None

    @property
    def endpoint(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with suppress(OSError), self._tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_offset

    def fault_for(self, operation: str, key: str) -> Fault | None:
        """The first rule for this request, used up by asking."""
        with self.lock:
            if (often := self._turned_away.get(operation)) is not None:
                often.times += 1
                if often.times % 2:
                    return often
            for fault in self.faults:
                if fault.times > 0 and fault.operation in ("*", operation) and fault.key in ("", key):
                    fault.times -= 1
                    self.counts[f"fault: {fault.kind}"] += 1
                    return fault
        return None

    def turn_away_every_other(self, operation: str, *, status: int, code: str) -> None:
        """Refuse the first, the third, … request of an operation, for as long as the server runs."""
        self._turned_away[operation] = Fault(kind=Misbehaviour.STATUS, status=status, code=code, times=0)

    # --- what S3 does

    def carry_out(self, request: Request) -> Answer:
        """Authenticate, check the digests and do it. Raises S3Error."""
        self._authenticate(request)
        self._understand(request)
        bucket, key = request.path
        if bucket != self.bucket:
            raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist")
        with self.lock:
            self.counts[request.operation] += 1
            self.bytes_received += len(request.body)
            action = getattr(self, f"_do_{request.operation.lower()}", None)
            if action is None:
                raise S3Error(501, "NotImplemented")
            answer: Answer = action(request, key)
            return answer

    def _understand(self, request: Request) -> None:
        """Take away headers that this server doesn't know, or refuse them."""
        traits = self.traits
        unknown = {
            "x-amz-checksum-crc32c": traits.checksums,
            "x-amz-checksum-algorithm": traits.checksums,
            "x-amz-checksum-mode": traits.checksums,
            "x-amz-checksum-type": traits.checksums and traits.whole_checksums,
            "if-none-match": traits.conditions,
            "x-amz-server-side-encryption": traits.encryption,
        }
        for name, is_known in unknown.items():
            if not is_known and request.headers.pop(name, None) is not None and request.method != "HEAD":
                if traits.unknown is Unknown.REFUSED:
                    raise S3Error(501, "NotImplemented", f"{name} is not implemented")
                if traits.unknown is Unknown.INVALID:
                    raise S3Error(400, "InvalidArgument", f"{name} is not known")

    def _authenticate(self, request: Request) -> None:
        authorization = request.headers.get("authorization", "")
        fields = dict(part.strip().partition("=")[::2] for part in authorization.partition(" ")[2].split(","))
        access_key = fields.get("Credential", "").partition("/")[0]
        secret = self.credentials.get(access_key)
        if secret is None:
            raise S3Error(403, "InvalidAccessKeyId" if access_key else "AccessDenied")
        token = request.headers.get("x-amz-security-token", "")
        with self.lock:
            self.tokens.append(token)
        if token in self.expired_tokens:
            raise S3Error(400, "ExpiredToken", "The provided token has expired.")
        date = request.headers.get("x-amz-date", "")
        if abs(datetime.strptime(date, "%Y%m%dT%H%M%S%z") - self.now()) > timedelta(minutes=15):
            raise S3Error(403, "RequestTimeTooSkewed", "The difference between the request time and now is too large.")
        if fields.get("Signature") != _expected_signature(
            request, fields, Credentials(access_key, secret, token or None)
        ):
            raise S3Error(403, "SignatureDoesNotMatch")
        stated = request.headers.get("x-amz-content-sha256", "")
        if stated == "UNSIGNED-PAYLOAD":
            if not self.traits.bare_bodies:
                raise S3Error(403, "AccessDenied", "The bucket's policy wants every body's SHA-256.")
            self.bare_bodies += 1
        if stated != "UNSIGNED-PAYLOAD" and stated != hashlib.sha256(request.body).hexdigest():
            raise S3Error(400, "XAmzContentSHA256Mismatch")
        crc32c = request.headers.get("x-amz-checksum-crc32c")
        # With Complete it is the whole object's.
        is_of_body = request.operation != "Complete"
        if crc32c is not None and is_of_body and request.body and crc32c != crc32c_of(request.body):
            raise S3Error(400, "BadDigest", "The CRC32C you specified did not match the calculated checksum.")

    def _do_put(self, request: Request, key: str) -> Answer:
        self._check_condition(request, key)
        self._check_quota(request)
        crc32c = request.headers.get("x-amz-checksum-crc32c")
        return self._store(key, request.body, crc32c, encryption=self._encryption(request))

    def _check_condition(self, request: Request, key: str) -> None:
        if request.headers.get("if-none-match") == "*" and key in self.objects:
            raise S3Error(412, "PreconditionFailed")

    def _check_quota(self, request: Request) -> None:
        if (
            self.quota is not None
            and sum(len(held.body) for held in self.objects.values()) + len(request.body) > self.quota
        ):
            raise S3Error(409, "QuotaExceeded", "The bucket is full.")

    def _encryption(self, request: Request) -> str:
        return "aws:kms" if self.traits.always_kms else request.headers.get("x-amz-server-side-encryption", "")

    def _etag_of(self, body: bytes) -> str:
        """Of what is encrypted by KMS, and of some servers, it is not the MD5."""
        return md5_of(body if self.traits.md5_etags and not self.traits.always_kms else b"salt" + body)

    def _store(self, key: str, body: bytes, crc32c: str | None, etag: str = "", encryption: str = "") -> Answer:
        stored = StoredObject(
            body=body,
            etag=etag or self._etag_of(body),
            crc32c=crc32c,
            stored_at=self.now(),
            encryption=encryption,
        )
        self.objects[key] = stored
        self.writes[key, hashlib.sha256(body).hexdigest()] += 1
        return Answer(headers=_described(stored))

    def _do_head(self, request: Request, key: str) -> Answer:
        stored = self._stored(key)
        return Answer(headers=_described(stored), length=len(stored.body))

    def _do_get(self, request: Request, key: str) -> Answer:
        stored = self._stored(key)
        span = request.headers.get("range", "").removeprefix("bytes=")
        if not span:
            return Answer(body=stored.body, headers=_described(stored))
        first, _, last = span.partition("-")
        piece = stored.body[int(first) : int(last) + 1 if last else None]
        end = int(first) + len(piece) - 1
        content_range = {"Content-Range": f"bytes {first}-{end}/{len(stored.body)}"}
        return Answer(status=206, body=piece, headers=_described(stored) | content_range)

    def _do_delete(self, request: Request, key: str) -> Answer:
        self.objects.pop(key, None)
        return Answer(status=204)

    def _do_list(self, request: Request, key: str) -> Answer:
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        most = int(request.query.get("max-keys", "1000"))
        keys = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        page = keys[:most]
        entries = "".join(
            f"<Contents><Key>{_xml_key(name)}</Key><Size>{len(self.objects[name].body)}</Size>"
            f"<ETag>&quot;{self.objects[name].etag}&quot;</ETag>"
            f"<LastModified>{_iso(self.objects[name].stored_at)}</LastModified></Contents>"
            for name in page
        )
        more = len(keys) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return _xml(
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{entries}</ListBucketResult>"
        )

    def _do_create(self, request: Request, key: str) -> Answer:
        identity = f"upload-{next(self._numbers)}"
        upload = Upload(key, self.now(), encryption=self._encryption(request))
        self.uploads[identity] = upload
        return _xml(
            f"<InitiateMultipartUploadResult><Bucket>{self.bucket}</Bucket><Key>{escape(key)}</Key>"
            f"<UploadId>{identity}</UploadId></InitiateMultipartUploadResult>"
        )

    def _do_putpart(self, request: Request, key: str) -> Answer:
        upload = self._upload(request)
        crc32c = request.headers.get("x-amz-checksum-crc32c")
        self._check_quota(request)
        part = StoredObject(
            body=request.body,
            etag=self._etag_of(request.body),
            crc32c=crc32c,
            stored_at=self.now(),
            encryption=upload.encryption,
        )
        upload.parts[int(request.query["partNumber"])] = part
        return Answer(headers=_described(part))

    def _do_listparts(self, request: Request, key: str) -> Answer:
        upload = self._upload(request)
        after, most = int(request.query.get("part-number-marker", "0")), int(request.query.get("max-parts", "1000"))
        numbers = sorted(number for number in upload.parts if number > after)
        page = numbers[:most]
        entries = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{upload.parts[number].etag}&quot;</ETag>"
            f"<Size>{len(upload.parts[number].body)}</Size>"
            + (f"<ChecksumCRC32C>{part_crc}</ChecksumCRC32C>" if (part_crc := upload.parts[number].crc32c) else "")
            + "</Part>"
            for number in page
        )
        more = len(numbers) > len(page)
        marker = f"<NextPartNumberMarker>{page[-1]}</NextPartNumberMarker>" if page else ""
        return _xml(
            f"<ListPartsResult><IsTruncated>{str(more).lower()}</IsTruncated>{marker}{entries}</ListPartsResult>"
        )

    def _do_complete(self, request: Request, key: str) -> Answer:
        upload = self._upload(request)
        self._check_condition(request, key)
        wanted: list[tuple[int, str]] = []
        for part in ElementTree.fromstring(request.body).iter():
            if part.tag.endswith("}Part") or part.tag == "Part":
                fields = {child.tag.rpartition("}")[2]: child.text or "" for child in part}
                wanted.append((int(fields["PartNumber"]), fields["ETag"].strip('"')))
        if [number for number, _ in wanted] != sorted({number for number, _ in wanted}):
            raise S3Error(400, "InvalidPartOrder")
        if any(number not in upload.parts or upload.parts[number].etag != etag for number, etag in wanted):
            raise S3Error(400, "InvalidPart")
        parts = [upload.parts[number] for number, _ in wanted]
        if any(len(part.body) < 5 * 2**20 for part in parts[:-1]):
            raise S3Error(400, "EntityTooSmall")
        body = b"".join(part.body for part in parts)
        etag = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts)).hexdigest() + f"-{len(parts)}"
        crc32c = composite_crc32c(parts)
        if request.headers.get("x-amz-checksum-type") == "FULL_OBJECT":
            crc32c = crc32c_of(body)
            if request.headers.get("x-amz-checksum-crc32c") not in (None, crc32c):
                raise S3Error(400, "BadDigest", "The checksum of the whole object did not match.")
        stored = self._store(key, body, crc32c, etag, upload.encryption)
        del self.uploads[request.query["uploadId"]]
        return _xml(
            f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>{escape(stored.headers['ETag'])}</ETag>"
            "</CompleteMultipartUploadResult>"
        )

    def _do_abort(self, request: Request, key: str) -> Answer:
        self._upload(request)
        del self.uploads[request.query["uploadId"]]
        return Answer(status=204)

    def _do_listuploads(self, request: Request, key: str) -> Answer:
        prefix = request.query.get("prefix", "")
        entries = "".join(
            f"<Upload><Key>{_xml_key(upload.key)}</Key><UploadId>{identity}</UploadId>"
            f"<Initiated>{_iso(upload.initiated)}</Initiated></Upload>"
            for identity, upload in sorted(self.uploads.items())
            if upload.key.startswith(prefix)
        )
        return _xml(
            "<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
            f"{entries}</ListMultipartUploadsResult>"
        )

    def _stored(self, key: str) -> StoredObject:
        if key not in self.objects:
            raise S3Error(404, "NoSuchKey")
        return self.objects[key]

    def _upload(self, request: Request) -> Upload:
        upload = self.uploads.get(request.query["uploadId"])
        if upload is None or upload.key != request.path[1]:
            raise S3Error(404, "NoSuchUpload", "The specified upload does not exist.")
        return upload


class _Connection(socketserver.StreamRequestHandler):
    """One keep-alive connection: reads requests, lets the server answer, carries faults out."""

    server: S3Server
    disable_nagle_algorithm = True
    timeout = 60

    def handle(self) -> None:
        try:
            while self._one_request():
                pass
        except (ConnectionError, TimeoutError, ValueError):
            return

    def _one_request(self) -> bool:
        line = self.rfile.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return False
        headers: dict[str, str] = {}
        while (header := self.rfile.readline(65536).decode("utf-8").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        head = Request(line[0], line[1], headers, b"")
        fault = self.server.fault_for(head.operation, head.path[1])
        length = int(headers.get("content-length", "0"))
        if fault and fault.kind is Misbehaviour.RESET_BEFORE_BODY:
            return self._reset()
        if fault and fault.kind is Misbehaviour.RESET_MID_BODY:
            self.rfile.read(length // 2)
            return self._reset()
        request = Request(line[0], line[1], headers, self.rfile.read(length))
        return self._answer(request, fault)

    def _answer(self, request: Request, fault: Fault | None) -> bool:
        if fault is None:
            return self._send(request, self._done(request))
        match fault.kind:
            case Misbehaviour.RESET_AFTER_BODY:
                return self._reset()
            case Misbehaviour.STATUS | Misbehaviour.ERROR_IN_200:
                return self._send(request, fault.answer())
            case Misbehaviour.LOSES_BYTES:
                return self._send(request, self._lose(request, request.body[:-1]))
            case Misbehaviour.WRONG_CONTENT:
                return self._send(request, self._keep_another(request))
        return self._answer_stored(request, fault)

    def _answer_stored(self, request: Request, fault: Fault) -> bool:
        answer = self._done(request)
        match fault.kind:
            case Misbehaviour.RESET_AFTER_STORED:
                return self._reset()
            case Misbehaviour.STATUS_STORED:
                return self._send(request, fault.answer())
            case Misbehaviour.SLOW:
                time.sleep(fault.seconds)
            case Misbehaviour.WRONG_ETAG:
                answer.headers["ETag"] = f'"{md5_of(b"something else")}"'
                answer.headers.pop("x-amz-checksum-crc32c", None)
            case Misbehaviour.TRUNCATED_ANSWER:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
                return self._reset()
        return self._send(request, answer)

    def _done(self, request: Request) -> Answer:
        try:
            answer = self.server.carry_out(request)
        except S3Error as error:
            return _error(error)
        self.server.on_done(request.operation)
        return answer

    def _lose(self, request: Request, kept: bytes) -> Answer:
        """Acknowledge the body and keep something else, as a broken disk cache would."""
        key = request.path[1]
        with self.server.lock:
            answer = self.server._store(key, request.body, request.headers.get("x-amz-checksum-crc32c"))
            self.server.writes[key, hashlib.sha256(request.body).hexdigest()] -= 1
            self.server._store(key, kept, None)
        return answer

    def _keep_another(self, request: Request) -> Answer:
        """Keep the body backwards, and describe that."""
        self.server._understand(request)
        with self.server.lock:
            answer = self.server._store(request.path[1], request.body[::-1], None)
            self.server.writes[request.path[1], hashlib.sha256(request.body[::-1]).hexdigest()] -= 1
        return answer

    def _send(self, request: Request, answer: Answer) -> bool:
        length = len(answer.body) if answer.length is None else answer.length
        head = [f"HTTP/1.1 {answer.status} Any", f"Content-Length: {length}"]
        head += [f"Date: {format_datetime(self.server.now(), usegmt=True)}", "x-amz-request-id: test"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        body = b"" if request.method == "HEAD" or answer.status == 204 else answer.body
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)
        return request.headers.get("connection", "").lower() != "close"

    def _reset(self) -> bool:
        # SO_LINGER 0 makes close() send RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.connection.close()
        raise ConnectionResetError


@contextmanager
def s3_server(*, bucket: str = "bucket", certificates: Path | None = None) -> Iterator[S3Server]:
    """A running server; stopped at the end. With `certificates` (support.certificate) it speaks TLS."""
    with S3Server(bucket=bucket, certificates=certificates) as server:
        yield server


def crc32c_of(body: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(body).digest()).decode()


def composite_crc32c(parts: list[StoredObject]) -> str | None:
    """S3's checksum of a multipart object: the CRC32C over the parts' CRC32Cs, and how many there are."""
    if any(part.crc32c is None for part in parts):
        return None
    joined = b"".join(base64.b64decode(part.crc32c or "") for part in parts)
    return f"{crc32c_of(joined)}-{len(parts)}"


def md5_of(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _described(stored: StoredObject) -> dict[str, str]:
    headers = {"ETag": f'"{stored.etag}"', "Last-Modified": format_datetime(stored.stored_at, usegmt=True)}
    if stored.crc32c is not None:
        headers["x-amz-checksum-crc32c"] = stored.crc32c
    if stored.encryption:
        headers["x-amz-server-side-encryption"] = stored.encryption
    return headers


def _expected_signature(request: Request, fields: dict[str, str], credentials: Credentials) -> str:
    signed = fields["SignedHeaders"].split(";")
    headers = {name: request.headers[name] for name in signed if name in request.headers}
    aws = AWSRequest(method=request.method, url=f"http://{request.headers['host']}{request.target}", headers=headers)
    aws.context["timestamp"] = request.headers["x-amz-date"]
    signer = _Signer(credentials, "s3", fields["Credential"].split("/")[2])
    signer.stated = request.headers.get("x-amz-content-sha256", "")
    canonical = signer.canonical_request(aws)
    return signer.signature(signer.string_to_sign(aws, canonical), aws)  # type: ignore[no-any-return]


class _Signer(S3SigV4Auth):  # type: ignore[misc]
    """botocore's signer with the payload's digest as the request states it."""

    stated = ""

    def payload(self, request: AWSRequest) -> str:
        return self.stated


def _error(error: S3Error) -> Answer:
    body = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
    return Answer(status=error.status, body=body.encode(), headers=dict(error.headers))


def _xml(body: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>{body}'
    return Answer(body=text.encode(), headers={"Content-Type": "application/xml"})


def _xml_key(key: str) -> str:
    return escape(quote(key))


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
