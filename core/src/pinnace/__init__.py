"""Pinnace: run machine-learning experiments on Kubernetes and never lose an artifact.

    import pinnace

    with pinnace.iteration(project="iris", experiment="trees", parameters={"depth": 3}) as it:
        it.log_metrics({"accuracy": 0.97}, step=1)
        it.log_artifact("model.joblib")

Importing it costs next to nothing: what recording needs is imported by the first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pinnace import artifacts as artifacts
    from pinnace.tracking.asynchronous import AsyncIteration
    from pinnace.tracking.beginning import current, iteration
    from pinnace.tracking.errors import NoIteration, NotDelivered, NotOpen, SpoolBusy, SpoolError, TrackingError
    from pinnace.tracking.run import Iteration

__all__ = [
    "AsyncIteration",
    "Iteration",
    "NoIteration",
    "NotDelivered",
    "NotOpen",
    "SpoolBusy",
    "SpoolError",
    "TrackingError",
    "artifacts",
    "current",
    "iteration",
]

_ELSEWHERE: Final = {
    "AsyncIteration": "asynchronous",
    "Iteration": "run",
    "current": "beginning",
    "iteration": "beginning",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "artifacts":
        return import_module("pinnace.artifacts")
    return getattr(import_module(f"pinnace.tracking.{_ELSEWHERE.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
