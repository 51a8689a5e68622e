"""Where the command line reads artifacts' bytes from: the store that they lie in, or the API."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pinnace.cli.settings import names_store, store_settings
from pinnace.client import ApiError, Client
from pinnace.compression import Sink
from pinnace.records import Artifact, Backend, Location
from pinnace.stores.credentials import NoneFound, credentials_for
from pinnace.stores.retrieval import retrieve
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import StoreUnreachable


class Sources:
    """One connection per store, for as long as its `with` block lasts.

    What the API keeps itself comes from there, and so does everything with `through_api`, or where nothing here says
    how to reach the store: no `endpoint`, no credentials.
    """

    def __init__(self, client: Client, *, endpoint: str | None, through_api: bool) -> None:
        self._client = client
        self._endpoint = endpoint
        self._through_api = through_api
        self._stores: dict[Location, S3Store | NoneFound] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def retrieve(
        self,
        artifact: Artifact,
        target: Path,
        *,
        replace: bool,
        advanced: Callable[[int], None] = lambda _: None,
    ) -> None:
        """As pinnace.stores.retrieval.retrieve. Raises ApiError and SettingsError, too."""
        store = self._store(artifact.location)
        if isinstance(store, S3Store):
            try:
                retrieve(store, artifact, target, replace=replace, advanced=advanced)
            except StoreUnreachable as error:
                error.hint = _either(error.hint, "--through-api asks the API for the bytes")
                raise
            return
        # The API unpacks what lies compressed.
        plain = msgspec.structs.replace(artifact, stored=None)
        try:
            retrieve(_ApiBytes(self._client, plain), plain, target, replace=replace, advanced=advanced)
        except ApiError as error:
            error.hint = _either(error.hint, store.hint if store else "")
            raise

    def _store(self, location: Location) -> S3Store | NoneFound | None:
        """None, or what is missing for it: the API is asked."""
        if self._through_api or location.backend is not Backend.S3:
            return None
        where = msgspec.structs.replace(location, key="any")
        if where not in self._stores:
            self._stores[where] = self._open(location)
        return self._stores[where]

    def _open(self, location: Location) -> S3Store | NoneFound:
        settings = store_settings(location, endpoint=self._endpoint)
        credentials = credentials_for(settings)
        try:
            credentials.current()
        except NoneFound as missing:
            if names_store(self._endpoint):
                raise
            return missing
        return self._stack.enter_context(closing(S3Store(settings, credentials)))


class _ApiBytes:
    """The bytes of one artifact, from the API."""

    def __init__(self, client: Client, artifact: Artifact) -> None:
        self._client = client
        self._artifact = artifact

    def get(self, key: str, sink: Sink, *, start: int = 0) -> None:
        """As a store. Raises ApiError."""
        del key
        self._client.download(self._artifact, lambda block: sink.write(memoryview(block)), start=start)


def _either(hint: str, other: str) -> str:
    return "; or ".join(filter(None, (hint, other)))
