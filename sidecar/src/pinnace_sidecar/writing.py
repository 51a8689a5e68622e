"""Whether much is being written to the volume just now, so that large copies had better wait.

A copy takes as much of the disk as the write that it copies. Checkpoints come in bursts: between two of them the disk
is idle, and copying then costs the training nothing. So a large copy is not begun while the volume grows, for a limited
time.
"""

from dataclasses import dataclass
from typing import Final

#: The volume is at rest when so many seconds have gone by without much being written: a writer syncs what it wrote.
REST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Writing:
    """What the looks have told so far. `total` is the size of all files in bytes, None before the first look; `much_at`
    is when much was last seen to be written (monotonic), None when the volume is at rest.
    """

    total: int | None = None
    much_at: float | None = None

    def after(self, total: int, now: float, much: int) -> "Writing":
        """A look that began at `now` found `total` bytes. `much` bytes more than before are much."""
        if self.total is not None and total - self.total >= much:
            return Writing(total, now)
        rests = self.much_at is None or now - self.much_at >= REST_S
        return Writing(total, None if rests else self.much_at)


def gives_way(writing: Writing, size: int, unchanged_for: float, *, much: int, patience: float) -> bool:
    """Whether copying a complete file of `size` bytes waits for the writers, which it does for `patience` seconds after
    its last change at most.
    """
    return writing.much_at is not None and size >= much and unchanged_for < patience
