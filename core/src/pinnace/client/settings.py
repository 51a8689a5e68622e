"""What calls of the API take from the environment, and where this user's files of ours are."""

import os
from pathlib import Path

import msgspec

from pinnace.settings import CLIENT_PREFIX, ClientSettings, load


def config_folder() -> Path:
    """Where this user's files of ours are."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pinnace"


def is_configured(api_url: str | None) -> bool:
    """Whether an API is named, by the option or by PINNACE_API_URL, and not only assumed."""
    return bool(api_url or os.environ.get(f"{CLIENT_PREFIX}API_URL"))


def client_settings(
    *, api_url: str | None, token_file: str | None, token: str = "", known: bool = True
) -> ClientSettings:
    """PINNACE_API_…, with the options that were given in place of theirs. Raises SettingsError.

    `token` in place of any other; `known=False`: without a token.
    """
    environ = {**os.environ}
    if api_url:
        environ[f"{CLIENT_PREFIX}API_URL"] = api_url
    if token_file:
        environ[f"{CLIENT_PREFIX}API_TOKEN_FILE"] = token_file
        environ.pop(f"{CLIENT_PREFIX}API_TOKEN", None)
    settings = load(ClientSettings, environ, CLIENT_PREFIX)
    if token or not known:
        return msgspec.structs.replace(settings, api_token=token, api_token_file="")
    return settings
