"""What every answer tells a browser not to do with it: guess its type, frame it, run anything in it, pass it on."""

from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_OVER_TLS: Final = (b"strict-transport-security", b"max-age=31536000")


def hardened(app: ASGIApp, *, tls: bool) -> ASGIApp:
    """`app` with the headers on each answer that does not set its own. `tls`: whether the outside sees only https."""
    wanted = (*_ALWAYS, _OVER_TLS) if tls else _ALWAYS

    async def harden(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = [*given, *(header for header in wanted if header[0] not in names)]
            await send(message)

        await app(scope, receive, send_hardened if scope["type"] == ScopeType.HTTP else send)

    return harden
