"""What the database said a moment ago, so that a client's next request doesn't ask it the same.

Invariants: an answer counts for `seconds` from before it was asked for, and never after `forget`, not even one that
was under way meanwhile. Only what there is gets remembered: what was missing may come into being at any moment.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

#: So long may another replica go on by what this one has changed.
SECONDS: Final = 1.0
_MOST: Final = 10_000


class Recollection(Generic[_K, _V]):
    """Answers by key. Safe to use from several threads; `recall` never blocks for long."""

    def __init__(self, *, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: dict[_K, tuple[float, _V]] = {}
        self._era = 0

    def recall(self, key: _K) -> _V | None:
        """None: ask."""
        found = self._answers.get(key)
        if found is None or self._clock() >= found[0]:
            return None
        return found[1]

    def ask(self, key: _K, find: Callable[[], _V | None]) -> _V | None:
        """What `find` says, remembered unless it is None, or something was forgotten meanwhile."""
        era, until = self._era, self._clock() + self._seconds
        answer = find()
        if answer is not None:
            with self._lock:
                if era == self._era:
                    if len(self._answers) >= _MOST:
                        self._answers = {}
                    self._answers[key] = (until, answer)
        return answer

    def forget(self) -> None:
        """All of it."""
        with self._lock:
            self._era += 1
            self._answers = {}
