"""Any prefix of what the sidecar does, a crash, and a restart: the same end. In one process, hundreds of times.

tests/faults does the same with a real process, store and API.
"""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.stores.store import StoreUnreachable
from pinnace_sidecar.crash import CrashPoint, never
from support.examples import examples
from support.pod import PART_BYTES, Crashed, Pod

BIG = random.Random(1).randbytes(PART_BYTES + 1)
FILES = {"big": BIG, "small": b"1", "empty": b"", "sub/same": b"1"}
#: Recorded by another iteration before.
TWIN = random.Random(2).randbytes(PART_BYTES + 1)
METRICS = b'{"loss": 1}\n{"loss": NaN}\n'


def fill(pod: Pod) -> None:
    for path, content in FILES.items():
        pod.write(path, content)
    pod.write("metrics.jsonl", METRICS)
    pod.write("twin", TWIN)
    pod.tuning = msgspec.structs.replace(pod.tuning, share_bytes=len(TWIN))
    pod.record_elsewhere(TWIN)


def run_and_crash(pod: Pod, point: CrashPoint, passing: int) -> bool:
    """One life of a sidecar; returns whether it came to its end."""
    pod.crash_at(point, passing)
    try:
        pod.start()
        return pod.drain().final
    except Crashed:
        return False
    finally:
        pod.stop()


def assert_converged(pod: Pod, *, store_failed: bool = False) -> None:
    pod.crash = never
    pod.start()
    report = pod.drain()
    files = {**FILES, "metrics.jsonl": METRICS}
    assert report.final
    (elsewhere,) = (row for row in pod.api.rows.values() if row.iteration_id != pod.settings.iteration_id)
    own = {pod.key(path, content): content for path, content in files.items()}
    rows = {row.path: row for row in pod.api.rows.values()}
    # An object that could not be looked at is not shared.
    assert rows["twin"].location == elsewhere.location or store_failed
    twins = dict.fromkeys((elsewhere.location.key, rows["twin"].location.key), TWIN)
    assert set(twins) <= {elsewhere.location.key, pod.key("twin", TWIN)}
    assert pod.store.contents() == {**own, **twins}
    assert set(rows) == {*files, "twin", elsewhere.path}
    assert sorted(str(point.value) for point in pod.api.points.values()) == ["1.0", "NaN"]
    assert pod.store.uploads() == []
    assert pod.copies() == []
    standing = pod.api.put_pod_report(report)
    assert standing.recorded == report.manifest


@pytest.mark.parametrize("passing", [1, 2])
@pytest.mark.parametrize("point", list(CrashPoint))
def test_a_restart_converges_after_a_crash_at(pod: Pod, point: CrashPoint, passing: int) -> None:
    fill(pod)
    run_and_crash(pod, point, passing)
    assert_converged(pod)


@given(
    lives=st.lists(st.tuples(st.sampled_from(list(CrashPoint)), st.integers(1, 5), st.integers(0, 3)), max_size=6),
    lost=st.booleans(),
)
@settings(max_examples=examples(10), deadline=None)
def test_however_often_it_crashes_it_converges(lives: list[tuple[CrashPoint, int, int]], lost: bool) -> None:
    with TemporaryDirectory() as folder:
        pod = Pod(Path(folder))
        fill(pod)
        for point, passing, faults in lives:
            if faults:
                pod.store.fail_next(StoreUnreachable("no answer"), times=faults, after=lost)
            run_and_crash(pod, point, passing)
        try:
            assert_converged(pod, store_failed=any(faults for *_, faults in lives))
        finally:
            pod.stop()


def test_every_point_is_passed(pod: Pod) -> None:
    passed: set[CrashPoint] = set()
    pod.crash = passed.add
    fill(pod)
    pod.start()
    pod.drain()
    assert passed == set(CrashPoint)
