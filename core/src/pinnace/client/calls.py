"""What the groups of calls share: the connection, and lists that fetch their pages as they go."""

import math
from collections.abc import Iterator
from typing import TypeVar

from pinnace import records
from pinnace.client.connection import Connection
from pinnace.client.errors import Unexpected

_ItemT = TypeVar("_ItemT")

#: The most that the API puts into one page.
PAGE_LIMIT = 1000


class Calls:
    """Calls over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _pages(
        self, path: str, page: type[records.Page], limit: int | None, /, **filters: str | None
    ) -> Iterator[_ItemT]:
        remaining = math.inf if limit is None else limit
        after: str | None = None
        while remaining > 0:
            query: dict[str, str | int | None] = {**filters, "limit": int(min(remaining, PAGE_LIMIT)), "after": after}
            answer = self._connection.get(path, page, query)
            items: tuple[_ItemT, ...] = answer.items  # type: ignore[attr-defined]
            remaining -= len(items)
            yield from items
            if answer.next is None:
                return
            if not items or answer.next == after:
                raise Unexpected(f"GET {path}: the list does not come to an end", hint="this is a defect of the API")
            after = answer.next
