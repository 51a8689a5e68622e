"""Failure scenarios of the store, against the real sidecar. docs/operations/failure-scenarios.md lists all of them."""

from datetime import timedelta

import pytest

from pinnace.records import FileState
from support.eventually import eventually
from support.s3_server import Fault, Misbehaviour, S3Server
from support.scenario import Scenario

MIB = 2**20


def test_b26_a_store_that_is_away_and_comes_back(pod: Scenario) -> None:
    away = Fault(kind=Misbehaviour.RESET_BEFORE_BODY, times=10_000)
    pod.store.faults.append(away)
    files = {f"file-{number}": pod.write(f"file-{number}", 1000) for number in range(10)}
    files["large"] = pod.write("large", 11 * MIB)
    pod.sidecar.start()
    pod.wait_for_problem("StoreUnreachable")
    away.times = 0
    pod.end()
    pod.assert_ashore(files)


def test_b27_every_other_request_is_too_many(pod: Scenario) -> None:
    pod.store.turn_away_every_other("Put", status=503, code="SlowDown")
    pod.store.turn_away_every_other("PutPart", status=429, code="TooManyRequests")
    files = {f"file-{number}": pod.write(f"file-{number}", 1000) for number in range(20)}
    files["large"] = pod.write("large", 11 * MIB)
    pod.sidecar.start()
    pod.end()
    pod.assert_ashore(files)
    assert set(pod.store.writes.values()) == {1}


@pytest.mark.parametrize("kind", [Misbehaviour.RESET_AFTER_STORED, Misbehaviour.STATUS_STORED])
def test_b28_stored_and_the_answer_says_otherwise(pod: Scenario, kind: Misbehaviour) -> None:
    for operation in ("Put", "Create", "PutPart", "Complete"):
        pod.store.faults.append(Fault(kind=kind, operation=operation, status=500, code="InternalError"))
    files = {"small": pod.write("small", 1000), "large": pod.write("large", 11 * MIB)}
    pod.sidecar.start()
    pod.end()
    pod.assert_ashore(files)
    # Looked at, never made a second time.
    assert set(pod.store.writes.values()) == {1}


def test_b28_an_error_below_a_200(pod: Scenario) -> None:
    for _ in range(2):
        pod.store.faults.append(Fault(kind=Misbehaviour.ERROR_IN_200, operation="Complete", code="InternalError"))
    files = {"large": pod.write("large", 11 * MIB)}
    pod.sidecar.start()
    pod.end()
    pod.assert_ashore(files)


def test_b29_slow_broken_off_and_wrong(pod: Scenario) -> None:
    pod.store.faults += [
        Fault(kind=Misbehaviour.SLOW, operation="Put", seconds=1.0),
        Fault(kind=Misbehaviour.RESET_MID_BODY, operation="PutPart"),
        Fault(kind=Misbehaviour.RESET_AFTER_BODY, operation="PutPart"),
        Fault(kind=Misbehaviour.TRUNCATED_ANSWER, operation="PutPart"),
        Fault(kind=Misbehaviour.WRONG_ETAG, operation="Put"),
    ]
    files = {f"file-{number}": pod.write(f"file-{number}", 1000) for number in range(3)}
    files["large"] = pod.write("large", 11 * MIB)
    pod.sidecar.start()
    pod.end()
    pod.assert_ashore(files)
    assert sum(fault.times for fault in pod.store.faults) == 0


def test_b30_the_token_runs_out_in_mid_upload_and_the_secret_is_swapped(pod: Scenario) -> None:
    pod.set_credentials(token="old")
    pod.store.faults.append(Fault(kind=Misbehaviour.SLOW, operation="PutPart", seconds=0.5, times=1))
    files = {"large": pod.write("large", 16 * MIB)}
    pod.sidecar.start(PINNACE_TUNING_UPLOAD_THREADS="1")
    eventually(lambda: pod.store.counts["PutPart"], what="a part")
    pod.store.expired_tokens.add("old")
    pod.wait_for_problem("ExpiredToken")
    pod.set_credentials(token="new")
    pod.end()
    pod.assert_ashore(files)
    # What had arrived under the old token was not sent again.
    assert pod.store.counts["Create"] == 1


def test_b31_the_clocks_differ(pod: Scenario) -> None:
    pod.store.clock_offset = timedelta(minutes=-90)
    files = {"small": pod.write("small", 1000), "large": pod.write("large", 11 * MIB)}
    pod.sidecar.start()
    pod.wait_for_rows(2)
    pod.store.clock_offset = timedelta(minutes=90)
    files["later"] = pod.write("later", 1000)
    pod.end()
    pod.assert_ashore(files)


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (507, "XMinioStorageFull")],
)
def test_b32_refused_until_somebody_mends_it(pod: Scenario, status: int, code: str) -> None:
    refusal = Fault(kind=Misbehaviour.STATUS, status=status, code=code, times=10_000)
    pod.store.faults.append(refusal)
    files = {"small": pod.write("small", 1000), "large": pod.write("large", 11 * MIB)}
    pod.sidecar.start()
    pod.wait_for_problem(code if status != 507 else "StorageFull")
    refusal.times = 0
    pod.end()
    pod.assert_ashore(files)


def test_b33_the_store_forgot_the_upload(pod: Scenario) -> None:
    """A life-cycle rule aborted it; other files are not held up."""
    files = {"large": pod.write("large", 11 * MIB), "small": pod.write("small", 10)}
    pod.store.faults.append(Fault(kind=Misbehaviour.STATUS, operation="Complete", status=503, times=10_000))
    pod.sidecar.start()
    eventually(lambda: _parts(pod.store) == 3, what="all parts")
    with pod.store.lock:
        pod.store.uploads.clear()
        pod.store.faults.clear()
    pod.end()
    pod.assert_ashore(files)
    assert pod.store.counts["Create"] == 2


def test_b36_something_else_lies_under_our_key(pod: Scenario) -> None:
    """Another's, or damage: nobody overwrites it unseen, and the copy is kept."""
    data = pod.write("file", 1000)
    pod.sidecar.start(PINNACE_CRASH_AT="object-sent")
    assert pod.sidecar.wait() == 137
    (key,) = pod.store.objects
    with pod.store.lock:
        pod.store._store(key, b"something else", None)
    pod.sidecar.start()
    report = pod.end()
    assert report.files == {FileState.QUARANTINED: 1}
    assert ["ObjectExists" in problem.message for problem in report.problems] == [True]
    assert pod.store.objects[key].body == b"something else"
    assert [copy.name for copy in pod.copies.iterdir()] == [pod.name("file", data)]
    assert pod.rows() == []


def _parts(store: S3Server) -> int:
    with store.lock:
        return sum(len(upload.parts) for upload in store.uploads.values())
