"""Pauses between tries, what is said about them, and workers that do the work."""

import errno
import os
import random
from pathlib import Path
from threading import Event
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace_sidecar import backoff
from pinnace_sidecar.backoff import LONGEST_PAUSE_S, Backoff
from pinnace_sidecar.disk import LocalDisk
from pinnace_sidecar.problems import Problems
from pinnace_sidecar.workers import ThreadWorkers
from support.eventually import eventually
from support.pod import Pod


@given(st.integers(0, 200), st.integers())
def test_pauses_double_up_to_a_cap_and_are_never_all_the_same(failures: int, seed: int) -> None:
    pause = Backoff(failures=failures).failed(100.0, random.Random(seed))
    full = min(2.0**failures, LONGEST_PAUSE_S)
    assert full / 2 <= pause.due_at - 100.0 <= full
    assert pause.failures == failures + 1


def test_a_longer_pause_can_be_asked_for() -> None:
    assert backoff.NONE.failed(0, random.Random(1), at_least=30).due_at == 30


def test_it_is_due_when_the_pause_is_over() -> None:
    pause = backoff.NONE.failed(0, random.Random(1))
    assert not pause.due(pause.due_at - 0.001)
    assert pause.due(pause.due_at)
    assert backoff.NONE.due(0)


def test_one_problem_per_reason_those_that_hold_up_most_first() -> None:
    problems = Problems()
    problems.raised("a", "SlowDown", "a is slow", 0)
    problems.raised("store", "AccessDenied", "denied", 0, files=9)
    problems.raised("b", "SlowDown", "b is slow", 0)
    assert [(p.reason, p.message, p.files) for p in problems.problems()] == [
        ("AccessDenied", "denied", 9),
        ("SlowDown", "a is slow", 2),
    ]
    problems.cleared("store")
    problems.cleared("never raised")
    assert [problem.reason for problem in problems.problems()] == ["SlowDown"]


def test_a_failure_that_goes_on_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    for second in range(0, 180, 2):
        problems.raised("store", "StoreUnreachable", "no answer", second)
    assert len(caplog.records) == 3
    problems.cleared("store")
    problems.raised("store", "StoreUnreachable", "no answer", 181)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 4


def test_workers_bring_back_what_came_of_each_operation_and_ring() -> None:
    bell = Event()
    workers: ThreadWorkers[int] = ThreadWorkers(2, "test", bell.set)
    for number in range(10):
        workers.submit(lambda number=number: number * number)  # type: ignore[misc]
    answers: list[int] = []

    def all_there() -> bool:
        answers.extend(workers.collect())
        return len(answers) == 10

    eventually(all_there, what="ten answers")
    assert sorted(answers) == [number * number for number in range(10)]
    assert workers.busy == 0
    assert bell.is_set()


def test_a_defect_in_an_operation_comes_up_in_the_loop() -> None:
    workers: ThreadWorkers[float] = ThreadWorkers(1, "test", lambda: None)
    workers.submit(lambda: 1 / 0)

    def comes_up() -> bool:
        try:
            workers.collect()
        except ZeroDivisionError:
            return True
        return False

    eventually(comes_up, what="the error")


class FullDisk(LocalDisk):
    """Has no room for any file until somebody makes some."""

    full = True

    def create(self, path: Path) -> BinaryIO:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)


def test_files_that_meet_a_full_disk_together_do_not_wait_the_longer_for_it(pod: Pod) -> None:
    for number in range(50):
        pod.write(str(number), b"1")
    disk = FullDisk()
    pod.disk = disk
    pod.start()
    pod.run_for(60)
    assert [problem.reason for problem in pod.sidecar.report().problems] == ["BufferFull"]
    disk.full = False
    pod.run_for(6)
    assert len(pod.api.rows) == 50
    assert pod.sidecar.report().problems == ()
