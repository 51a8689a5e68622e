"""When to try again: for ever, each time after a longer pause, up to a cap, and never all at the same moment."""

import random
from dataclasses import dataclass, replace
from typing import Final

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """`failures` in a row, and from when on the next try is due (monotonic seconds)."""

    failures: int = 0
    due_at: float = 0.0

    def failed(
        self, now: float, rng: random.Random, at_least: float = 0.0, *, longest: float = LONGEST_PAUSE_S
    ) -> "Backoff":
        """After one more failure: a pause of 1, 2, 4 … `longest` s, shortened at random by up to a half."""
        pause = min(FIRST_PAUSE_S * 2.0 ** min(self.failures, 10), longest)
        return replace(self, failures=self.failures + 1, due_at=now + max(at_least, pause * rng.uniform(0.5, 1.0)))

    def due(self, now: float) -> bool:
        return now >= self.due_at


#: Nothing has failed.
NONE: Final = Backoff()
