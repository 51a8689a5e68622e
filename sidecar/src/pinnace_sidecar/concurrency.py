"""How many operations may be under way at the store at a time: fewer when it says that it is too much for it.

Additive increase, multiplicative decrease: a throttled operation halves the number, each one that works brings back a
part of one. All throttled answers of one second count once, because they belong to the same burst.
"""

from typing import Final

#: The longest that a store's `Retry-After` is obeyed.
LONGEST_PAUSE_S: Final = 120.0
#: Throttled answers within this time after a decrease belong to what was under way before it.
_BURST_S: Final = 1.0


class Concurrency:
    """Between 1 and `most`. Times are monotonic seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._decreased_at = float("-inf")
        self._silent_until = float("-inf")

    @property
    def allowed(self) -> int:
        return int(self._limit)

    @property
    def is_reduced(self) -> bool:
        return self.allowed < self._most

    def worked(self) -> None:
        self._limit = min(float(self._most), self._limit + 1 / self._limit)

    def throttled(self, now: float) -> None:
        if now - self._decreased_at >= _BURST_S:
            self._decreased_at = now
            self._limit = max(1.0, self._limit / 2)

    def asked_to_wait(self, now: float, seconds: float) -> None:
        """The store wants to be left alone for so long."""
        self._silent_until = max(self._silent_until, now + min(seconds, LONGEST_PAUSE_S))

    def wait_left(self, now: float) -> float:
        """Seconds until anything may be sent; 0 or less: now."""
        return self._silent_until - now
