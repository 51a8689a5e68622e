"""Waiting for a condition in a test."""

from collections.abc import Callable
from typing import TypeVar

from cluster.waiting import until

_T = TypeVar("_T")


def eventually(probe: Callable[[], _T | None], *, timeout: float = 10, interval: float = 0.02, what: str = "") -> _T:
    """Call `probe` until it returns something true; return that. Fails after `timeout` seconds, naming `what`."""
    outcome = until(probe, timeout_s=timeout, interval_s=interval)
    if outcome is None:
        raise AssertionError(f"not within {timeout:g} s: {what or getattr(probe, '__name__', 'the condition')}")
    return outcome
