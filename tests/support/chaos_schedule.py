"""Who writes what, and what strikes when, all of it out of one seed. Pure: the same seed gives the same schedule."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    OPERATOR_KILLED = "operator-killed"
    API_KILLED = "api-killed"
    STORE_KILLED = "store-killed"
    #: Its process stands still for a while: requests hang.
    STORE_FROZEN = "store-frozen"
    SIDECAR_KILLED = "sidecar-killed"
    TRAINING_KILLED = "training-killed"
    #: With the grace that it asks for.
    POD_DELETED = "pod-deleted"
    #: By the eviction API, as a drained node does it.
    POD_EVICTED = "pod-evicted"
    #: Without any grace.
    POD_DELETED_AT_ONCE = "pod-deleted-at-once"
    API_SERVER_KILLED = "api-server-killed"
    CONTAINERD_KILLED = "containerd-killed"
    KUBELET_KILLED = "kubelet-killed"


#: After these a pod's sidecar may never have come to its last word. Nothing else excuses a pod without one.
SILENCING: Final = frozenset({Fault.SIDECAR_KILLED, Fault.POD_DELETED_AT_ONCE})

#: These end a pod's training, which its Job has to try again.
ENDING: Final = frozenset(
    {Fault.TRAINING_KILLED, Fault.POD_DELETED, Fault.POD_EVICTED, Fault.POD_DELETED_AT_ONCE}
)  # fmt: skip

#: So often in one iteration; each further try waits twice as long as the one before.
MAX_ENDINGS: Final = 2

#: Kubernetes restarts what dies again and again after ever longer pauses, so this much at most of one kind:
#: one in so many seconds.
_PAUSES: Final = {
    Fault.API_SERVER_KILLED: 150.0,
    Fault.CONTAINERD_KILLED: 90.0,
    Fault.KUBELET_KILLED: 90.0,
    Fault.OPERATOR_KILLED: 40.0,
    Fault.API_KILLED: 40.0,
    Fault.STORE_KILLED: 60.0,
    Fault.STORE_FROZEN: 30.0,
}

#: Seconds between two strikes.
_GAP: Final = (2.0, 7.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One Experiment, and what its training writes."""

    name: str
    starts_at: float
    iterations: int
    parallelism: int
    small_files: int
    big_mib: int
    seconds: float
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    at: float
    fault: Fault
    #: Chooses among the victims that there are then, and between the ways to do it: 0 ≤ draw < 1.
    draw: float
    #: How long it lasts, for what is over only when it is lifted.
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    seed: int
    trials: tuple[Trial, ...]
    strikes: tuple[Strike, ...]


def schedule(seed: int, *, experiments: int, seconds: float) -> Schedule:
    """So many Experiments begun within three quarters of the time, and strikes until its end: each fault at least once
    where there is time for it."""
    rng = random.Random(seed)
    return Schedule(
        seed=seed,
        trials=tuple(_trial(rng, number, experiments, seconds) for number in range(experiments)),
        strikes=tuple(_strikes(rng, seconds)),
    )


def _trial(rng: random.Random, number: int, experiments: int, seconds: float) -> Trial:
    iterations = rng.choice((1, 1, 2, 3))
    return Trial(
        name=f"trial-{number}",
        starts_at=round(0.75 * seconds * number / experiments, 1),
        iterations=iterations,
        parallelism=rng.randint(1, iterations),
        small_files=rng.randint(2, 12),
        big_mib=rng.choice((0, 0, 0, 24)),
        seconds=round(rng.uniform(3, 16), 1),
        # The last digit of a seed is no reason for a run without a training that fails.
        exit_code=3 if number % 6 == 5 else 0,
    )


def _strikes(rng: random.Random, seconds: float) -> list[Strike]:
    found: list[Strike] = []
    due: list[Fault] = []
    last: dict[Fault, float] = {}
    at = round(rng.uniform(8, 12), 1)  # the first pods are there
    while at < seconds:
        if not due:
            due = rng.sample(list(Fault), len(Fault))
        allowed = [fault for fault in due if at - last.get(fault, -1e9) >= _PAUSES.get(fault, 0.0)]
        fault = allowed[0] if allowed else rng.choice([fault for fault in Fault if fault not in _PAUSES])
        if allowed:
            due.remove(fault)
        else:
            due.clear()
        last[fault] = at
        lasts = round(rng.uniform(3, 15), 1) if fault is Fault.STORE_FROZEN else 0.0
        found.append(Strike(at=at, fault=fault, draw=rng.random(), seconds=lasts))
        at = round(at + rng.uniform(*_GAP), 1)
    return found
    return found
