"""Small files go to the store in batches, each sent by one worker: what that saves, and what it must not change."""

import logging
from collections.abc import Callable
from typing import cast

import msgspec
import pytest

from pinnace.digests import PartDigest
from pinnace.records import FileState
from pinnace.stores.memory import MemoryStore
from pinnace.stores.store import Source, Stored, StoreUnreachable, TransientStoreError
from pinnace_sidecar.batches import LONGEST_S, batches
from pinnace_sidecar.store_calls import AT_ONCE
from pinnace_sidecar.transfer import Job
from support.pod import ManualClock, Pod, paths

RESET = TransientStoreError("reset", code="ConnectionReset")
UNREACHABLE = StoreUnreachable("nobody answers")


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


def test_many_files_go_together(pod: Pod) -> None:
    store = pod.other_store = SlowStore(pod.clock, 0.0002)
    write(pod, 1000)
    pod.start()
    sent = puts_per_pass(pod, store, 1000)
    assert store.puts == 1000
    assert max(sent) > 100


def test_few_files_are_shared_out_to_all_workers(pod: Pod) -> None:
    # Three in a row would take longer than a batch may.
    store = pod.other_store = SlowStore(pod.clock, LONGEST_S * 0.6)
    write(pod, 2 * pod.tuning.upload_threads)
    pod.start()
    sent = puts_per_pass(pod, store, 2 * pod.tuning.upload_threads)
    assert max(sent) == 2 * pod.tuning.upload_threads


@pytest.mark.parametrize(
    ("number", "room", "sizes"), [(5, 8, [1] * 5), (16, 8, [2] * 8), (9, 4, [3, 3, 3]), (0, 0, [])]
)
def test_batches_are_of_one_size_and_no_more_than_there_is_room_for(number: int, room: int, sizes: list[int]) -> None:
    jobs = [cast(Job, object()) for _ in range(number)]
    found = list(batches(jobs, room))
    assert [len(batch) for batch in found] == sizes
    assert [job for batch in found for job in batch] == jobs


def test_what_follows_a_failure_in_a_batch_is_sent_in_the_next_one_and_once(pod: Pod) -> None:
    store = pod.other_store = SlowStore(pod.clock, 0.0001)
    write(pod, 300)
    store.fail_next(RESET, times=3)
    pod.start()
    pod.run_until(lambda: len(paths(pod)) == 300)
    assert store.puts == 303
    pod.run_for(2)
    assert pod.sidecar.status.upload_failures == {"ConnectionReset": 3}


def test_a_slow_store_holds_up_no_file_behind_a_whole_batch(pod: Pod) -> None:
    store = pod.other_store = SlowStore(pod.clock, 10.0)
    write(pod, 200)
    pod.start()
    pod.run_until(lambda: store.puts)
    # Of each batch those that were on their way at once, not all.
    assert store.puts == 2 * pod.tuning.upload_threads * AT_ONCE
    store.seconds = 0.001
    pod.run_until(lambda: len(paths(pod)) == 200)
    assert store.puts == 200


class Watched(MemoryStore):
    """Notes what is begun and finished; can't be reached from the `fails`-th object on, when that is begun or only when
    its answer is awaited.
    """

    def __init__(self, fails: int, *, begun: bool) -> None:
        super().__init__(min_part_bytes=1)
        self._fails = fails
        self._fails_begun = begun
        self.steps: list[str] = []
        self._out = 0
        self.most_out = 0

    def begin_put(self, key: str, source: Source, digest: PartDigest, *, replace: bool = True) -> Callable[[], Stored]:
        self.steps.append("begin")
        number = self.steps.count("begin")
        if number == self._fails and self._fails_begun:
            raise UNREACHABLE
        self._out += 1
        self.most_out = max(self.most_out, self._out)

        def finish() -> Stored:
            self._out -= 1
            self.steps.append("finish")
            if number == self._fails:
                raise UNREACHABLE
            return self.put(key, source, digest, replace=replace)

        return finish


@pytest.mark.parametrize("begun", [True, False])
def test_after_a_failure_nothing_more_is_begun_and_what_was_out_is_still_heard(pod: Pod, begun: bool) -> None:
    store = pod.other_store = Watched(3, begun=begun)
    pod.tuning = msgspec.structs.replace(pod.tuning, upload_threads=1)
    write(pod, 60)
    pod.start()
    pod.run_until(lambda: pod.sidecar.status.upload_failures)
    # The third can't be begun, or turns out to be lost while the sixth is on its way.
    steps = "".join(step[0] for step in store.steps)
    assert steps.startswith("bbbff" if begun else "bbbb fb fb ffff".replace(" ", ""))
    pod.run_until(lambda: len(paths(pod)) == 60)
    # Each was sent once, but for the one that failed; nothing was begun and never finished.
    assert store.steps.count("begin") == 61
    assert store.steps.count("finish") == (60 if begun else 61)
    assert store.most_out == AT_ONCE
    assert pod.sidecar.status.upload_failures == {"StoreUnreachable": 1}


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
