"""Connections to one endpoint, kept open between requests and shared by threads.

The only thing that is ever sent twice in here is a repeatable request on a connection that had been idle and that the
other side closed before a byte of an answer: servers do that at any time, and it says nothing about the store.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from pinnace.stores.connection import Connection
from pinnace.stores.dialling import Dialler, Endpoint
from pinnace.stores.http1 import Answer, HttpRequest
from pinnace.stores.pacing import ANSWER_SECONDS, Bandwidth
from pinnace.stores.proxies import Proxy
from pinnace.stores.store import StoreUnreachable

CONNECT_SECONDS: Final = 10.0
STALL_SECONDS: Final = 60.0
#: Below the idle time-outs of the usual stores and load balancers.
IDLE_SECONDS: Final = 15.0
MAX_IDLE: Final = 16


class _Idle(NamedTuple):
    connection: Connection
    since: float


class ConnectionPool:
    """As many connections as there are exchanges at a time; at most MAX_IDLE of them are kept for the next.

    `ca_file` and `connect_seconds` as in Dialler; `stall_seconds` bounds every wait after that, and `answer_seconds`
    the time from the last byte sent to the answer. `bandwidth` is what all connections may take together; None: all
    there is.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ca_file: str = "",
        proxy: Proxy | None = None,
        bandwidth: Bandwidth | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self._dialler = Dialler(endpoint, ca_file=ca_file, proxy=proxy, connect_seconds=connect_seconds)
        #: Reads the requests and passes them on; for https it only passes on what it can't read.
        self._reader = proxy if endpoint.scheme == "http" else None
        self._bandwidth = bandwidth
        self._stall_seconds = stall_seconds
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []

    def close(self) -> None:
        """Close idle connections; exchanges under way go on, and the pool stays usable."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def exchange(self, request: HttpRequest, *, repeatable: bool = True) -> Answer:
        """One exchange on a connection of the pool. `repeatable`: doing it twice is harmless."""
        return self.begin(request, repeatable=repeatable)()

    def begin(self, request: HttpRequest, *, repeatable: bool = True) -> Callable[[], Answer]:
        """An exchange in two steps: the request goes on a connection that is its own until its answer is there, and the
        call that is returned waits for that. Either step may raise what Connection says.
        """
        if self._reader is not None:
            headers = {**request.headers, **self._reader.headers()}
            target = f"http://{self.endpoint.authority}{request.target}"
            request = msgspec.structs.replace(request, target=target, headers=headers)
        idle = self._take_idle()
        connection = idle or self._connect()
        try:
            connection.begin(request)
        except BaseException:
            connection.close()
            raise
        return partial(self._finish, connection, request, again=repeatable and idle is not None)

    def _finish(self, connection: Connection, request: HttpRequest, *, again: bool) -> Answer:
        try:
            answer = connection.finish()
        except BaseException as error:
            connection.close()
            if not (again and isinstance(error, StoreUnreachable) and connection.dropped_unanswered):
                raise
        else:
            self._put_back(connection)
            return answer
        connection = self._connect()
        try:
            connection.begin(request)
        except BaseException:
            connection.close()
            raise
        return self._finish(connection, request, again=False)

    def _take_idle(self) -> Connection | None:
        """The one that was used last: the others may grow old and be closed."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and connection.is_quiet():
                return connection
            connection.close()

    def _put_back(self, connection: Connection) -> None:
        if connection.reusable:
            with self._lock:
                if len(self._idle) < MAX_IDLE:
                    self._idle.append(_Idle(connection, time.monotonic()))
                    return
        connection.close()

    def _connect(self) -> Connection:
        return Connection(
            self._dialler.dial(),
            stall_seconds=self._stall_seconds,
            answer_seconds=self._answer_seconds,
            bandwidth=self._bandwidth,
        )
