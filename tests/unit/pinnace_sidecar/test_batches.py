"""Small files go to the store in batches, each sent by one worker: what that saves, and what it must not change."""

import logging

import pytest

from pinnace.digests import PartDigest
from pinnace.records import FileState
from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import Source, Stored, TransientStoreError
from support.pod import ManualClock, Pod, paths

RESET = TransientStoreError("reset", code="ConnectionReset")


class SlowStore(MemoryStore):
    """Each object takes `seconds` of the pod's time."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        super().__init__(min_part_bytes=1)
        self._clock = clock
        self.seconds = seconds
        self.puts = 0

    def put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Stored:
        self._clock.advance(self.seconds)
        self.puts += 1
        return super().put(key, source, digest, replace=replace)


def write(pod: Pod, number: int) -> None:
    for index in range(number):
        pod.write(f"f{index:04}", b"%d" % index)


def puts_per_pass(pod: Pod, store: SlowStore, number: int) -> list[int]:
    """Passes until that many files have rows; how many objects each pass sent."""
    sent: list[int] = []

    def all_there() -> bool:
        sent.append(store.puts - sum(sent))
        return len(paths(pod)) == number

    pod.run_until(all_there)
    return sent


def test_a_near_store_gets_large_batches(pod: Pod) -> None:
    store = pod.other_store = SlowStore(pod.clock, 0.0002)
    write(pod, 1000)
    pod.start()
    sent = puts_per_pass(pod, store, 1000)
    assert store.puts == 1000
    assert max(sent) > 100


def test_a_far_store_gets_its_files_from_all_workers(pod: Pod) -> None:
    store = pod.other_store = SlowStore(pod.clock, 0.06)
    write(pod, 100)
    pod.start()
    sent = puts_per_pass(pod, store, 100)
    assert store.puts == 100
    # One each, and one more that waits for each.
    assert max(sent) == 2 * pod.tuning.upload_threads


def test_what_follows_a_failure_in_a_batch_is_sent_in_the_next_one_and_once(pod: Pod) -> None:
    store = pod.other_store = SlowStore(pod.clock, 0.0001)
    write(pod, 300)
    pod.start()
    pod.run_until(lambda: store.puts > 80)
    store.fail_next(RESET, times=3)
    pod.run_until(lambda: len(paths(pod)) == 300)
    assert store.puts == 303
    pod.run_for(2)
    assert pod.sidecar.status.upload_failures == {"ConnectionReset": 3}


def test_a_store_that_grows_slow_in_the_middle_of_a_batch_holds_up_no_whole_batch(pod: Pod) -> None:
    store = pod.other_store = SlowStore(pod.clock, 0.0001)
    write(pod, 400)
    pod.start()
    pod.run_until(lambda: store.puts > 80)
    store.seconds = 10.0
    before, began = store.puts, pod.clock.monotonic()
    pod.sidecar.ship_once()
    pod.sidecar.ship_once()
    # One of each batch, not all of each.
    assert 0 < store.puts - before <= 4 * pod.tuning.upload_threads
    assert pod.clock.monotonic() > began
    pod.run_until(lambda: len(paths(pod)) == 400)


def test_small_files_share_a_line_of_the_log_and_each_has_its_own_for_debugging(
    pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pinnace_sidecar.registrar")
    write(pod, 50)
    pod.start()
    pod.run_until(lambda: pod.journal.files.count(FileState.RECORDED) == 50)
    shared = [record for record in caplog.records if record.message == "recorded small files"]
    own = [record for record in caplog.records if record.message == "recorded"]
    alone = [record for record in own if record.levelno == logging.INFO]
    assert sum(record.files for record in shared) + len(alone) == 50  # type: ignore[attr-defined]
    assert len(shared) + len(alone) < 15
    assert {record.path for record in own} == set(paths(pod))  # type: ignore[attr-defined]
