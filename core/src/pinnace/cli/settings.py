"""What the command line takes from the environment, and what its options override."""

import os
from pathlib import Path

import msgspec

from pinnace.records import Location
from pinnace.settings import CLIENT_PREFIX, STORE_PREFIX, ClientSettings, StoreSettings, load, load_store


def config_folder() -> Path:
    """Where this user's files of ours are."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pinnace"


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


def store_settings(location: Location, *, endpoint: str | None) -> StoreSettings:
    """How to reach the bucket of `location`: PINNACE_STORE_…, but bucket and region as they were recorded.

    The endpoint is the option's, else PINNACE_STORE_ENDPOINT, else the recorded one, which may be a name inside a
    cluster. Raises SettingsError.
    """
    environ = {**os.environ, f"{STORE_PREFIX}BUCKET": location.bucket}
    if location.region:
        environ[f"{STORE_PREFIX}REGION"] = location.region
    environ[f"{STORE_PREFIX}ENDPOINT"] = endpoint or environ.get(f"{STORE_PREFIX}ENDPOINT") or location.endpoint
    return load_store(environ)
