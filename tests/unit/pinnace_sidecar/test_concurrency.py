"""How many operations go to a store that has too much to do, and how long it is left alone."""

import msgspec
import pytest

from pinnace.stores.store import StoreRefused, TransientStoreError
from pinnace_sidecar.concurrency import LONGEST_PAUSE_S, Concurrency
from support.pod import Pod, paths

SLOW_DOWN = TransientStoreError("slow down", code="SlowDown", status=503)


def test_throttling_halves_and_success_brings_back_one_by_one() -> None:
    concurrency = Concurrency(8)
    assert (concurrency.allowed, concurrency.is_reduced) == (8, False)
    for now, allowed in ((10, 4), (20, 2), (30, 1), (40, 1)):
        concurrency.throttled(now)
        assert concurrency.allowed == allowed
    for allowed in range(2, 9):
        for _ in range(allowed):
            concurrency.worked()
        assert concurrency.allowed == allowed
    assert not concurrency.is_reduced


def test_a_burst_of_throttled_answers_counts_once() -> None:
    concurrency = Concurrency(8)
    for tenth in range(9):
        concurrency.throttled(10 + tenth / 10)
    assert concurrency.allowed == 4


def test_a_store_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() -> None:
    concurrency = Concurrency(4)
    assert concurrency.wait_left(0) <= 0
    concurrency.asked_to_wait(0, 30)
    concurrency.asked_to_wait(10, 5)
    assert concurrency.wait_left(10) == 20
    concurrency.asked_to_wait(10, 86_400)
    assert concurrency.wait_left(10) == LONGEST_PAUSE_S


def test_a_throttling_store_gets_fewer_operations_and_all_files_in_the_end(pod: Pod) -> None:
    for number in range(40):
        pod.write(f"f{number:02}", b"%d" % number)
    pod.store.fail_next(SLOW_DOWN, times=200)
    pod.start()
    seen: set[int] = set()

    def all_there() -> bool:
        seen.add(pod.sidecar.status.store_operations_limit)
        return len(paths(pod)) == 40

    pod.run_until(all_there)
    assert 1 in seen
    pod.run_for(2)
    assert pod.sidecar.status.store_operations_limit == pod.tuning.upload_threads


@pytest.mark.parametrize("kind", [TransientStoreError, StoreRefused])
def test_nothing_is_sent_before_the_time_that_the_store_asked_for(
    pod: Pod, kind: type[TransientStoreError | StoreRefused]
) -> None:
    for number in range(5):
        pod.write(f"f{number}", b"%d" % number)
    pod.store.fail_next(kind("later", code="SlowDown", status=503, retry_after=60))
    pod.start()
    pod.run_until(lambda: pod.sidecar.status.upload_failures)
    asked_at = pod.clock.monotonic()
    before = len(pod.store.contents())
    pod.run_for(50)
    assert len(pod.store.contents()) == before
    pod.run_until(lambda: len(paths(pod)) == 5)
    assert 58 <= pod.clock.monotonic() - asked_at <= 75


def test_the_limits_can_be_seen(pod: Pod) -> None:
    pod.store_settings = msgspec.structs.replace(pod.store_settings, bandwidth_bytes_per_second=12_345)
    pod.write("file", b"content")
    pod.start()
    pod.run_for(30)
    status = pod.sidecar.status
    assert (status.store_operations_limit, status.store_bandwidth_limit) == (pod.tuning.upload_threads, 12_345)
    assert status.verified == {"crc32c": 1}
    assert status.credentials_expire_seconds is None
