import hashlib
from base64 import b64encode
from uuid import UUID, uuid5

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.digests import EMPTY_SHA256, Digester, digest_of, manifest_sha256


def crc32c(data: bytes) -> str:
    return b64encode(google_crc32c.Checksum(data).digest()).decode()


def test_the_check_value_of_crc32c() -> None:
    digester = Digester(part_size=100)
    digester.update(b"123456789")
    assert digester.finish().crc32c == b64encode(bytes.fromhex("e3069283")).decode()


def test_an_empty_content_has_one_empty_part() -> None:
    digest = Digester(part_size=5).finish()
    assert (digest.size, digest.sha256, len(digest.parts)) == (0, EMPTY_SHA256, 1)
    assert (digest.parts[0].offset, digest.parts[0].size, digest.parts[0].sha256) == (0, 0, EMPTY_SHA256)


@given(chunks=st.lists(st.binary(max_size=40), max_size=12), part_size=st.integers(1, 64))
def test_digests_do_not_depend_on_how_the_content_arrives(chunks: list[bytes], part_size: int) -> None:
    digester = Digester(part_size)
    for chunk in chunks:
        digester.update(chunk)
    content, digest = b"".join(chunks), digester.finish()

    assert digest_of(content, part_size) == digest
    assert digest.size == len(content)
    assert digest.sha256 == hashlib.sha256(content).hexdigest()
    assert digest.crc32c == crc32c(content)
    offset = 0
    for part in digest.parts:
        piece = content[part.offset : part.offset + part.size]
        assert part.offset == offset
        # Taken once, of the whole.
        assert part.sha256 == (digest.sha256 if len(digest.parts) == 1 else "")
        assert part.crc32c == crc32c(piece)
        offset += part.size
    assert offset == len(content)
    assert all(part.size == part_size for part in digest.parts[:-1])
    assert digest.parts[-1].size > 0 or content == b""
    whole = Digester(max(len(content), 1))
    whole.update(content)
    assert (digest.whole,) == whole.finish().parts


def test_a_part_size_below_one_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="part_size"):
        Digester(0)


def test_a_manifest_is_a_set() -> None:
    first, second = uuid5(UUID(int=0), "a"), uuid5(UUID(int=0), "b")
    assert manifest_sha256([first, second]) == manifest_sha256([second, first])
    assert manifest_sha256([first]) != manifest_sha256([second])
    assert manifest_sha256([]) == EMPTY_SHA256
