"""Which of many files changed last, one after the other."""

import heapq
from collections.abc import Iterable


class Youngest:
    """Files by when they changed. Both operations take logarithmic time."""

    def __init__(self, files: Iterable[tuple[float, str]]) -> None:
        self._heap = [(-changed, path) for changed, path in files]
        heapq.heapify(self._heap)

    def push(self, changed: float, path: str) -> None:
        """Add one file."""
        heapq.heappush(self._heap, (-changed, path))

    def pop(self, *, than: float) -> str | None:
        """Take out the file that changed last, if that was later than `than`; None otherwise."""
        if self._heap and -self._heap[0][0] > than:
            return heapq.heappop(self._heap)[1]
        return None
