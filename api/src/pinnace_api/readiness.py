"""Whether what the API works with answers: the database, and where new bytes go.

Each is asked at most once at a time, whoever wants to know, in threads of its own: what hangs holds up nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pinnace_api.refusals import NotReady, Refused

_log = logging.getLogger(__name__)

_DEFECT: Final = "the check itself failed; the API's log says why"


class Readiness:
    """`checks` by name; each raises what keeps it from being used. `seconds` is how long an answer may take."""

    def __init__(self, checks: dict[str, Callable[[], None]], *, seconds: float) -> None:
        self._checks = checks
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(len(checks), thread_name_prefix="ready")
        self._under_way: dict[str, asyncio.Future[str]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._checks)

    async def check(self, names: Iterable[str]) -> None:
        """Ask those of these names. Raises NotReady with a word on each that does not answer well in time."""
        chosen = tuple(names)
        answers = await asyncio.gather(*(self._answer(name) for name in chosen))
        wrong = [f"{name}: {answer}" for name, answer in zip(chosen, answers, strict=True) if answer]
        if wrong:
            _log.warning("not.ready", extra={"fields": {"cause": "; ".join(wrong)}})
            raise NotReady("; ".join(wrong), hint="try again; the API goes on by itself when they do")

    def close(self) -> None:
        """Does not wait for what hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, name: str) -> str:
        asked = self._under_way.get(name)
        if asked is None or asked.done():
            asked = asyncio.get_running_loop().run_in_executor(self._threads, _ask, self._checks[name])
            self._under_way[name] = asked
        done, _ = await asyncio.wait({asked}, timeout=self._seconds)
        return asked.result() if done else f"no answer within {self._seconds:g} s"


def _ask(check: Callable[[], None]) -> str:
    try:
        check()
    except Refused as refused:
        return refused.detail
    except Exception as error:  # noqa: BLE001 - whatever it is, it isn't ready
        _log.error("check.broken", exc_info=error)
        return _DEFECT
    return ""
