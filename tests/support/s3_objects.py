"""What an S3 server holds, and how it describes it: ETags and checksums."""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

import google_crc32c


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


def described(stored: StoredObject) -> dict[str, str]:
    headers = {"ETag": f'"{stored.etag}"', "Last-Modified": format_datetime(stored.stored_at, usegmt=True)}
    if stored.crc32c is not None:
        headers["x-amz-checksum-crc32c"] = stored.crc32c
    if stored.encryption:
        headers["x-amz-server-side-encryption"] = stored.encryption
    return headers
