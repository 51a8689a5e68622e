"""Time as the sidecar sees it: the one seam behind which clocks are read and waiting happens."""

import time
from threading import Event
from typing import Protocol


class Clock(Protocol):
    """`now` is wall-clock time in seconds since the epoch; `monotonic` is for measuring spans and never goes back."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def wait(self, bell: Event, seconds: float) -> None:
        """Return when `bell` rings or `seconds` have gone by, and silence the bell."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, bell: Event, seconds: float) -> None:
        bell.wait(seconds)
        bell.clear()
