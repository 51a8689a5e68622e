"""SIGTERM while iterations run: they become KILLED, and what would have happened without us happens still.

A handler that was there is called, and may do what it does. Where the default would have ended the process, the blocks
are left by an exception first, so that their iterations can be ended; then the process dies by the signal as before.
"""

import os
import signal
import threading
from types import FrameType
from typing import Any


class Terminated(SystemExit):
    """Leaves the block on SIGTERM."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Watch:
    """One iteration's; `received` from the signal on. Many may watch at once, and end in any order.

    Python allows handlers in the main thread only: what is begun in another one does not watch.
    """

    def __init__(self) -> None:
        self.received = False

    def begin(self) -> None:
        if _is_main_thread():
            _handler.add(self)

    def end(self) -> None:
        """Put back what was there, and let the process die where it would have died. Safe to call twice."""
        if _is_main_thread():
            _handler.remove(self)


class _Handler:
    """The one handler of all watches; `previous` is what was there before."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._previous: Any = None
        self._pid = 0

    def add(self, watch: Watch) -> None:
        if not self._watches:
            previous = signal.getsignal(signal.SIGTERM)
            # None: a handler that isn't Python's.
            if previous in (None, signal.SIG_IGN):
                return
            self._previous, self._pid = previous, os.getpid()
            signal.signal(signal.SIGTERM, self._handle)
        self._watches.append(watch)

    def remove(self, watch: Watch) -> None:
        if watch not in self._watches:
            return
        self._watches.remove(watch)
        if self._watches:
            return
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._previous)
        if watch.received and self._previous is signal.SIG_DFL:
            os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = any(watch.received for watch in self._watches)
        for watch in self._watches:
            watch.received = True
        if callable(self._previous):
            self._previous(number, frame)
            return
        if again or os.getpid() != self._pid:
            # A child of a fork has nothing to end; and who is asked twice, goes.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise Terminated


_handler = _Handler()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
