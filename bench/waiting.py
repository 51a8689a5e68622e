"""Waiting for something to be so."""

import time
from collections.abc import Callable
from threading import Event


class TooLate(Exception):
    """It never came about."""


def eventually(condition: Callable[[], object], *, timeout: float, what: str, interval: float = 0.05) -> None:
    """Return as soon as `condition` holds; TooLate after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TooLate(f"not within {timeout:g} s: {what}")
        pause(interval)


def pause(seconds: float) -> None:
    """Let the others work."""
    Event().wait(seconds)
