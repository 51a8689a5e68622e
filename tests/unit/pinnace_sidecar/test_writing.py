"""Large copies wait while much is being written, for a limited time."""

import msgspec
import pytest

from pinnace_sidecar.writing import REST_S, Writing, gives_way
from support.pod import Pod, paths

MUCH = 1000


def seen(*looks: tuple[float, int]) -> Writing:
    writing = Writing()
    for at, total in looks:
        writing = writing.after(total, at, MUCH)
    return writing


@pytest.mark.parametrize(
    ("looks", "much_at"),
    [
        ([(0.0, 10 * MUCH)], None),  # what was there before us says nothing about now
        ([(0.0, 0), (1.0, MUCH)], 1.0),
        ([(0.0, 0), (1.0, MUCH - 1)], None),
        ([(0.0, 0), (1.0, MUCH), (1.1, MUCH)], 1.0),
        ([(0.0, 0), (1.0, MUCH), (1.0 + REST_S, MUCH + 1)], None),
        ([(0.0, 0), (1.0, MUCH), (1.9, 2 * MUCH), (2.1, 2 * MUCH)], 1.9),
        ([(0.0, 5 * MUCH), (1.0, MUCH), (1.1, 2 * MUCH)], 1.1),  # something was removed, and the next is written
    ],
)
def test_much_is_written_until_the_volume_has_not_grown_for_a_while(
    looks: list[tuple[float, int]], much_at: float | None
) -> None:
    assert seen(*looks).much_at == much_at


@pytest.mark.parametrize(
    ("much_at", "size", "unchanged_for", "patience", "waits"),
    [
        (1.0, MUCH, 5.0, 30.0, True),
        (None, MUCH, 5.0, 30.0, False),
        (1.0, MUCH - 1, 5.0, 30.0, False),
        (1.0, MUCH, 30.0, 30.0, False),
        (1.0, MUCH, 0.0, 0.0, False),
    ],
)
def test_only_large_files_wait_and_only_for_so_long(
    much_at: float | None, size: int, unchanged_for: float, patience: float, waits: bool
) -> None:
    assert gives_way(Writing(0, much_at), size, unchanged_for, much=MUCH, patience=patience) is waits


@pytest.fixture
def busy(pod: Pod) -> Pod:
    """A pod whose training writes: `write_much` is to be called every half a second."""
    pod.tuning = msgspec.structs.replace(pod.tuning, much_bytes=MUCH, patience_seconds=20.0)
    pod.start()
    pod.run_for(1)
    return pod


def write_much(pod: Pod, seconds: float) -> None:
    growing = pod.volume / "growing"
    for _ in range(int(2 * seconds)):
        with growing.open("ab") as file:
            file.write(bytes(2 * MUCH))
        pod.sidecar._intake.wake()
        pod.run_for(0.5)


def test_a_large_file_waits_until_the_writer_rests_and_a_small_one_does_not(busy: Pod) -> None:
    busy.write("large", b"x" * MUCH)
    busy.write("small", b"x")
    write_much(busy, busy.settings.settle_seconds + 5)
    assert paths(busy) == ["small"]
    busy.run_for(REST_S + 1)
    assert paths(busy) == ["large", "small"]


def test_nobody_waits_longer_than_the_patience_lasts(busy: Pod) -> None:
    busy.write("large", b"x" * MUCH)
    write_much(busy, 18)
    assert paths(busy) == []
    write_much(busy, 4)
    assert paths(busy) == ["large"]


def test_the_end_waits_for_nobody(busy: Pod) -> None:
    busy.write("large", b"x" * MUCH)
    write_much(busy, busy.settings.settle_seconds + 3)
    assert paths(busy) == []
    busy.sidecar.begin_drain()
    busy.sidecar.ship_once()
    assert busy.copies()


def test_files_that_are_excluded_are_written_too(busy: Pod) -> None:
    """A checkpoint is often written under another name and then renamed."""
    busy.write("large", b"x" * MUCH)
    for turn in range(2 * int(busy.settings.settle_seconds + 3)):
        busy.write("next.tmp", bytes((turn + 1) * MUCH))
        busy.sidecar._intake.wake()
        busy.run_for(0.5)
    assert paths(busy) == []
