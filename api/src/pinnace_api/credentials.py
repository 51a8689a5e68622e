"""Secrets: how they are made, hashed and compared. Only what this module makes of a secret is ever stored.

Tokens are random, so a fast hash keeps them; passwords are not, so a slow one does (argon2id).
"""

import hashlib
import hmac
import re
import secrets
import threading
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pinnace_api.refusals import Invalid, Unavailable

TOKEN_PREFIX: Final = "pnc_"  # noqa: S105 - how every token begins
MIN_PASSWORD: Final = 12

_TOKEN: Final = re.compile(r"pnc_[A-Za-z0-9_-]{43}")
#: Each takes 19 MiB and a core while it runs.
_AT_ONCE: Final = 4
_TURN_SECONDS: Final = 10.0


def new_token() -> str:
    """256 random bits, told apart from other tokens by their beginning."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def digest(secret: str) -> str:
    """What is stored of a random secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf(token: str) -> str:
    """What a page proves with that it may read this session's answers: follows from the token, tells nothing of it."""
    return hmac.digest(token.encode(), b"csrf", "sha256").hex()


def same(one: str, other: str) -> bool:
    """Takes equally long wherever they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


class Passwords:
    """Safe to use from several threads; at most four are hashed at a time."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        # OWASP's choice: 19 MiB, two passes, one lane.
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        #: What a wrong name is verified against, so that it takes as long as a wrong password.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))

    def hashed(self, password: str, *, name: str, field: str = "password") -> str:
        """The hash of a password that is good enough. Raises Invalid or Unavailable."""
        text = _normal(password)
        if len(text) < MIN_PASSWORD:
            raise Invalid(f"a password has at least {MIN_PASSWORD} characters", field=field)
        if len(set(text)) < 5 or text.casefold() in (name.casefold(), name.casefold() * 2) or not text.strip():
            raise Invalid("this password can be guessed", field=field, hint="take several unrelated words")
        with _Turn(self._turns):
            return self._hasher.hash(text)

    def verify(self, stored: str, password: str) -> bool:
        """Whether `password` is the one of the hash; takes equally long when there is none (""). Raises Unavailable."""
        with _Turn(self._turns):
            try:
                self._hasher.verify(stored or self._nobody, _normal(password))
            except (VerificationError, InvalidHashError):
                return False
        return bool(stored)

    def outdated(self, stored: str) -> bool:
        """Whether the hash was made with other costs than those of today."""
        return self._hasher.check_needs_rehash(stored)

    def rehashed(self, password: str) -> str:
        with _Turn(self._turns):
            return self._hasher.hash(_normal(password))


class _Turn:
    def __init__(self, turns: threading.BoundedSemaphore) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        if not self._turns.acquire(timeout=_TURN_SECONDS):
            raise Unavailable("too many passwords are being checked", hint="try again")

    def __exit__(self, *_: object) -> None:
        self._turns.release()


def _normal(password: str) -> str:
    """The same text whichever keyboard composed its letters."""
    return unicodedata.normalize("NFC", password)
