"""Writes to a database that takes one writer at a time: they queue, and those that wait share a commit.

Invariants: first come, first written; `write` returns when what it wrote is durable, and raises when nothing of it is
left; a write that fails takes no other with it. A commit waits for the disk, so with many clients it is the most of
what a small write costs: who comes first writes also what has queued up behind, each in a savepoint of its own.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import Connection

from pinnace_api.refusals import Unavailable

#: How long a write waits for others.
TURN_SECONDS: Final = 10.0
#: Who is written waits for those behind: for so many, and no more begin after so long.
_MOST: Final = 100
_SECONDS: Final = 0.02

Begin = Callable[[], AbstractContextManager[Connection]]
Command = Callable[[Connection, str], None]


class _Ended(Exception):
    """The database ended the transaction by itself."""


class _Write:
    """One that queues. `woken` is released once: when it is done, or when it is to write for those behind it."""

    __slots__ = ("error", "leads", "result", "transaction", "woken")

    def __init__(self, transaction: Callable[[Connection], Any]) -> None:
        self.transaction = transaction
        self.woken = threading.Lock()
        self.woken.acquire()
        self.leads = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        self.error = None
        self.result = self.transaction(connection)


class WriteQueue:
    """`begin` opens a transaction that is committed at the end of the block. `command` runs a statement in it;
    `is_open` says whether it is still one, since a full disk ends it. Safe to use from several threads.
    """

    def __init__(
        self,
        begin: Begin,
        command: Command,
        is_open: Callable[[Connection], bool],
        *,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self._turn_seconds = turn_seconds
        self._begin = begin
        self._command = command
        self._is_open = is_open
        self._lock = threading.Lock()
        self._waiting: deque[_Write] = deque()
        self._is_busy = False

    def write(self, transaction: Callable[[Connection], Any]) -> Any:
        """What `transaction` returns, or raises. Raises Unavailable when its turn doesn't come."""
        own = _Write(transaction)
        with self._lock:
            self._waiting.append(own)
            if not self._is_busy:
                self._is_busy = own.leads = True
        if not own.leads:
            self._wait(own)
        if own.leads:
            self._lead()
        if own.error is not None:
            try:
                raise own.error
            finally:
                del own  # which the error's traceback would hold, and it the error
        return own.result

    def _wait(self, own: _Write) -> None:
        """Until it is done or leads."""
        if own.woken.acquire(timeout=self._turn_seconds):
            return
        with self._lock:
            if own in self._waiting and not own.leads:
                self._waiting.remove(own)
                raise Unavailable("the database has more to write than it can", hint="try again")
        own.woken.acquire()  # it is being written at this moment

    def _lead(self) -> None:
        """Write what waits; whoever comes meanwhile leads next."""
        written: list[_Write] = []
        try:
            self._write(written)
        except BaseException as error:  # noqa: BLE001 - each gets it from its own call
            for each in written:
                each.error = each.error or error
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                if following is None:
                    self._is_busy = False
                else:
                    following.leads = True
            if following is not None:
                following.woken.release()
            for each in written:
                each.woken.release()

    def _write(self, written: list[_Write]) -> None:
        """One transaction. `written` is filled with whom it was for."""
        first = self._next(written)
        assert first is not None  # who leads waits itself
        until = time.monotonic() + _SECONDS
        try:
            with self._begin() as connection:
                if not self._waiting:
                    first.run(connection)
                    return
                each: _Write | None = first
                while each is not None:
                    self._try(connection, each)
                    each = self._next(written) if len(written) < _MOST and time.monotonic() < until else None
        except _Ended:
            self._write_alone(each for each in written if each.error is None)

    def _next(self, written: list[_Write]) -> _Write | None:
        with self._lock:
            if not self._waiting:
                return None
            written.append(self._waiting.popleft())
        return written[-1]

    def _try(self, connection: Connection, each: _Write) -> None:
        """A write that raises leaves nothing behind. Raises _Ended when it takes the others along."""
        self._command(connection, "SAVEPOINT one")
        try:
            each.run(connection)
        except BaseException as error:  # its own call raises it
            each.error = error
            if not self._is_open(connection):
                raise _Ended from error
            self._command(connection, "ROLLBACK TO one")
        self._command(connection, "RELEASE one")

    def _write_alone(self, writes: Iterable[_Write]) -> None:
        """Those whose transaction was ended by another's failure, one by one."""
        for each in writes:
            try:
                with self._begin() as connection:
                    each.run(connection)
            except BaseException as error:  # noqa: BLE001 - its own call raises it
                each.error = error
