"""Two threads beside a training: one takes the spool to the API as it grows, one gives signs of life.

Neither is ever waited for, but at the end, and then not for long. Whatever fails is tried again after a pause that
grows; what will never work is said once and stops the delivery. The spool has everything either way.
"""

import logging
import random
import threading
import time
from typing import Final

from pinnace.client import ApiError, Client, Invalid, Unavailable
from pinnace.records import ENDED_STATES, HeartbeatReceipt, Lifecycle
from pinnace.tracking.delivery import Delivery, is_worth_repeating
from pinnace.tracking.spool import Spool

#: The API takes an iteration for lost that has not been heard of for so long.
LEASE_SECONDS: Final = 60
_BEAT_S: Final = 20.0
#: Points gather for so long, that they travel together.
_LINGER_S: Final = 1.0
_FIRST_PAUSE_S: Final = 0.5
_LAST_PAUSE_S: Final = 30.0
#: A failure that goes on is said again after so long.
_SAY_AGAIN_S: Final = 60.0

_log = logging.getLogger(__name__)


class Sender:
    """`start` it, `wake` it when something is urgent, `finish` it."""

    def __init__(self, client: Client, spool: Spool) -> None:
        self._client = client
        self._spool = spool
        self._delivery = Delivery(client, spool, keep=False)
        self._wake = threading.Event()
        self._stop = threading.Event()
        #: Everything that there was has been delivered, or there is no use in going on.
        self._idle = threading.Condition()
        self._ending = False
        self._failure: Exception | None = None
        self._halted = False
        self._said_at = -_SAY_AGAIN_S
        self.receipt: HeartbeatReceipt | None = None
        self._threads = [
            threading.Thread(target=self._send, name="pinnace-sender", daemon=True),
            threading.Thread(target=self._beat, name="pinnace-heartbeat", daemon=True),
        ]

    def begin(self) -> None:
        """Try to begin it at once, so that a wrong token or name is said before the training and not after it.

        Raises ApiError where no later time will be better. An API that is away is no reason.
        """
        try:
            self._delivery.step()
        except ApiError as error:
            # A parent may be on its way still.
            is_final = not (isinstance(error, Invalid) and is_worth_repeating(error))
            if is_final and not error.transient and error.status is not None and error.status < 500:
                raise
            self._fail(error)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Do not linger."""
        self._wake.set()

    @property
    def failure(self) -> Exception | None:
        """Why the latest attempt failed."""
        return self._failure

    def wait(self, seconds: float) -> bool:
        """Wait until everything that was said is delivered; whether it is."""
        with self._idle:
            self._idle.wait_for(lambda: self._halted or self._left() == 0, seconds)
        return self._left() == 0

    def finish(self, seconds: float) -> bool:
        """Deliver what is left, at most for so long, and end; whether everything has arrived."""
        self._ending = True
        self._wake.set()
        done = self.wait(seconds)
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=0.5)
        if not self._threads[0].is_alive():
            self._spool.close()
        return done

    def _left(self) -> int:
        return self._spool.left(self._delivery.mark)

    def _send(self) -> None:
        try:
            self._deliver()
        finally:
            if self._left():
                self._spool.close()

    def _deliver(self) -> None:
        pauses = 0
        while not self._stop.is_set():
            pause = _LINGER_S
            try:
                while self._delivery.step():
                    pauses, self._failure = 0, None
                    if self._stop.is_set():
                        break
            except (ApiError, OSError) as error:
                self._fail(error)
                pauses += 1
                pause = _pause(pauses, error)
            except Exception as error:  # noqa: BLE001 - no training ends for a defect of ours
                self._fail(error)
                self._halted = True
                _log.exception("delivery.broken folder=%s", self._spool.folder)
            with self._idle:
                self._idle.notify_all()
            if self._halted:
                return
            self._wake.wait(min(pause, _LINGER_S) if self._ending else pause)
            self._wake.clear()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._halted = isinstance(error, ApiError) and not is_worth_repeating(error)
        now = time.monotonic()
        if self._halted or now - self._said_at >= _SAY_AGAIN_S:
            self._said_at = now
            what = "delivery.stopped" if self._halted else "delivery.delayed"
            _log.warning("%s folder=%s reason=%s", what, self._spool.folder, error)

    def _beat(self) -> None:
        while True:
            try:
                self.receipt = self._client.heartbeat(self._spool.begin.id, lease_seconds=LEASE_SECONDS)
            except ApiError as error:
                _log.debug("heartbeat.failed reason=%s", error)
            if self._stop.wait(_BEAT_S):
                return

    @property
    def is_closed(self) -> bool:
        """Whether somebody has ended the iteration, or thrown it away."""
        receipt = self.receipt
        return receipt is not None and (receipt.state in ENDED_STATES or receipt.lifecycle is Lifecycle.TRASHED)


def _pause(attempt: int, error: Exception) -> float:
    wish = error.retry_after if isinstance(error, Unavailable) else None
    longest = min(_FIRST_PAUSE_S * 2.0**attempt, _LAST_PAUSE_S)
    return max(wish or 0.0, longest * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads clients
