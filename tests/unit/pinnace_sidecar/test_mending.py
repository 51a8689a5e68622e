"""What a person mends is noticed within seconds, however long it was broken; nothing is lost meanwhile."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from pinnace.records import FileState
from pinnace.signing import Credentials
from pinnace.stores.credentials import CredentialsSource, FolderCredentials, StaticCredentials
from pinnace.stores.s3 import S3Store
from pinnace_sidecar.settings import Tuning
from support.pod import STORE, Pod, paths
from support.s3_server import ACCESS_KEY, SECRET_KEY, Fault, Misbehaviour, S3Server, s3_server

PART = 5 * 2**20
LARGE = os.urandom(2 * PART + 17)
#: From mending to the row in the API.
SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Case:
    """How it is broken, what is then said, and how it is mended."""

    reason: str
    breaks: Callable[[S3Server, Path], None]
    mends: Callable[[S3Server, Path], None]


def secret(value: str) -> Callable[[S3Server, Path], None]:
    def write(_: S3Server, folder: Path) -> None:
        (folder / "AWS_ACCESS_KEY_ID").write_text(ACCESS_KEY)
        (folder / "AWS_SECRET_ACCESS_KEY").write_text(value)

    return write


def no_secret(_: S3Server, folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def bucket(name: str) -> Callable[[S3Server, Path], None]:
    return lambda server, _: setattr(server, "bucket", name)


def quota(size: int | None) -> Callable[[S3Server, Path], None]:
    return lambda server, _: setattr(server, "quota", size)


def denied(server: S3Server, _: Path) -> None:
    server.faults = [Fault(kind=Misbehaviour.STATUS, times=10_000, status=403, code="AccessDenied")]


def down(server: S3Server, _: Path) -> None:
    server.faults = [Fault(kind=Misbehaviour.RESET_BEFORE_BODY, times=10_000)]


def works(server: S3Server, _: Path) -> None:
    server.faults = []


CASES = [
    Case("SignatureDoesNotMatch", secret("wrong"), secret(SECRET_KEY)),
    Case("CredentialsMissing", no_secret, secret(SECRET_KEY)),
    Case("NoSuchBucket", bucket("not-yet"), bucket("bucket")),
    Case("QuotaExceeded", quota(1), quota(None)),
    Case("AccessDenied", denied, works),
    Case("StoreUnreachable", down, works),
]


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def ship_to(pod: Pod, server: S3Server) -> Iterator[Callable[[CredentialsSource], Pod]]:
    opened: list[S3Store] = []

    def ship(credentials: CredentialsSource) -> Pod:
        pod.tuning = Tuning(multipart_bytes=PART, part_bytes=PART, whole_bytes=0)
        pod.store_settings = msgspec.structs.replace(STORE, endpoint=server.endpoint, bucket="bucket")
        pod.other_store = S3Store(pod.store_settings, credentials)
        opened.append(pod.other_store)
        return pod

    yield ship
    for store in opened:
        store.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reason)
def test_shipping_goes_on_within_seconds_of_mending(
    server: S3Server, ship_to: Callable[[CredentialsSource], Pod], tmp_path: Path, case: Case
) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    secret(SECRET_KEY)(server, folder)
    case.breaks(server, folder)
    pod = ship_to(FolderCredentials(folder))
    pod.write("small", b"content")
    pod.write("large", LARGE)
    pod.start()
    pod.run_for(600)
    assert server.objects == {}
    assert pod.api.report.files == {FileState.BUFFERED: 2}
    assert [problem.reason for problem in pod.api.report.problems] == [case.reason]

    case.mends(server, folder)
    mended_at = pod.clock.monotonic()
    pod.run_until(lambda: paths(pod) == ["large", "small"])
    assert pod.clock.monotonic() - mended_at <= SECONDS
    pod.run_for(5)
    assert pod.api.report.problems == ()
    assert {held.body for held in server.objects.values()} == {b"content", LARGE}
    assert server.uploads == {}


class Renewing:
    """Gives another session each time that the last one was refused."""

    def __init__(self) -> None:
        self.number = 1

    def current(self) -> Credentials:
        return Credentials(
            access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, session_token=f"session-{self.number}"
        )

    def forget(self) -> None:
        self.number += 1

    def expires_at(self) -> None:
        return None


def test_a_session_that_ends_in_mid_upload_costs_no_part_that_has_arrived(
    server: S3Server, ship_to: Callable[[CredentialsSource], Pod]
) -> None:
    pod = ship_to(Renewing())
    pod.write("large", LARGE)
    pod.start()
    pod.run_until(lambda: server.counts["Create"] == 1)
    server.expired_tokens = {"session-1"}
    pod.run_until(lambda: paths(pod) == ["large"])
    assert server.counts["PutPart"] == 3
    assert server.counts["Create"] == 1
    pod.run_for(2)
    assert pod.sidecar.status.upload_failures["ExpiredToken"] >= 1


@pytest.mark.parametrize("code", ["InvalidArgument", "EntityTooLarge"])
def test_what_only_one_file_is_refused_for_ends_that_file_only(
    server: S3Server, ship_to: Callable[[CredentialsSource], Pod], code: str
) -> None:
    pod = ship_to(StaticCredentials(Credentials(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)))
    bad = pod.key("bad", b"bad")
    server.faults = [Fault(kind=Misbehaviour.STATUS, times=50, key=bad, operation="Put", status=400, code=code)]
    for name in ("good-1", "bad", "good-2"):
        pod.write(name, name.encode())
    pod.start()
    pod.run_until(lambda: paths(pod) == ["good-1", "good-2"])
    pod.run_for(60)
    assert pod.api.report.files == {FileState.RECORDED: 2, FileState.QUARANTINED: 1}
    (problem,) = pod.api.report.problems
    assert code in problem.message
