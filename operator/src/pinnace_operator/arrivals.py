"""Kinds of objects that come and go while we run: the definitions of other engines, installed after us or removed.

kopf asks once, when it starts, what there is to be watched, and breaks when something that it watches is no more. With
the right to watch all definitions of the cluster it would notice by itself. Instead we ask for what is wanted and not
watched, and begin anew: each Experiment is looked at again, and nothing else is lost.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from pinnace_operator.engines.kinds import Resource
from pinnace_operator.watches import Watches

#: How often to ask for what is missing. While nothing is, nothing is asked.
PAUSE_S: Final = 10.0

_log = logging.getLogger(__name__)


class Arrivals:
    """`wanted` is what should be watched; `serves` asks the cluster and may block."""

    def __init__(
        self,
        wanted: Sequence[Resource],
        watches: Watches,
        serves: Callable[[Resource], bool],
        *,
        pause: float = PAUSE_S,
    ) -> None:
        self._wanted, self._watches, self._serves, self._pause = wanted, watches, serves, pause
        #: Set once something else is there to be watched than is watched. Not one of threading: a thread of kopf
        #: would wait for it, and kopf for that thread when it is asked to end.
        self.changed = asyncio.Event()

    async def look_out(self) -> None:
        """To be run beside the watches; it ends with the first change."""
        never = asyncio.Event()
        while not self.changed.is_set():
            # Time for those watches to begin that can.
            try:
                async with asyncio.timeout(self._pause):
                    await never.wait()
            except TimeoutError:
                if await asyncio.to_thread(self._has_changed):
                    self.changed.set()

    def _has_changed(self) -> bool:
        if self._watches.is_bereft:
            _log.info("kind.went")
            return True
        for resource in self._wanted:
            if not self._watches.has(resource.api_version, resource.plural) and self._serves(resource):
                _log.info("kind.came resource=%s.%s", resource.plural, resource.group)
                return True
        return False
