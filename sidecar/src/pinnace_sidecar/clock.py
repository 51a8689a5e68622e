"""Time as the sidecar sees it: the one seam behind which clocks are read and waiting happens."""

import time
from threading import Event
from typing import Final, Protocol


class Clock(Protocol):
    """`now` is wall-clock time in seconds since the epoch; `monotonic` is for measuring spans and never goes back."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def wait(self, bell: Event, seconds: float) -> None:
        """Return when `bell` rings or `seconds` have gone by, and silence the bell."""
        ...


#: Waits end at least this far apart: what rings within milliseconds is one reason to get up, and most of what a pass of
#: the main loop costs is the same however much there is to do. A ring after a longer silence is heard at once.
_APART_S: Final = 0.005


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._woke_at = time.monotonic() - _APART_S
        self._silence = Event()

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, bell: Event, seconds: float) -> None:
        if bell.wait(seconds) and (early := self._woke_at + _APART_S - time.monotonic()) > 0:
            self._silence.wait(early)
        bell.clear()
        self._woke_at = time.monotonic()
