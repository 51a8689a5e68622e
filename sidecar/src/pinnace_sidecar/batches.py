"""Which operations go to a worker together: small files, as many as take a twentieth of a second.

Waking a thread and committing to the journal cost more than sending one of them. How many go together follows from how
long one took of late: a store that is far away gets them one by one, from as many workers as there are.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from pinnace_sidecar.transfer import Job, Operation

#: What is left of a batch after this time is handed out anew.
LONGEST_S: Final = 0.2

_SMALL_BYTES: Final = 256 * 2**10
_MOST_JOBS: Final = 64
_WANTED_S: Final = 0.05
_NO_TIME_S: Final = 1e-6
#: How much of what is thought comes from the latest file.
_WEIGHT: Final = 1 / 8


class Batches:
    """Learns from the answers how many small files make a batch."""

    def __init__(self) -> None:
        self._seconds_each = _WANTED_S

    @property
    def size(self) -> int:
        """How many small files go together."""
        return max(1, min(int(_WANTED_S / max(self._seconds_each, _NO_TIME_S)), _MOST_JOBS))

    def took(self, job: Job, seconds: float) -> None:
        """So long was this job under way."""
        if _is_small(job):
            self._seconds_each += (seconds - self._seconds_each) * _WEIGHT

    def of(self, jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
        """The jobs as they are to be handed out: alone, or up to `size` small ones together, in their order."""
        small: list[Job] = []
        for job in jobs:
            if not _is_small(job):
                yield [job]
                continue
            small.append(job)
            if len(small) >= size:
                yield small
                small = []
        if small:
            yield small


def _is_small(job: Job) -> bool:
    return job.operation is Operation.PUT and job.file.digest.size <= _SMALL_BYTES
