"""Time, chance and life of one simulated node: a single thread in which everything that happens is an event or a seam.

Whatever the sidecar does to its world passes `seam`. There the process may be killed, the power may be cut, or another
event may come first: an operation that was handed to workers, a writer's next write, an effect that arrives late. One
seed decides all of it, so the same seed is the same run.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

#: 2023-11-14; the wall clock's start.
_EPOCH = 1_700_000_000.0
#: So many waits without any time going by mean a loop that does not come to rest.
_MAX_IDLE_WAITS = 3000
_MAX_DEPTH = 3


class Killed(BaseException):
    """The process is no more. No handler of `Exception` stops it."""


class Restless(AssertionError):
    """The sidecar goes on and on without waiting for anything."""


class End(StrEnum):
    """How a process ends without being asked."""

    #: kill -9: all that was written stays.
    KILL = "kill -9"
    #: What was not synced may be gone.
    POWER_CUT = "power cut"


@dataclass(order=True, slots=True)
class _Event:
    at: float
    number: int
    what: str = field(compare=False)
    do: Callable[[], None] = field(compare=False)
    #: The process that it dies with; 0: the world's own.
    process: int = field(compare=False)


class Machine:
    """One node. `interleaving` is how probable it is that another event comes first at a seam."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.rng = random.Random(seed)
        self.elapsed = 0.0
        self.wall_offset = 0.0
        self.interleaving = 0.1
        self.trace: list[tuple[float, str]] = []
        self.tracing = tracing
        self.steps = 0
        #: Whether a sidecar's process lives.
        self.alive = False
        self.process = 0
        #: How the process was ended, when it was.
        self.end: End | None = None
        #: At which step it will be, and how.
        self.planned_end: tuple[int, End] | None = None
        #: Errors that nobody could be told: defects of the simulation itself.
        self.broken: list[BaseException] = []
        self._events: list[_Event] = []
        self._numbers = 0
        self._depth = 0
        self._idle_waits = 0

    # --- chance

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.rng.random() < probability

    def note(self, *words: object) -> None:
        """One line of the trace."""
        if self.tracing:
            self.trace.append((self.elapsed, " ".join(map(str, words))))

    # --- the process

    def begin_process(self) -> None:
        self.alive, self.end = True, None
        self.process += 1
        self._depth = self._idle_waits = 0
        self.note("--- process", self.process, "begins")

    def end_process(self) -> None:
        """Its threads and what they had to do are gone."""
        self.alive = False
        self._events = [event for event in self._events if event.process == 0]
        heapq.heapify(self._events)

    def kill(self, end: End) -> None:
        self.alive, self.end, self.planned_end = False, end, None
        self.note("***", end)
        raise Killed(end)

    def seam(self, *words: object) -> None:
        """The sidecar reaches out of itself. Raises Killed when the process is dead, or dies here."""
        if not self.alive:
            raise Killed
        self.steps += 1
        if self.tracing and words:
            self.note("  " * self._depth, *words)
        if self.planned_end is not None and self.steps >= self.planned_end[0]:
            self.kill(self.planned_end[1])
        # Only what is about to happen anyway may come first; a slow disk or network makes the time go by.
        is_near = bool(self._events) and self._events[0].at <= self.elapsed + 1.0
        if is_near and self._depth < _MAX_DEPTH and self.rng.random() < self.interleaving:
            self._run_next()

    # --- events

    def later(self, seconds: float, what: str, do: Callable[[], None], *, own: bool = False) -> None:
        """Let `do` happen in so many seconds; `own`: only if the present process still lives."""
        self._numbers += 1
        process = self.process if own else 0
        heapq.heappush(self._events, _Event(self.elapsed + seconds, self._numbers, what, do, process))

    def _run_next(self) -> None:
        event = heapq.heappop(self._events)
        self.elapsed = max(self.elapsed, event.at)
        self._depth += 1
        try:
            event.do()
        finally:
            self._depth -= 1

    def pass_time(self, seconds: float) -> None:
        """Let time go by without a process."""
        self._until(self.elapsed + seconds, lambda: False)

    def run_out(self) -> None:
        """Let everything happen that is still to come."""
        while self._events:
            self._run_next()

    def _until(self, deadline: float, stop: Callable[[], bool]) -> None:
        while not stop():
            if not self._events or self._events[0].at > deadline:
                self.elapsed = max(self.elapsed, deadline)
                return
            self._run_next()

    # --- the sidecar's clock

    def wall_clock(self, elapsed: float) -> float:
        return _EPOCH + elapsed + self.wall_offset

    def now(self) -> float:
        return self.wall_clock(self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def wait(self, bell: Event, seconds: float) -> None:
        if not self.alive:
            raise Killed
        began = self.elapsed
        self._until(self.elapsed + max(0.0, seconds), bell.is_set)
        # Answers often come together.
        while self._events and self._events[0].at <= self.elapsed and self.chance(0.5):
            self._run_next()
        bell.clear()
        self._idle_waits = self._idle_waits + 1 if self.elapsed == began else 0
        if self._idle_waits > _MAX_IDLE_WAITS:
            raise Restless("thousands of passes in no time at all")


class SimulatedWorkers(Generic[_T]):
    """Operations are done when the machine comes to them, each by itself, in any order; one may begin in the midst of
    another. The answer comes a little later than the effect."""

    def __init__(self, machine: Machine, bell: Event, size: int, name: str, delay: Callable[[], float]) -> None:
        self.size = size
        self._machine = machine
        self._bell = bell
        self._name = name
        self._delay = delay
        self._given = 0
        self._answers: list[_T | BaseException] = []

    @property
    def busy(self) -> int:
        return self._given

    def submit(self, operation: Callable[[], _T]) -> None:
        self._given += 1
        self._machine.later(self._delay(), self._name, lambda: self._do(operation), own=True)

    def collect(self) -> list[_T]:
        answers: list[_T] = []
        while self._answers:
            answer = self._answers.pop(0)
            self._given -= 1
            if isinstance(answer, BaseException):
                raise answer
            answers.append(answer)
        return answers

    def _do(self, operation: Callable[[], _T]) -> None:
        try:
            answer: _T | BaseException = operation()
        except Exception as error:  # noqa: BLE001 - raised again in the main loop, as ThreadWorkers do
            answer = error
        if self._machine.chance(0.3):
            self._machine.later(self._delay(), f"{self._name} answer", lambda: self._hand(answer), own=True)
        else:
            self._hand(answer)

    def _hand(self, answer: Any) -> None:
        self._answers.append(answer)
        self._bell.set()
