"""Who does slow work: a few threads that take operations from one queue and leave what came of them in another.

An operation never touches the journal. It answers with a value; the main loop takes the answers and decides what they
mean, so that everything the sidecar knows changes in one thread, in one order.
"""

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

_T = TypeVar("_T")


class Workers(Protocol[_T]):
    """Takes operations whose answers are of one type."""

    #: How many operations can be under way at a time.
    size: int

    @property
    def busy(self) -> int:
        """Operations given whose answer has not been taken yet."""
        ...

    def submit(self, operation: Callable[[], _T]) -> None:
        """Have it done, in the order given as far as possible."""
        ...

    def collect(self) -> list[_T]:
        """The answers that are there. An exception that an operation did not handle is raised here."""
        ...


class ThreadWorkers(Generic[_T]):
    """`size` daemon threads, so that an operation that hangs can't keep the process alive. Rings after each answer."""

    def __init__(self, size: int, name: str, ring: Callable[[], None]) -> None:
        self.size = size
        self._ring = ring
        self._operations: SimpleQueue[Callable[[], _T]] = SimpleQueue()
        self._answers: deque[_T | BaseException] = deque()
        self._given = 0
        for number in range(size):
            Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    @property
    def busy(self) -> int:
        return self._given

    def submit(self, operation: Callable[[], _T]) -> None:
        self._given += 1
        self._operations.put(operation)

    def collect(self) -> list[_T]:
        answers: list[_T] = []
        while self._answers:
            answer = self._answers.popleft()
            self._given -= 1
            if isinstance(answer, BaseException):
                raise answer
            answers.append(answer)
        return answers

    def _work(self) -> None:
        while True:
            operation = self._operations.get()
            try:
                self._answers.append(operation())
            except BaseException as error:  # noqa: BLE001 - raised again in the main loop by collect()
                self._answers.append(error)
            self._ring()
