"""Waiting for something outside this process: the one place that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def until(probe: Callable[[], _T | None], *, timeout_s: float, interval_s: float = 0.5) -> _T | None:
    """Call `probe` every `interval_s` seconds until it returns something true; None when time is up."""
    deadline = time.monotonic() + timeout_s
    while not (outcome := probe()):
        if time.monotonic() >= deadline:
            return None
        time.sleep(interval_s)  # noqa: TID251 - this is the seam
    return outcome
