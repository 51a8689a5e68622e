"""Which of the places holds which bytes: the row says where old ones lie, the settings where new ones go."""

from pathlib import Path

from pinnace.records import Backend, Location
from pinnace.stores.credentials import credentials_for
from pinnace_api.database import Database
from pinnace_api.refusals import StorageUnknown
from pinnace_api.settings import ApiSettings
from pinnace_api.storage.backend import ByteStore
from pinnace_api.storage.filesystem import FilesystemStore
from pinnace_api.storage.inline import InlineStore
from pinnace_api.storage.s3 import S3ByteStore


class Storage:
    """All places that are configured. Safe to use from several threads."""

    def __init__(self, stores: dict[Backend, ByteStore], new: Backend) -> None:
        self._stores = stores
        self._new = new

    @property
    def new(self) -> ByteStore:
        """Where new bytes go."""
        return self._stores[self._new]

    @property
    def stores(self) -> tuple[ByteStore, ...]:
        return tuple(self._stores.values())

    def named(self, name: Backend) -> ByteStore | None:
        """None when it isn't configured."""
        return self._stores.get(name)

    def of(self, location: Location) -> ByteStore:
        """What holds the bytes at `location`. Raises StorageUnknown."""
        store = self._stores.get(location.backend)
        if store is None:
            raise StorageUnknown(location)
        return store

    def check(self) -> None:
        """Raise Unavailable unless new bytes can go where they are meant to."""
        self.new.check()

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


def storage_of(settings: ApiSettings, database: Database) -> Storage:
    """What the settings name; nothing is opened yet."""
    stores: dict[Backend, ByteStore] = {Backend.INLINE: InlineStore(database)}
    if settings.artifacts_dir:
        stores[Backend.FILESYSTEM] = FilesystemStore(Path(settings.artifacts_dir))
    if settings.store is not None:
        stores[Backend.S3] = S3ByteStore(
            settings.store, credentials_for(settings.store), endpoints=settings.store_endpoints
        )
    return Storage(stores, Backend(settings.artifacts_backend))
