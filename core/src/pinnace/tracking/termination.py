"""SIGTERM while an iteration runs: it becomes KILLED, and what would have happened without us happens still.

A handler that was there is called, and may do what it does. Where the default would have ended the process, the block
is left by an exception first, so that the iteration can be ended; then the process dies by the signal as before.
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
    """Watches from `begin` to `end`; only in the main thread, because Python allows handlers nowhere else."""

    def __init__(self) -> None:
        self.received = False
        self._pid = os.getpid()
        self._previous: Any = None
        self._watching = False

    def begin(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)
        # None: a handler that isn't Python's.
        if previous not in (None, signal.SIG_IGN):
            self._previous = previous
            self._watching = True
            signal.signal(signal.SIGTERM, self._handle)

    def end(self) -> None:
        """Put back what was there, and let the process die where it would have died. Safe to call twice."""
        if not self._watching or threading.current_thread() is not threading.main_thread():
            return
        self._watching = False
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._previous)
        if self.received and self._previous is signal.SIG_DFL:
            os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received, True
        if callable(self._previous):
            self._previous(number, frame)
            return
        if again or os.getpid() != self._pid:
            # A child of a fork has nothing to end; and who is asked twice, goes.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise Terminated
