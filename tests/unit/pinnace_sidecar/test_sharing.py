"""Content that the experiment has recorded is not sent again; whatever is unclear about it, it is."""

import random
from collections.abc import Callable

import msgspec
import pytest

from pinnace.client import Unreachable
from pinnace.records import FileState
from pinnace.stores.store import StoreError, StoreRefused, StoreUnreachable, TerminalStoreError
from pinnace_sidecar.crash import CrashPoint, never
from pinnace_sidecar.sharing import ContentAnswer, Sharing
from pinnace_sidecar.transfer import Transfer
from support.pod import PART_BYTES, Crashed, Pod
from support.store_content import put_bytes

SMALL = random.Random(3).randbytes(PART_BYTES // 2)
LARGE = random.Random(4).randbytes(3 * PART_BYTES)


@pytest.fixture(autouse=True)
def share_early(pod: Pod) -> None:
    pod.tuning = msgspec.structs.replace(pod.tuning, share_bytes=1000)


def row_of(pod: Pod, path: str):  # type: ignore[no-untyped-def]
    (row,) = (row for row in pod.api.rows.values() if row.path == path)
    return row


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["one piece", "parts"])
def test_recorded_content_is_not_sent_again(pod: Pod, content: bytes) -> None:
    elsewhere = pod.record_elsewhere(content)
    pod.write("copy", content)
    pod.start()
    pod.run_for(20)
    report = pod.drain()
    assert pod.store.contents() == {elsewhere.location.key: content}
    row = row_of(pod, "copy")
    assert (row.location, row.etag, row.sha256) == (elsewhere.location, elsewhere.etag, elsewhere.sha256)
    assert report.final
    assert (report.files[FileState.RECORDED], report.manifest.count) == (1, 1)
    assert pod.copies() == []
    assert pod.sidecar.status.shared_bytes == len(content)
    assert pod.sidecar.status.uploaded_bytes == 0


def test_many_files_make_few_questions(pod: Pod) -> None:
    pod.record_elsewhere(SMALL)
    for number in range(300):
        pod.write(f"copy-{number}", SMALL)
    pod.start()
    pod.drain()
    assert len(pod.store.contents()) == 1
    assert pod.api.requests.count("contents") < 60
    assert all(len(query.contents) == 1 for query in pod.api.queries)


@pytest.mark.parametrize("content", [b"x" * 999, b""], ids=["small", "empty"])
def test_small_files_are_sent_without_asking(pod: Pod, content: bytes) -> None:
    pod.record_elsewhere(content)
    pod.write("small", content)
    pod.start()
    pod.drain()
    assert "contents" not in pod.api.requests
    assert pod.store.contents()[pod.key("small", content)] == content


def test_it_can_be_switched_off(pod: Pod) -> None:
    pod.change_settings(deduplicate=False)
    pod.record_elsewhere(SMALL)
    pod.write("copy", SMALL)
    pod.start()
    pod.drain()
    assert "contents" not in pod.api.requests
    assert pod.store.contents()[pod.key("copy", SMALL)] == SMALL


def test_while_the_api_does_not_answer_files_are_sent(pod: Pod) -> None:
    pod.api.broken = {"contents"}
    for number in range(20):
        pod.write(f"file-{number}", SMALL + b"%d" % number)
    pod.start()
    pod.drain()
    assert len(pod.store.contents()) == 20
    assert pod.api.requests.count("contents") < 5
    assert pod.api.report.problems == ()


class NeverDone:
    """Workers at an API that hangs."""

    size = 1
    busy = 0

    def submit(self, _: object) -> None:
        self.busy += 1

    def collect(self) -> list[ContentAnswer]:
        return []


def test_an_api_that_hangs_is_waited_for_once_and_the_loop_rests_meanwhile(pod: Pod) -> None:
    pod.write("copy", SMALL)
    pod.write("later", LARGE)
    pod.crash_at(CrashPoint.COPY_JOURNALED)
    pod.start()
    with pytest.raises(Crashed):
        pod.drain()
    first, second = (
        Transfer(file=file, key="", look=False) for file in pod.journal.files.in_state(FileState.BUFFERED, limit=2)
    )
    sharing = Sharing(
        ask=lambda _: (),
        workers=NeverDone(),
        endpoint="",
        bucket="bucket",
        least_bytes=1,
        clock=pod.clock,
        rng=random.Random(1),
    )
    assert sharing.awaits(first)
    sharing.submit()
    pause = sharing.due_in()
    assert pause is not None
    assert pause > 0
    pod.clock.advance(pause + 0.01)
    sharing.submit()
    # The file is looked at when the store's own pause is over; nothing is to be done for it before.
    assert sharing.due_in() is None
    assert not sharing.awaits(first)
    assert not sharing.awaits(second)


