"""When the system's clock wakes the loop: rings in a row are one reason to get up."""

import time
from threading import Event, Timer

from pinnace_sidecar.clock import SystemClock


def test_a_ring_after_a_silence_is_heard_at_once() -> None:
    clock, bell = SystemClock(), Event()
    clock.wait(bell, 0.02)  # silence
    bell.set()
    began = time.monotonic()
    clock.wait(bell, 10.0)
    assert time.monotonic() - began < 5.0
    assert not bell.is_set()


def test_rings_in_a_row_wake_at_most_every_few_milliseconds() -> None:
    clock, bell = SystemClock(), Event()
    began = time.monotonic()
    for _ in range(11):
        bell.set()
        clock.wait(bell, 10.0)
    assert time.monotonic() - began >= 0.045


def test_a_wait_that_nobody_ended_is_not_made_longer() -> None:
    class Silence(Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return super().wait(timeout)

    clock, bell = SystemClock(), Event()
    clock._silence = silence = Silence()
    for _ in range(100):
        clock.wait(bell, 0.0)
    assert silence.waits == 0


def test_a_ring_ends_the_wait() -> None:
    clock, bell = SystemClock(), Event()
    Timer(0.02, bell.set).start()
    began = time.monotonic()
    clock.wait(bell, 60.0)
    assert time.monotonic() - began < 30.0
