"""An answer whose head is exactly what a content says, and whose body comes block by block."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from litestar import Response
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send


class Download(Response[None]):
    """`headers` as they are; no body for None.

    A body that fails is cut short: who reads it sees that its end is missing. One that nobody reads is given up.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str], blocks: AsyncGenerator[bytes, None] | None = None
    ) -> None:
        super().__init__(None, status_code=status)
        self._lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self._status = status
        self._blocks = blocks

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == ScopeType.HTTP
        await send({"type": "http.response.start", "status": self._status, "headers": self._lines})
        if self._blocks is not None:
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                async with aclosing(self._blocks) as blocks:
                    async for block in blocks:
                        if gone.done():
                            return
                        await send({"type": "http.response.body", "body": block, "more_body": True})
            finally:
                gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
