"""The HTTP proxy on the way to a store: whether there is one for a host, and who we are to it."""

import ipaddress
import os
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from pinnace.settings import StoreSettings
from pinnace.stores.store import StoreRefused

#: In the folder of credentials: `user:password` for the proxy.
PROXY_FILE: Final = "PROXY_CREDENTIALS"

_DEFAULT_PORT: Final = 80
_MAX_CREDENTIALS: Final = 64 * 2**10


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """Where it listens. `user` gives `user:password` at each connection, empty without one: it may be renewed."""

    host: str
    port: int
    user: Callable[[], str] = str

    def headers(self) -> dict[str, str]:
        """What it is to be told with each request that it reads."""
        user = self.user()
        return {"proxy-authorization": f"Basic {b64encode(user.encode()).decode()}"} if user else {}

    def __str__(self) -> str:
        return f"the proxy {self.host}:{self.port}"


def proxy_for(settings: StoreSettings, host: str, port: int) -> Proxy | None:
    """The proxy on the way to `host`; None for a direct way."""
    if not settings.proxy or is_direct(settings.no_proxy, host, port):
        return None
    parts = urlsplit(settings.proxy)
    assert parts.hostname is not None  # settings checked it
    given = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if "@" in parts.netloc else ""
    file = Path(settings.credentials_dir) / PROXY_FILE if settings.credentials_dir else None
    return Proxy(host=parts.hostname, port=parts.port or _DEFAULT_PORT, user=lambda: given or _user_in(file))


def is_direct(no_proxy: Iterable[str], host: str, port: int) -> bool:
    """Whether one of the entries stands for `host` (a name or an address) at `port`."""
    host = host.lower().rstrip(".")
    return any(_stands_for(entry.strip().lower(), host, port) for text in no_proxy for entry in text.split(","))


def _stands_for(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, entry_port = _split_port(entry)
    if not name or entry_port not in (None, port):
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
    below = name.removeprefix("*")
    return host.endswith(below) if below.startswith(".") else host == below or host.endswith(f".{below}")


def _split_port(entry: str) -> tuple[str, int | None]:
    """`host:port`, `[address]:port`, or either without a port. An address of IPv6 may stand bare."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        text = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, text = entry.partition(":")
    else:
        name, text = entry, ""
    return name.rstrip("."), int(text) if text.isascii() and text.isdecimal() else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _user_in(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StoreRefused(
            f"who we are to the proxy can't be read: {error}", code="ProxyRefused", hint=f"make {file} readable"
        ) from error
    try:
        return os.read(descriptor, _MAX_CREDENTIALS).decode(errors="replace").strip()
    finally:
        os.close(descriptor)
