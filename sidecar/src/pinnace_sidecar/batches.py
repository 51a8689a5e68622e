"""Which operations go to a worker together. Pure.

Waking a thread and committing to the journal cost more than sending a small file, so small files share a hand-over: as
many as it takes to bring all that wait to the workers evenly. Few files go one by one, so that all workers have some.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from pinnace_sidecar.transfer import Job, Operation

#: So many go together at most.
MOST_JOBS: Final = 64
#: What is left of a batch after this time is handed out anew: a store that is far away holds up no file for long.
LONGEST_S: Final = 0.2

_SMALL_BYTES: Final = 256 * 2**10


def is_small(job: Job) -> bool:
    """Whether it may go with others."""
    return job.operation is Operation.PUT and job.file.kept.size <= _SMALL_BYTES


def batches(small: Sequence[Job], room: int) -> Iterator[Sequence[Job]]:
    """The jobs in their order, in at most `room` parts of the same size; there are at most MOST_JOBS for each."""
    size = -(-len(small) // max(room, 1))
    for start in range(0, len(small), max(size, 1)):
        yield small[start : start + size]
