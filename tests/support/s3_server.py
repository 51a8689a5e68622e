"""An S3 server for tests: checks what real ones don't, counts, and misbehaves on command.

It verifies each signature with botocore (not with the code under test), `x-amz-content-sha256` and
`x-amz-checksum-crc32c` against the body, and keeps objects in memory. `server.faults` holds rules; the first one that
matches a request is carried out and used up.
"""

import hashlib
import socketserver
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from support.s3_authentication import check_digests, check_signature
from support.s3_connection import S3Connection
from support.s3_exchange import Answer, Request, S3Error, iso, xml_answer, xml_key
from support.s3_faults import Fault, Misbehaviour, Traits, Unknown
from support.s3_objects import StoredObject, Upload, composite_crc32c, crc32c_of, described, md5_of

#: Everything that a test asks of the server comes from here.
__all__ = [
    "ACCESS_KEY",
    "REGION",
    "SECRET_KEY",
    "Fault",
    "Misbehaviour",
    "S3Server",
    "StoredObject",
    "Traits",
    "Unknown",
    "composite_crc32c",
    "crc32c_of",
    "md5_of",
    "s3_server",
]

ACCESS_KEY, SECRET_KEY, REGION = "test-key", "test-secret-value", "us-east-1"


class S3Server(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1; use as a context manager. All state is guarded by `lock`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *, bucket: str = "bucket", certificates: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), S3Connection)
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
        self.bytes_received = 0
        #: How many bodies came without their SHA-256.
        self.bare_bodies = 0
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

    def lose(self, request: Request, kept: bytes) -> Answer:
        """Acknowledge the body and keep something else, as a broken disk cache would."""
        key = request.path[1]
        with self.lock:
            answer = self._store(key, request.body, request.headers.get("x-amz-checksum-crc32c"))
            self.writes[key, hashlib.sha256(request.body).hexdigest()] -= 1
            self._store(key, kept, None)
        return answer

    def keep_another(self, request: Request) -> Answer:
        """Keep the body backwards, and describe that."""
        self._understand(request)
        with self.lock:
            answer = self._store(request.path[1], request.body[::-1], None)
            self.writes[request.path[1], hashlib.sha256(request.body[::-1]).hexdigest()] -= 1
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
        with self.lock:
            self.tokens.append(request.headers.get("x-amz-security-token", ""))
        check_signature(request, self.credentials, self.expired_tokens, self.now())
        if request.headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
            if not self.traits.bare_bodies:
                raise S3Error(403, "AccessDenied", "The bucket's policy wants every body's SHA-256.")
            self.bare_bodies += 1
        check_digests(request)

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
        return Answer(headers=described(stored))

    def _do_head(self, request: Request, key: str) -> Answer:
        stored = self._stored(key)
        return Answer(headers=described(stored), length=len(stored.body))

    def _do_get(self, request: Request, key: str) -> Answer:
        stored = self._stored(key)
        span = request.headers.get("range", "").removeprefix("bytes=")
        if not span:
            return Answer(body=stored.body, headers=described(stored))
        first, _, last = span.partition("-")
        piece = stored.body[int(first) : int(last) + 1 if last else None]
        end = int(first) + len(piece) - 1
        if not piece:
            raise S3Error(416, "InvalidRange")
        content_range = {"Content-Range": f"bytes {first}-{end}/{len(stored.body)}"}
        return Answer(status=206, body=piece, headers=described(stored) | content_range)

    def _do_delete(self, request: Request, key: str) -> Answer:
        self.objects.pop(key, None)
        return Answer(status=204)

    def _do_list(self, request: Request, key: str) -> Answer:
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        most = int(request.query.get("max-keys", "1000"))
        keys = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        page = keys[:most]
        entries = "".join(
            f"<Contents><Key>{xml_key(name)}</Key><Size>{len(self.objects[name].body)}</Size>"
            f"<ETag>&quot;{self.objects[name].etag}&quot;</ETag>"
            f"<LastModified>{iso(self.objects[name].stored_at)}</LastModified></Contents>"
            for name in page
        )
        more = len(keys) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return xml_answer(
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{entries}</ListBucketResult>"
        )

    def _do_create(self, request: Request, key: str) -> Answer:
        identity = f"upload-{next(self._numbers)}"
        upload = Upload(key, self.now(), encryption=self._encryption(request))
        self.uploads[identity] = upload
        return xml_answer(
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
        return Answer(headers=described(part))

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
        return xml_answer(
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
        return xml_answer(
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
            f"<Upload><Key>{xml_key(upload.key)}</Key><UploadId>{identity}</UploadId>"
            f"<Initiated>{iso(upload.initiated)}</Initiated></Upload>"
            for identity, upload in sorted(self.uploads.items())
            if upload.key.startswith(prefix)
        )
        return xml_answer(
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


@contextmanager
def s3_server(*, bucket: str = "bucket", certificates: Path | None = None) -> Iterator[S3Server]:
    """A running server; stopped at the end. With `certificates` (support.certificate) it speaks TLS."""
    with S3Server(bucket=bucket, certificates=certificates) as server:
        yield server
