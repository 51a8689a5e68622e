"""Credentials that the API gives this pod for a while: asked for again well before they end, also in mid-upload.

While the API is away, those at hand serve until their end. Nothing of them is written to a disk.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pinnace.client import ApiError
from pinnace.records import StoreCredentials
from pinnace.signing import Credentials
from pinnace.stores.credentials import checked
from pinnace.stores.store import CredentialsMissing

#: They are renewed when less than this part of their life is left.
RENEWED_AT: Final = 1 / 3
#: Between two questions, at least: what is refused now is refused in a moment too.
PAUSE_S: Final = 5.0

_HINT: Final = "the API gives them: see the condition of the Experiment, and the log of the API"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    credentials: Credentials
    expires_at: datetime
    #: By our own clock, which may be wrong about the time of day.
    renew_at: float
    ends_at: float


class VendedCredentials:
    """`ask` gives new ones or raises ApiError; `monotonic` is a clock in seconds."""

    def __init__(self, ask: Callable[[], StoreCredentials], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._asked_at = -PAUSE_S
        self._refusal: ApiError | None = None

    def current(self) -> Credentials:
        with self._lock:
            now = self._monotonic()
            if (self._held is None or now >= self._held.renew_at) and now - self._asked_at >= PAUSE_S:
                self._renew(now)
            if self._held is None or now >= self._held.ends_at:
                why = self._refusal
                raise CredentialsMissing(
                    f"the API gives no credentials for the store: {why.detail if why else 'those it gave are refused'}",
                    hint=why.hint if why and why.hint else _HINT,
                ) from why
            return self._held.credentials

    def forget(self) -> None:
        """Those that were given just now are kept: others would be refused just the same."""
        with self._lock:
            if self._monotonic() - self._asked_at >= PAUSE_S:
                self._held = None

    def expires_at(self) -> datetime | None:
        with self._lock:
            return self._held.expires_at if self._held is not None else None

    def _renew(self, now: float) -> None:
        self._asked_at = now
        try:
            given = self._ask()
        except ApiError as error:
            self._refusal = error
            return
        self._refusal = None
        credentials = Credentials(
            access_key_id=given.access_key_id,
            secret_access_key=given.secret_access_key,
            session_token=given.session_token,
        )
        life = given.expires_in_seconds
        self._held = _Held(
            credentials=checked(credentials, "the credentials that the API gave", _HINT),
            expires_at=given.expires_at,
            renew_at=now + life * (1 - RENEWED_AT),
            ends_at=now + life,
        )
