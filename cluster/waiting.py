"""Waiting for something outside this process: the one place that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

#: Seconds between two questions at the most, unless more are asked for.
_REST_S = 1.0


def until(probe: Callable[[], _T | None], *, timeout_s: float, interval_s: float = 0.5) -> _T | None:
    """Call `probe` every `interval_s` seconds until it returns something true; None when time is up.

    One that is dear, a process, say, is asked less often, so that what is waited for gets the processor meanwhile.
    """
    asked = time.monotonic()
    deadline = asked + timeout_s
    while not (outcome := probe()):
        answered = time.monotonic()
        if answered >= deadline:
            return None
        time.sleep(max(interval_s, min(2 * (answered - asked), _REST_S)))  # noqa: TID251 - this is the seam
        asked = time.monotonic()
    return outcome
