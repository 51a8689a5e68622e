"""How fast bytes go: a limit over all connections of a process, and a floor below which a server is given up."""

import threading
import time
from collections.abc import Callable
from typing import Final

from pinnace.stores.store import StoreUnreachable

#: While a body is sent, so much goes through in each window, or the exchange is given up.
MIN_BYTES_PER_SECOND: Final = 1024
#: From the last byte sent to the last byte of the answer, besides what its size allows. Completing a large upload
#: takes a store minutes, in which it sends blanks.
ANSWER_SECONDS: Final = 300.0

#: The pieces in which a limit is spent, as a share of a second.
_SHARE: Final = 0.1
_MIN_PIECE_BYTES: Final = 4 * 2**10
_MAX_PIECE_BYTES: Final = 256 * 2**10


class Bandwidth:
    """A token bucket that holds a tenth of a second. Safe to use from several threads, which are served in turn."""

    def __init__(
        self,
        bytes_per_second: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.bytes_per_second = bytes_per_second
        #: At most so much is to be asked for at a time.
        self.piece_bytes = max(_MIN_PIECE_BYTES, min(int(bytes_per_second * _SHARE), _MAX_PIECE_BYTES))
        self._monotonic = monotonic
        self._wait = wait or threading.Event().wait
        self._lock = threading.Lock()
        #: When all that was given out so far will have gone through.
        self._booked_until = monotonic()

    def take(self, size: int) -> float:
        """Wait until `size` bytes may go; returns for how many seconds."""
        with self._lock:
            now = self._monotonic()
            start = max(self._booked_until, now - _SHARE)
            self._booked_until = start + size / self.bytes_per_second
            pause = self._booked_until - now
        if pause > 0:
            self._wait(pause)
        return max(pause, 0.0)


def bandwidth_of(bytes_per_second: int) -> Bandwidth | None:
    """None for no limit."""
    return Bandwidth(bytes_per_second) if bytes_per_second else None


class Floor:
    """What a server must keep up with during one exchange. `moved` is told of each byte, `check` asked before a wait.

    `window_seconds`: over which the floor is measured while a body is sent.
    """

    def __init__(
        self,
        window_seconds: float,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        bytes_per_second: int = MIN_BYTES_PER_SECOND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window = window_seconds
        self._answer_seconds = answer_seconds
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._moved = 0
        self._since = monotonic()
        self._deadline: float | None = None
        self._sent_at: float | None = None

    def moved(self, size: int) -> None:
        self._moved += size

    def sent(self) -> None:
        """The request is out: from now on the answer's own time counts."""
        self._sent_at = now = self._monotonic()
        self._deadline = now + self._answer_seconds

    def announced(self, size: int) -> None:
        """The answer has a body of `size` bytes, which may take its time."""
        assert self._deadline is not None
        self._deadline += size / self._rate

    def held_up(self, seconds: float) -> None:
        """We waited ourselves, for the bandwidth."""
        self._since += seconds
        if self._deadline is not None:
            self._deadline += seconds

    def check(self) -> float:
        """Raise StoreUnreachable when the server is too slow; returns for how many seconds the request has been out."""
        now = self._monotonic()
        if self._deadline is not None:
            if now > self._deadline:
                raise _too_slow(f"the answer was not there within {self._answer_seconds:g} s")
        elif now - self._since >= self._window:
            if self._moved < self._rate * self._window:
                raise _too_slow(f"{self._moved} bytes moved within {now - self._since:.0f} s")
            self._since, self._moved = now, 0
        return 0.0 if self._sent_at is None else now - self._sent_at


def _too_slow(what: str) -> StoreUnreachable:
    return StoreUnreachable(what, hint="the store is overloaded or the network drops packets")
