"""What the answers of an S3-compatible store say: an object, a part, or a StoreError. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from xml.etree.ElementTree import Element

from pinnace.digests import ContentDigest
from pinnace.stores import http1, s3_xml
from pinnace.stores.classification import classify
from pinnace.stores.http1 import Answer
from pinnace.stores.store import CorruptContent, ObjectInfo, Part, Stored, StoreError, StoreRefused

#: The header that asks for encryption, and the one that confirms it.
ENCRYPTION: Final = "x-amz-server-side-encryption"

_CRC32C: Final = re.compile("[A-Za-z0-9+/]{6}==")
_COMPOSITE_CRC32C: Final = re.compile("[A-Za-z0-9+/]{6}==-[0-9]{1,5}")
_SECONDS: Final = re.compile("[0-9]{1,6}")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
#: How much of the store's own words goes into an error.
_MAX_WORDS: Final = 256


def refusal(answer: Answer, what: str, *, key: str, region: str) -> StoreError:
    """The error for an answer that isn't what was asked for. `what` names the call, `region` is the one signed for."""
    root = _error_document(answer)
    code = answer.headers.get("x-minio-error-code", "") if root is None else s3_xml.text(root, "Code")
    # An <Error> below a 200 comes from a store that failed after it had begun to answer.
    error, stable_code, hint = classify(500 if code and answer.status < 300 else answer.status, code)
    right_region = answer.headers.get("x-amz-bucket-region") or ("" if root is None else s3_xml.text(root, "Region"))
    if stable_code == "WrongRegion" and right_region and right_region != region:
        hint = f"set the store's region to {_cleaned(right_region)}, not {region}"
    words = "" if root is None else _cleaned(s3_xml.text(root, "Message"))
    return error(
        f"{what}: {stable_code} ({answer.status}){f': {words}' if words else ''}",
        code=stable_code,
        hint=hint,
        status=answer.status,
        key=key,
        request_id=_cleaned(answer.headers.get("x-amz-request-id", "")),
        retry_after=retry_after(answer),
    )


def retry_after(answer: Answer) -> float:
    """For how many seconds the store asks to be left alone, said in seconds or by a date; 0: it doesn't ask."""
    text = answer.headers.get("retry-after", "")
    if _SECONDS.fullmatch(text):
        return float(text)
    until, now = _http_date(text), server_time(answer)
    return max((until - now).total_seconds(), 0.0) if until and now else 0.0


def check_encryption(answer: Answer, wanted: str) -> None:
    """StoreRefused unless the answer to an upload says that it was encrypted as `wanted` (empty: anyhow)."""
    told = answer.headers.get(ENCRYPTION, "")
    if wanted and told != wanted:
        raise StoreRefused(
            f"the store was asked to encrypt by {wanted} and says {_cleaned(told) or 'nothing of it'}",
            code="NotEncrypted",
            hint="leave server_side_encryption empty where the bucket encrypts by itself, or use a store that can",
        )


def _error_document(answer: Answer) -> Element | None:
    try:
        root = s3_xml.parse(answer.body) if answer.body else None
    except StoreError:
        return None  # a proxy's page; the status has to do
    return root if root is not None and s3_xml.is_error(root) else None


def _cleaned(words: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in words[:_MAX_WORDS])


def server_time(answer: Answer) -> datetime | None:
    """The store's clock when it answered."""
    return _http_date(answer.headers.get("date", ""))


def object_info(key: str, answer: Answer) -> ObjectInfo:
    """From the answer to HEAD or GET, of the whole object also where only a range was asked for."""
    size = http1.content_length(answer.headers)
    if answer.status == 206:
        size = content_range(answer.headers)[1]
    if size is None:
        raise http1.bad_answer("an object without a size")
    return ObjectInfo(
        key=key,
        size=size,
        etag=etag(answer.headers),
        crc32c=None if answer.status == 206 else crc32c(answer.headers),
        composite_crc32c=None if answer.status == 206 else composite(answer.headers.get("x-amz-checksum-crc32c", "")),
        encryption=answer.headers.get(ENCRYPTION, ""),
        modified_at=_http_date(answer.headers.get("last-modified", "")),
    )


def content_range(headers: Mapping[str, str]) -> tuple[int, int]:
    """The first byte's position and the size of the whole."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if not match:
        raise http1.bad_answer(f"the content-range {headers.get('content-range', '')[:60]!r}")
    return int(match[1]), int(match[3])


def stored(answer: Answer, expected_crc32c: str) -> Stored:
    """The acknowledgement of a PUT; CorruptContent when the store says it got something else."""
    return _checked(Stored(etag=etag(answer.headers), crc32c=crc32c(answer.headers)), expected_crc32c)


def completed(root: Element, expected: ContentDigest) -> Stored:
    """The acknowledgement of CompleteMultipartUpload; CorruptContent as in `stored`."""
    checksum = whole_crc32c(s3_xml.text(root, "ChecksumCRC32C"), s3_xml.text(root, "ChecksumType"))
    return _checked(Stored(etag=s3_xml.required(root, "ETag").strip('"'), crc32c=checksum), expected.crc32c)


def _checked(acknowledged: Stored, expected_crc32c: str) -> Stored:
    if acknowledged.crc32c not in (None, expected_crc32c):
        raise CorruptContent(
            f"the store got content of CRC32C {acknowledged.crc32c}, not {expected_crc32c}",
            code="BadDigest",
            hint="hash the source again; send it again only when it still has that digest",
        )
    return acknowledged


def etag(headers: Mapping[str, str]) -> str:
    """Without its quotes."""
    found = headers.get("etag", "").strip('"')
    if not found:
        raise http1.bad_answer("no ETag")
    return found


def crc32c(headers: Mapping[str, str]) -> str | None:
    """The checksum of the whole content; None without one, and for a checksum of the parts' checksums."""
    return whole_crc32c(headers.get("x-amz-checksum-crc32c", ""), headers.get("x-amz-checksum-type", ""))


def whole_crc32c(value: str, kind: str) -> str | None:
    """`value` when it is a CRC32C of a whole content."""
    return value if kind != "COMPOSITE" and _CRC32C.fullmatch(value) else None


def composite(value: str) -> str | None:
    """`value` when it is a CRC32C of the parts' CRC32Cs."""
    return value if _COMPOSITE_CRC32C.fullmatch(value) else None


def listed_object(element: Element, *, encoded: bool) -> ObjectInfo:
    """A `<Contents>` of a listing."""
    return ObjectInfo(
        key=s3_xml.key(element, "Key", encoded=encoded),
        size=s3_xml.number(element, "Size"),
        etag=s3_xml.required(element, "ETag").strip('"'),
        modified_at=_iso_date(s3_xml.text(element, "LastModified")),
    )


def listed_part(element: Element) -> Part:
    """A `<Part>` of ListParts."""
    return Part(
        number=s3_xml.number(element, "PartNumber"),
        size=s3_xml.number(element, "Size"),
        etag=s3_xml.required(element, "ETag").strip('"'),
        crc32c=whole_crc32c(s3_xml.text(element, "ChecksumCRC32C"), ""),
    )


def _http_date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None


def _iso_date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
