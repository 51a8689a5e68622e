"""Recording runs from training code, wherever it runs: `pinnace.iteration(…)`."""

from pinnace.tracking.asynchronous import AsyncIteration
from pinnace.tracking.beginning import Beginning, current, iteration
from pinnace.tracking.errors import NoIteration, NotDelivered, NotOpen, SpoolBusy, SpoolError, TrackingError
from pinnace.tracking.run import Iteration

__all__ = [
    "AsyncIteration",
    "Beginning",
    "Iteration",
    "NoIteration",
    "NotDelivered",
    "NotOpen",
    "SpoolBusy",
    "SpoolError",
    "TrackingError",
    "current",
    "iteration",
]
