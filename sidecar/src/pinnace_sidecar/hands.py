"""Who does slow work: a few threads that take errands from one queue and leave what came of them in another.

An errand never touches the journal. It answers with a value; the main loop takes the answers and decides what they
mean, so that everything the sidecar knows changes in one thread, in one order.
"""

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

_T = TypeVar("_T")


class Hands(Protocol[_T]):
    """Takes errands whose answers are of one type."""

    #: How many errands can be under way at a time.
    size: int

    @property
    def busy(self) -> int:
        """Errands given whose answer has not been taken yet."""
        ...

    def give(self, errand: Callable[[], _T]) -> None:
        """Have it done, in the order given as far as possible."""
        ...

    def take(self) -> list[_T]:
        """The answers that are there. An exception that an errand did not handle is raised here."""
        ...


class ThreadHands(Generic[_T]):
    """`size` daemon threads, so that an errand that hangs can't keep the process alive. Rings after each answer."""

    def __init__(self, size: int, name: str, ring: Callable[[], None]) -> None:
        self.size = size
        self._ring = ring
        self._errands: SimpleQueue[Callable[[], _T]] = SimpleQueue()
        self._answers: deque[_T | BaseException] = deque()
        self._given = 0
        for number in range(size):
            Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    @property
    def busy(self) -> int:
        return self._given

    def give(self, errand: Callable[[], _T]) -> None:
        self._given += 1
        self._errands.put(errand)

    def take(self) -> list[_T]:
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
            errand = self._errands.get()
            try:
                self._answers.append(errand())
            except BaseException as error:  # noqa: BLE001 - raised again in the main loop by take()
                self._answers.append(error)
            self._ring()
