"""Bytes between a connection and a store: a block at a time, in threads of their own, so that neither a slow client nor
a slow store holds up other requests, and memory never depends on sizes.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from litestar import Request

from pinnace_api.database import Database
from pinnace_api.refusals import BytesCorrupt, Refused, Stopping, TimedOut, TooLarge
from pinnace_api.storage.backend import BLOCK_BYTES, Writer, Written, write
from pinnace_api.storage.reading import Reading
from pinnace_api.storage.storage import Storage

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: How many blocks are written or read at a time; also bounds what they take of memory.
_THREADS: Final = 16
#: A body that brings nothing for so long is given up.
STALL_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Transfers:
    """The threads that bytes go through, and between what.

    `limit` is how many bytes a file may have; 0: any number. `rests_seconds`: how long an upload may rest.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        *,
        limit: int = 0,
        rests_seconds: int = 7 * 86_400,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.database = database
        self.storage = storage
        self.limit = limit
        self.rests_seconds = rests_seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bytes")
        self._stall_seconds = stall_seconds
        self._waiting: set[asyncio.Timeout] = set()
        self._stopping = False

    def stop(self) -> None:
        """Take no more bytes: uploads under way end as Stopping. To be called in the event loop."""
        self._stopping = True
        for wait in self._waiting:
            wait.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        self._threads.shutdown()

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))

    async def receive(self, request: Request[Any, Any, Any], size: int | None) -> Written:
        """The request's body as new bytes. Raises TooLarge beyond the limit, and what the store raises."""
        self.check_size(size or 0)
        async with aclosing(self.blocks(request)) as blocks:
            first, second = await anext(blocks, b""), await anext(blocks, b"")
            self.check_size(len(first) + len(second))
            if not second:  # it is all there: one change of threads is enough
                return await self.run(write, self.storage.new, [first] if first else [], len(first))
            received = len(first) + len(second)
            writer = await self.run(self.storage.new.writer, size)
            try:
                await self.run(writer.write, first + second)
                async for block in blocks:
                    received += len(block)
                    self.check_size(received)
                    await self.run(writer.write, block)
                return await self.run(writer.finish)
            finally:
                await self.give_up(writer)

    def check_size(self, size: int) -> None:
        """Raise TooLarge beyond the limit."""
        if 0 < self.limit < size:
            raise TooLarge(
                f"a file has at most {self.limit} bytes here", hint="PINNACE_API_ARTIFACT_LIMIT_BYTES is the limit"
            )

    async def give_up(self, writer: Writer) -> None:
        """Throw away what is not finished."""
        await self.run(writer.abort)

    async def blocks(self, request: Request[Any, Any, Any]) -> AsyncGenerator[bytes, None]:
        """The body in blocks. Raises TimedOut when nothing comes; Stopping, after what has come, when we end."""
        pending, is_whole = bytearray(), False
        async with aclosing(request.stream()) as stream:
            while not self._stopping:
                wait = asyncio.timeout(self._stall_seconds)
                try:
                    async with wait:
                        self._waiting.add(wait)
                        chunk = await anext(stream, None)
                except TimeoutError:
                    if self._stopping:
                        break
                    raise TimedOut(f"no byte came for {self._stall_seconds:g} s", hint="send it again") from None
                finally:
                    self._waiting.discard(wait)
                if chunk is None:
                    is_whole = True
                    break
                pending += chunk
                if len(pending) >= BLOCK_BYTES:
                    yield bytes(pending)
                    pending.clear()
        if pending:
            yield bytes(pending)
        if not is_whole:
            raise Stopping

    async def send(self, reading: Reading, first: bytes) -> AsyncGenerator[bytes, None]:
        """The blocks of a body of which `first` has been read. The next one is read while one is sent.

        What is not as it was recorded ends it short, so that nobody takes it for the whole.
        """
        block = first
        while block:
            ahead = asyncio.ensure_future(self.run(reading.next))
            try:
                yield block
            finally:
                following = await _outcome(ahead)
            if isinstance(following, BaseException):
                kind = "bytes.corrupt" if isinstance(following, BytesCorrupt) else "bytes.unreadable"
                detail = following.detail if isinstance(following, Refused) else repr(following)
                _log.error(kind, extra={"fields": {"cause": detail}})
                raise following
            block = following


async def _outcome(ahead: "asyncio.Future[bytes]") -> bytes | BaseException:
    try:
        return await ahead
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller raises it
        return error