def lose(pod: Pod, key: str) -> None:
    pod.store.delete(key)


def change(pod: Pod, key: str) -> None:
    put_bytes(pod.store, key, SMALL[::-1])


def shorten(pod: Pod, key: str) -> None:
    put_bytes(pod.store, key, SMALL[:-1])


@pytest.mark.parametrize("spoil", [lose, change, shorten])
def test_an_object_that_is_not_what_was_recorded_is_not_shared(pod: Pod, spoil: Callable[[Pod, str], None]) -> None:
    elsewhere = pod.record_elsewhere(SMALL)
    spoil(pod, elsewhere.location.key)
    pod.write("copy", SMALL)
    pod.start()
    assert pod.drain().final
    assert row_of(pod, "copy").location.key == pod.key("copy", SMALL)
    assert pod.store.contents()[pod.key("copy", SMALL)] == SMALL


@pytest.mark.parametrize(
    "error",
    [
        StoreUnreachable("no answer"),
        StoreRefused("not yours", code="AccessDenied", status=403),
        TerminalStoreError("no such key", code="InvalidKey"),
    ],
)
def test_an_object_that_can_not_be_looked_at_is_not_shared(pod: Pod, error: StoreError) -> None:
    pod.record_elsewhere(SMALL)
    pod.store.fail_next(error)
    pod.write("copy", SMALL)
    pod.start()
    report = pod.drain()
    assert (report.final, report.problems, report.files[FileState.RECORDED]) == (True, (), 1)
    assert pod.store.contents()[pod.key("copy", SMALL)] == SMALL


def collect_before_the_row(pod: Pod) -> None:
    """Between the answer and the row somebody removes the other artifact, and its object."""
    elsewhere = pod.record_elsewhere(LARGE)
    put_artifacts = pod.api.put_artifacts

    def put(*args):  # type: ignore[no-untyped-def]
        if pod.api.rows.pop(elsewhere.id, None):
            pod.store.delete(elsewhere.location.key)
        return put_artifacts(*args)

    pod.api.put_artifacts = put  # type: ignore[method-assign]


def test_an_object_collected_before_the_row_costs_an_upload_and_nothing_else(pod: Pod) -> None:
    collect_before_the_row(pod)
    pod.write("copy", LARGE)
    pod.write("other", SMALL)
    pod.start()
    report = pod.drain()
    assert (report.final, report.problems) == (True, ())
    assert report.files[FileState.RECORDED] == 2
    assert pod.store.contents() == {pod.key("copy", LARGE): LARGE, pod.key("other", SMALL): SMALL}
    assert row_of(pod, "copy").location.key == pod.key("copy", LARGE)
    assert pod.copies() == []


@pytest.mark.parametrize("point", list(CrashPoint))
def test_a_crash_while_an_object_is_collected_loses_nothing(pod: Pod, point: CrashPoint) -> None:
    collect_before_the_row(pod)
    pod.write("copy", LARGE)
    pod.crash_at(point)
    pod.start()
    try:
        pod.drain()
    except Crashed:
        pod.stop()
        pod.crash = never
        pod.start()
        assert pod.drain().final
    assert pod.store.contents() == {pod.key("copy", LARGE): LARGE}
    assert row_of(pod, "copy").location.key == pod.key("copy", LARGE)
    assert pod.store.uploads() == []


def test_a_row_whose_answer_was_lost_still_shares(pod: Pod) -> None:
    elsewhere = pod.record_elsewhere(SMALL)
    pod.write("copy", SMALL)
    pod.start()
    pod.run_until(lambda: pod.journal.files.count(FileState.VERIFIED))
    pod.api.fail_next(Unreachable("no answer"), times=3, after=True)
    assert pod.drain().final
    assert row_of(pod, "copy").location == elsewhere.location
    assert pod.store.contents() == {elsewhere.location.key: SMALL}


def test_an_upload_under_way_is_finished_and_not_left_behind(pod: Pod) -> None:
    pod.write("copy", LARGE)
    pod.crash_at(CrashPoint.PART_JOURNALED)
    pod.start()
    with pytest.raises(Crashed):
        pod.drain()
    pod.stop()
    pod.crash = never
    pod.record_elsewhere(LARGE)
    pod.start()
    assert pod.drain().final
    assert pod.store.uploads() == []
    assert row_of(pod, "copy").location.key == pod.key("copy", LARGE)
