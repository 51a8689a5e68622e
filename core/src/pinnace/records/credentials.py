"""What the API gives a pod to reach its store with."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from pinnace.records.record import Record


class StoreCredentialsQuery(Record, frozen=True, kw_only=True):
    """POST /iterations/{id}/credentials"""

    #: The name of the ArtifactStore.
    store: Annotated[str, Meta(min_length=1, max_length=253)]


class StoreCredentials(Record, frozen=True, kw_only=True):
    """They end by themselves. Printing them shows the key's id only."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime
    #: The same as a span from now on, for those whose clock is wrong.
    expires_in_seconds: float

    def __repr__(self) -> str:
        return f"StoreCredentials(access_key_id={self.access_key_id!r}, expires_at={self.expires_at!r}, …)"
