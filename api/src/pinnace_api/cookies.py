"""The cookies that browsers keep for us: out of reach for scripts, for this host only, and for https.

Over plain http, which only a loopback address may have (settings.py), they go without the prefix that needs https.
"""

from dataclasses import dataclass
from typing import Final, Literal

from litestar.datastructures import Cookie

_LOGIN_SECONDS: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    secure: bool

    @property
    def session(self) -> str:
        """The name of the cookie with the session's token."""
        return self._name("pinnace_session")

    @property
    def login(self) -> str:
        """The name of the cookie that ties a login at an identity provider to the browser that began it."""
        return self._name("pinnace_login")

    def with_session(self, token: str, *, seconds: int) -> Cookie:
        return self._cookie(self.session, token, seconds)

    def without_session(self) -> Cookie:
        return self._cookie(self.session, "", 0)

    def with_login(self, secret: str) -> Cookie:
        return self._cookie(self.login, secret, _LOGIN_SECONDS)

    def without_login(self) -> Cookie:
        return self._cookie(self.login, "", 0)

    def _name(self, name: str) -> str:
        return f"__Host-{name}" if self.secure else name

    def _cookie(self, name: str, value: str, seconds: int) -> Cookie:
        # Lax: a provider sends the browser back to us by a link from its own site.
        lax: Literal["lax"] = "lax"
        return Cookie(key=name, value=value, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite=lax)
