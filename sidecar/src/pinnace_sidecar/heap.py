"""What the C library keeps of memory that Python has freed. Where the library is not glibc, nothing happens here."""

import ctypes
import gc
from contextlib import suppress
from typing import Final

#: glibc's M_ARENA_MAX.
_ARENA_MAX: Final = -8


def share() -> None:
    """One heap for all threads: of one for each, nobody uses what another one has freed. Before they begin."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Whole pages that are free go back to the system. Takes milliseconds."""
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
