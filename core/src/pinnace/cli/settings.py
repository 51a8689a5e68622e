"""What the command line takes from the environment, and what its options override."""

import os

from pinnace.records import Location
from pinnace.settings import STORE_PREFIX, StoreSettings, load_store


def names_store(endpoint: str | None) -> bool:
    """Whether somebody says where the store is: this option, or PINNACE_STORE_ENDPOINT."""
    return bool(endpoint or os.environ.get(f"{STORE_PREFIX}ENDPOINT"))


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
