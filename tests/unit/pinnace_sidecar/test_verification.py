"""By what evidence a file is said to be in the store, on a server of each kind."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from pinnace.records import FileState
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.s3 import S3Store
from pinnace_sidecar.settings import Tuning
from pinnace_sidecar.sidecar import files_folder
from support.pod import STORE, Pod, paths
from support.s3_server import (
    ACCESS_KEY,
    SECRET_KEY,
    Fault,
    Misbehaviour,
    S3Server,
    StoredObject,
    Traits,
    Unknown,
    s3_server,
)

PART = 5 * 2**20
LARGE = os.urandom(PART + 17)
KEY = StaticCredentials(Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY))
IGNORANT = Traits(checksums=False, conditions=False, unknown=Unknown.IGNORED)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(params=[0, 2**30], ids=["parts", "whole"])
def s3_pod(pod: Pod, server: S3Server, request: pytest.FixtureRequest) -> Iterator[Pod]:
    """Ships to the server a small file and a large one, in two parts or whole."""
    pod.tuning = Tuning(multipart_bytes=PART, part_bytes=PART, whole_bytes=request.param)
    pod.write("small", b"content")
    pod.write("large", LARGE)
    yield connected(pod, server)
    assert isinstance(pod.other_store, S3Store)
    pod.other_store.close()


def connected(pod: Pod, server: S3Server, **settings: object) -> Pod:
    fields = {**msgspec.structs.asdict(STORE), "endpoint": server.endpoint, "bucket": server.bucket, **settings}
    pod.store_settings = msgspec.convert(fields, type(STORE))
    if isinstance(pod.other_store, S3Store):
        pod.other_store.close()
    pod.other_store = S3Store(pod.store_settings, KEY)
    return pod


def shipped(pod: Pod) -> dict[str, int]:
    """By what the two files were verified."""
    pod.start()
    pod.run_until(lambda: paths(pod) == ["large", "small"])
    pod.run_for(2)
    return pod.sidecar.status.verified


@pytest.mark.parametrize(
    ("traits", "verified"),
    [
        (Traits(), {"crc32c": 2}),
        (Traits(whole_checksums=False), {"crc32c": 2}),
        (IGNORANT, {"md5": 2}),
        (Traits(checksums=False, conditions=False), {"md5": 2}),
        (Traits(checksums=False, always_kms=True), {"size": 2}),
        (Traits(checksums=False, unknown=Unknown.IGNORED, md5_etags=False), {"read_back": 1, "size": 1}),
    ],
)
def test_the_best_evidence_there_is_is_used_and_told(
    s3_pod: Pod, server: S3Server, traits: Traits, verified: dict[str, int]
) -> None:
    server.traits = traits
    assert shipped(s3_pod) == verified
    assert {held.body for held in server.objects.values()} == {b"content", LARGE}
    assert server.uploads == {}


def test_that_only_the_size_was_compared_is_said_once(
    s3_pod: Pod, server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.traits = Traits(checksums=False, always_kms=True)
    shipped(s3_pod)
    assert caplog.text.count("only the size can be compared") == 1


def test_everything_is_downloaded_where_that_is_asked_for(s3_pod: Pod, server: S3Server) -> None:
    connected(s3_pod, server, read_back=True)
    assert shipped(s3_pod) == {"read_back": 2}
    assert server.counts["Get"] == 2


def damage(server: S3Server, key: str) -> None:
    """Change the content and nothing that tells of it."""
    held = server.objects[key]
    body = held.body[:-1] + bytes([held.body[-1] ^ 1])
    server.objects[key] = StoredObject(body=body, etag=held.etag, crc32c=held.crc32c, stored_at=held.stored_at)


def test_reading_back_finds_what_no_checksum_of_the_store_tells(s3_pod: Pod, server: S3Server) -> None:
    connected(s3_pod, server, read_back=True)
    key = s3_pod.key("small", b"content")
    s3_pod.start()
    s3_pod.run_until(lambda: key in server.objects)
    damage(server, key)
    s3_pod.run_until(lambda: paths(s3_pod) == ["large", "small"])
    assert server.objects[key].body == b"content"


@pytest.mark.parametrize("first", ["a", "small"])
def test_damage_is_found_by_the_md5_before_and_after_it_is_known_to_be_one(
    s3_pod: Pod, server: S3Server, first: str
) -> None:
    server.traits = IGNORANT
    if first == "a":
        s3_pod.write("a", b"goes before")
    server.faults = [
        Fault(kind=Misbehaviour.WRONG_CONTENT, operation="Put", key=s3_pod.key("small", b"content")),
    ]
    s3_pod.start()
    s3_pod.run_until(lambda: {"large", "small"} <= set(paths(s3_pod)))
    assert server.objects[s3_pod.key("small", b"content")].body == b"content"
    assert server.counts["fault: acknowledged, but other content of the same size stored"] == 1


@pytest.mark.parametrize("first", [b"goes before", b""], ids=["known", "unknown"])
@pytest.mark.parametrize("trouble", [Path.unlink, lambda copy: copy.write_bytes(b"conTent")], ids=["lost", "damaged"])
def test_a_copy_that_rots_once_it_is_sent_takes_nothing_from_the_object(
    s3_pod: Pod, server: S3Server, first: bytes, trouble: Callable[[Path], object]
) -> None:
    server.traits = IGNORANT
    if first:
        s3_pod.write("a", first)
    key = s3_pod.key("small", b"content")
    s3_pod.start()
    s3_pod.run_until(lambda: key in server.objects)
    assert "small" not in paths(s3_pod)
    trouble(files_folder(s3_pod.settings) / key.rpartition("/")[2])
    (s3_pod.volume / "small").unlink()
    s3_pod.run_until(lambda: {"large", "small"} <= set(paths(s3_pod)))
    assert [count for (written, _), count in server.writes.items() if written == key] == [1]
    s3_pod.run_for(2)
    assert s3_pod.sidecar.status.verified["read_back"] == 1


def test_what_another_wrote_under_the_key_is_never_overwritten(s3_pod: Pod, server: S3Server) -> None:
    key = s3_pod.key("small", b"content")
    server._store(key, b"somebody else's", None)
    large_key = s3_pod.key("large", LARGE)
    server._store(large_key, b"this too", None)
    s3_pod.start()
    s3_pod.run_for(60)
    assert server.objects[key].body == b"somebody else's"
    assert server.objects[large_key].body == b"this too"
    assert server.uploads == {}
    assert s3_pod.api.report.files == {FileState.QUARANTINED: 2}
    (problem,) = s3_pod.api.report.problems
    assert "nothing was overwritten" in problem.message


def test_what_is_there_already_and_the_same_is_not_sent_again(s3_pod: Pod, server: S3Server) -> None:
    server._store(s3_pod.key("small", b"content"), b"content", None)
    server._store(s3_pod.key("large", LARGE), LARGE, None)
    writes = server.writes.copy()
    s3_pod.start()
    s3_pod.run_until(lambda: paths(s3_pod) == ["large", "small"])
    assert server.writes == writes
    assert server.uploads == {}


def test_what_the_store_lost_of_ours_is_replaced_even_after_a_restart(
    s3_pod: Pod, server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    key = s3_pod.key("small", b"content")
    connected(s3_pod, server, read_back=True)
    server.faults = [Fault(kind=Misbehaviour.LOSES_BYTES, operation="Put", key=key)]
    s3_pod.start()
    s3_pod.run_until(lambda: "the store holds 6 bytes, not 7" in caplog.text)
    assert server.objects[key].body == b"conten"
    s3_pod.stop()
    s3_pod.start()
    s3_pod.run_until(lambda: "small" in paths(s3_pod))
    assert server.objects[key].body == b"content"
