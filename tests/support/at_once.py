"""Several threads that begin together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from pinnace.client import ApiError

#: How many begin where nothing else is said.
WRITERS = 8


def at_once(call: Callable[[int], Any], writers: int = WRITERS) -> list[Any]:
    """What `call` gives to each of the threads; a refusal is a result."""
    barrier = Barrier(writers)

    def begin(number: int) -> Any:
        barrier.wait()
        try:
            return call(number)
        except ApiError as error:
            return error

    with ThreadPoolExecutor(writers) as threads:
        return list(threads.map(begin, range(writers)))
