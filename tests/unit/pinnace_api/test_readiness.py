"""/readyz: what the API works with is asked, each within a limit, and never more than once at a time."""

import asyncio
import threading

import pytest

from pinnace_api.readiness import Readiness
from pinnace_api.refusals import NotReady, Unavailable
from support.eventually import eventually


class Check:
    """Answers when it is `allowed` to."""

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        assert self.allowed.wait(30)


def fine() -> None:
    pass


def away() -> None:
    raise Unavailable("the database is away")


def broken() -> None:
    raise ZeroDivisionError


def test_all_that_is_wrong_is_said() -> None:
    async def story() -> None:
        readiness = Readiness({"database": away, "store": broken}, seconds=5)
        with pytest.raises(NotReady) as caught:
            await readiness.check(readiness.names)
        assert "database: the database is away; store: the check itself failed" in caught.value.detail
        readiness.close()

    asyncio.run(story())


def test_what_hangs_is_not_waited_for_and_asked_only_once() -> None:
    hanging = Check()

    async def story() -> None:
        readiness = Readiness({"database": fine, "store": hanging}, seconds=0.05)
        for _ in range(3):
            with pytest.raises(NotReady, match=r"store: no answer within 0.05 s"):
                await readiness.check(readiness.names)
        await readiness.check(["database"])
        assert hanging.asked == 1
        hanging.allowed.set()
        readiness.close()

    asyncio.run(story())


def test_it_is_ready_again_by_itself() -> None:
    slow = Check()

    async def ready(readiness: Readiness) -> bool:
        try:
            await readiness.check(["store"])
        except NotReady:
            return False
        return True

    with asyncio.Runner() as runner:
        readiness = Readiness({"store": slow}, seconds=0.05)
        assert not runner.run(ready(readiness))
        slow.allowed.set()
        eventually(lambda: runner.run(ready(readiness)), what="ready again")
        readiness.close()
