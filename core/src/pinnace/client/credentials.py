"""The sessions that `pinnace login` keeps: one for each API, in a file that only its owner can read."""

import json
import os
import tempfile
from pathlib import Path

import msgspec

from pinnace.client.settings import config_folder
from pinnace.errors import PinnaceError
from pinnace.settings import ClientSettings


def remembered(api_url: str) -> str:
    """The token for this API; empty without one. Raises PinnaceError when others can read the file."""
    return _read().get(api_url.rstrip("/"), "")


def with_login(settings: ClientSettings) -> ClientSettings:
    """`settings`, and where they hold no token, the one that `pinnace login` keeps. Raises PinnaceError."""
    if settings.api_token or settings.api_token_file:
        return settings
    return msgspec.structs.replace(settings, api_token=remembered(settings.api_url))


def remember(api_url: str, token: str) -> None:
    _write({**_read(), api_url.rstrip("/"): token})


def forget(api_url: str) -> None:
    _write({url: token for url, token in _read().items() if url != api_url.rstrip("/")})


def _file() -> Path:
    return config_folder() / "credentials.json"


def _read() -> dict[str, str]:
    file = _file()
    try:
        with file.open(encoding="utf-8") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise PinnaceError(f"others can read {file}", hint=f"chmod 600 {file}, and log in anew")
            content = json.load(opened)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PinnaceError(f"{file} can't be read", hint="delete it and log in") from error
    return {str(url): str(token) for url, token in content.items()} if isinstance(content, dict) else {}


def _write(tokens: dict[str, str]) -> None:
    """Whole or not at all, and never readable by others, not for a moment."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".credentials")  # mkstemp: 0600 from the beginning
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(tokens, opened)
            opened.flush()
            os.fsync(opened.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
