"""Parts of a multipart upload go without their SHA-256 only where TLS and the store's own CRC32C protect them."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pinnace.digests import ContentDigest
from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import MIN_PART_BYTES, CorruptContent, Part, StoreError
from support.certificate import make_certificate
from support.s3_server import ACCESS_KEY, SECRET_KEY, Fault, Misbehaviour, S3Server, Traits, Unknown, s3_server
from support.store_content import Content, content, digest_of, get_bytes, put_bytes

KEY = StaticCredentials(Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY))
LARGE = os.urandom(2 * MIN_PART_BYTES + 17)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture
def encrypted(certificates: Path) -> Iterator[S3Server]:
    with s3_server(certificates=certificates) as running:
        yield running


def store_of(server: S3Server, certificates: Path, **settings: object) -> S3Store:
    fields = {"endpoint": server.endpoint, "bucket": server.bucket, **settings}
    if server.endpoint.startswith("https"):
        fields["ca_file"] = str(certificates / "public.crt")
    return S3Store(msgspec.convert(fields, StoreSettings), KEY)


def put_parts(store: S3Store, given: Content, digest: ContentDigest | None = None) -> None:
    """All of it, part after part, as `digest` says."""
    digest = digest or given.digest
    upload = store.create_multipart("large")
    parts: list[Part] = []
    for number, part in enumerate(digest.parts, 1):
        parts.append(store.put_part(upload, number, given.file, part))
    store.complete_multipart(upload, parts, digest)


def test_over_tls_parts_go_bare_once_the_store_has_shown_that_it_compares(
    encrypted: S3Server, certificates: Path
) -> None:
    with closing(store_of(encrypted, certificates)) as store, content(LARGE) as given:
        assert not store.hashes_parts
        put_parts(store, given)
        # The first one found out.
        assert encrypted.bare_bodies == len(given.digest.parts) - 1
        assert get_bytes(store, "large") == LARGE
        info = store.head("large")
        assert info is not None
        assert info.difference(given.digest) == ""


def test_a_whole_object_is_always_signed(encrypted: S3Server, certificates: Path) -> None:
    with closing(store_of(encrypted, certificates)) as store:
        for _ in range(3):
            put_bytes(store, "key", LARGE)
    assert encrypted.bare_bodies == 0


def test_without_tls_every_part_is_signed(certificates: Path) -> None:
    with (
        s3_server() as plain,
        closing(store_of(plain, certificates)) as store,
        content(LARGE) as given,
    ):
        assert store.hashes_parts
        put_parts(store, given)
        put_parts(store, given)
        assert plain.bare_bodies == 0


@pytest.mark.parametrize("settings", [{"checksums": "never"}, {"checksums": "auto"}])
def test_without_a_checksum_that_the_store_compares_every_part_is_signed(
    encrypted: S3Server, certificates: Path, settings: dict[str, str]
) -> None:
    encrypted.traits = Traits(checksums=False, unknown=Unknown.IGNORED)
    with closing(store_of(encrypted, certificates, **settings)) as store, content(LARGE) as given:
        put_parts(store, given)
        assert store.hashes_parts
        assert encrypted.bare_bodies == 0


@pytest.mark.parametrize("checksums", ["always", "auto"])
def test_a_bare_part_that_the_store_did_not_compare_does_not_count(
    encrypted: S3Server, certificates: Path, checksums: str
) -> None:
    with closing(store_of(encrypted, certificates, checksums=checksums)) as store, content(LARGE) as given:
        put_bytes(store, "small", b"content")
        upload = store.create_multipart("large")
        store.put_part(upload, 1, given.file, given.digest.parts[0])
        assert encrypted.bare_bodies == 1
        encrypted.traits = Traits(checksums=False, unknown=Unknown.IGNORED)
        part = store.put_part(upload, 2, given.file, given.digest.parts[1])
        # It came twice, the second time with its SHA-256, and so do all others.
        assert (part.crc32c, encrypted.bare_bodies, encrypted.counts["PutPart"]) == (None, 2, 3)
        store.put_part(upload, 3, given.file, given.digest.parts[2])
        assert encrypted.bare_bodies == 2


def test_a_bucket_that_forbids_bare_bodies_is_asked_once(encrypted: S3Server, certificates: Path) -> None:
    encrypted.traits = Traits(bare_bodies=False)
    with closing(store_of(encrypted, certificates)) as store, content(LARGE) as given:
        put_parts(store, given)
        assert store.hashes_parts
        assert get_bytes(store, "large") == LARGE
        refused = len(encrypted.tokens) - sum(encrypted.counts.values())
        put_parts(store, given)
        assert (refused, len(encrypted.tokens) - sum(encrypted.counts.values())) == (1, 1)


def test_a_refusal_of_everything_is_not_taken_for_one_of_bare_bodies(encrypted: S3Server, certificates: Path) -> None:
    denied = Fault(kind=Misbehaviour.STATUS, operation="PutPart", times=2, status=403, code="AccessDenied")
    with closing(store_of(encrypted, certificates)) as store, content(LARGE) as given:
        put_bytes(store, "small", b"content")
        encrypted.faults = [denied]
        upload = store.create_multipart("large")
        with pytest.raises(StoreError) as caught:
            store.put_part(upload, 1, given.file, given.digest.parts[0])
        assert caught.value.code == "AccessDenied"
        assert not store.hashes_parts


def test_bytes_that_changed_on_the_way_are_refused_by_the_store(encrypted: S3Server, certificates: Path) -> None:
    with closing(store_of(encrypted, certificates)) as store, content(LARGE) as given:
        put_parts(store, given)
        before = encrypted.bare_bodies
        upload = store.create_multipart("other")
        given.file.seek(MIN_PART_BYTES + 5)
        given.file.write(bytes([LARGE[MIN_PART_BYTES + 5] ^ 1]))
        given.file.flush()
        with pytest.raises(CorruptContent):
            store.put_part(upload, 2, given.file, given.digest.parts[1])
        assert encrypted.bare_bodies == before + 1
        assert store.list_parts(upload) == ()


def test_a_part_that_is_not_its_digest_any_more_is_not_signed(certificates: Path) -> None:
    with s3_server() as plain, closing(store_of(plain, certificates)) as store, content(LARGE) as given:
        plain.traits = Traits(checksums=False)
        upload = store.create_multipart("large")
        other = digest_of(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
        with pytest.raises(CorruptContent):
            store.put_part(upload, 3, given.file, other.parts[2])
        assert plain.counts["PutPart"] == 0
