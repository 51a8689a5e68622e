"""Pinnace: run machine-learning experiments on Kubernetes and never lose an artifact.

    import pinnace

    with pinnace.iteration(project="iris", experiment="trees", parameters={"depth": 3}) as it:
        it.log_metrics({"accuracy": 0.97}, step=1)
        it.log_artifact("model.joblib")

Importing it costs next to nothing: what recording needs is imported by the first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnace import artifacts as artifacts
    from pinnace.tracking import (
        AsyncIteration,
        Iteration,
        NoIteration,
        NotDelivered,
        NotOpen,
        SpoolBusy,
        SpoolError,
        TrackingError,
        current,
        iteration,
    )

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return (
        import_module("pinnace.artifacts") if name == "artifacts" else getattr(import_module("pinnace.tracking"), name)
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
