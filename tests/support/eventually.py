"""Waiting for a condition: the only place of the tests that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def eventually(probe: Callable[[], _T | None], *, timeout: float = 10, interval: float = 0.02, what: str = "") -> _T:
    """Call `probe` until it returns something true; return that. Fails after `timeout` seconds, naming `what`."""
    deadline = time.monotonic() + timeout
    while True:
        outcome = probe()
        if outcome:
            return outcome
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or getattr(probe, '__name__', 'the condition')}")
        time.sleep(interval)
