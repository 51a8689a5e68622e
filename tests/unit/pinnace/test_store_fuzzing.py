"""Whatever a store answers is understood or is an error with a word for it, never a crash and never a guess."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinnace.records import Problem
from pinnace.stores import s3_answers, s3_xml
from pinnace.stores.http1 import Answer
from pinnace.stores.store import StoreError
from support.examples import examples
from support.store_content import digest_of

_T = TypeVar("_T")

EXPECTED = digest_of(b"content")

BUSY = settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow])

_NAMES = st.sampled_from(
    [
        "Error",
        "Code",
        "Message",
        "Region",
        "ListPartsResult",
        "Part",
        "PartNumber",
        "ETag",
        "Size",
        "ChecksumCRC32C",
        "ChecksumType",
        "ListBucketResult",
        "Contents",
        "Key",
        "LastModified",
        "IsTruncated",
        "EncodingType",
        "UploadId",
        "NextContinuationToken",
        "CompleteMultipartUploadResult",
        "{http://s3.amazonaws.com/doc/2006-03-01/}Size",
    ]
)
_TEXTS = st.one_of(
    st.sampled_from(
        ["", "1", "-1", "1e9", "٣", "9" * 30, '"etag"', "true", "url", "%ff", "%00", "AAAAAA==", "COMPOSITE"]
    ),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=10),
)


@st.composite
def documents(draw: st.DrawFn, depth: int = 3) -> ElementTree.Element:
    element = ElementTree.Element(draw(_NAMES))
    element.text = draw(_TEXTS)
    if depth:
        element.extend(draw(st.lists(documents(depth=depth - 1), max_size=4)))
    return element


_VALID = (
    b'<?xml version="1.0"?><ListPartsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false'
    b"</IsTruncated><Part><PartNumber>1</PartNumber><ETag>&quot;e&quot;</ETag><Size>5</Size></Part></ListPartsResult>"
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A good answer with some bytes changed, doubled or gone."""
    body = bytearray(_VALID)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(body) - 1))
        body[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


_BODIES = st.one_of(st.binary(max_size=60), mangled(), documents().map(ElementTree.tostring))


def outcome(read: Callable[[], _T]) -> tuple[_T | None, set[str]]:
    """What was read, and the code of the error if it was none."""
    try:
        return read(), set()
    except StoreError as error:
        return None, {error.code}


@given(body=_BODIES)
@BUSY
def test_any_document_is_read_or_is_a_bad_answer(body: bytes) -> None:
    root, codes = outcome(lambda: s3_xml.parse(body))
    assert codes <= {"BadAnswer"}
    if root is None:
        return
    for element in root.iter():
        _, codes = outcome(partial(s3_answers.listed_part, element))
        assert codes <= {"BadAnswer"}
        _, codes = outcome(partial(s3_answers.listed_object, element, encoded=True))
        assert codes <= {"BadAnswer"}
    stored, codes = outcome(lambda: s3_answers.completed(root, EXPECTED))
    assert codes <= {"BadAnswer", "BadDigest"}
    assert stored is None or stored.crc32c in (None, EXPECTED.crc32c)


@given(body=_BODIES, status=st.integers(100, 999), code=_TEXTS, region=_TEXTS)
@BUSY
def test_any_refusal_is_an_error_that_a_report_can_carry(body: bytes, status: int, code: str, region: str) -> None:
    headers = {"x-minio-error-code": code, "x-amz-bucket-region": region, "x-amz-request-id": region}
    error = s3_answers.refusal(Answer(status=status, headers=headers, body=body), "PUT", key="key", region="us-east-1")
    problem = Problem(reason=error.code, message=str(error)[:1000])
    assert problem.reason.isascii()
    assert str(error).isprintable()


@given(
    headers=st.dictionaries(
        st.sampled_from(["content-length", "etag", "content-range", "last-modified", "date", "x-amz-checksum-crc32c"]),
        st.one_of(_TEXTS, st.sampled_from(["bytes 0-1/2", "Tue, 01 Jan 2030 00:00:00 GMT", "Tue, 99 Jan 2030"])),
    ),
    status=st.sampled_from([200, 206]),
)
@BUSY
def test_any_headers_are_an_object_or_a_bad_answer(headers: dict[str, str], status: int) -> None:
    answer = Answer(status=status, headers=headers, body=b"")
    s3_answers.server_time(answer)
    info, codes = outcome(lambda: s3_answers.object_info("key", answer))
    assert codes <= {"BadAnswer"}
    assert info is None or (info.size >= 0 and info.etag)
