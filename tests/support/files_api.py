"""A running API that keeps bytes, with one iteration, and requests as curl makes them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3
from sqlalchemy import select, update

from pinnace import ids
from pinnace.records import Artifact, Backend, ExperimentWrite, IterationWrite
from pinnace.settings import StoreSettings
from pinnace_api.app import database_of
from pinnace_api.database import Database
from pinnace_api.settings import ApiSettings
from pinnace_api.storage.backend import BLOCK_BYTES
from pinnace_api.storage.storage import Storage, storage_of
from pinnace_api.storage.tables import INLINE_BLOCKS
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server


@dataclass
class FilesApi:
    """`url` is below /api/v1."""

    api: ApiServer
    iteration: UUID
    server: S3Server
    root: Path
    token: str = ADMIN_TOKEN
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @property
    def settings(self) -> ApiSettings:
        return self.api.settings

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        sent = {"authorization": f"Bearer {self.token}", **(headers or {})}
        return self.pool.request(
            method, f"{self.api.url}/api/v1{path}", body=body, headers=sent, redirect=False, **options
        )

    def file(self, path: str) -> str:
        return f"/iterations/{self.iteration}/files/{quote(path, safe='/')}"

    def put(self, path: str, body: Any, **headers: str) -> Artifact:
        answer = self.request("PUT", self.file(path), body, {name.replace("_", "-"): headers[name] for name in headers})
        assert answer.status in (200, 201), answer.data
        return msgspec.json.decode(answer.data, type=Artifact)

    def get(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return self.request("GET", self.file(path), None, {name.replace("_", "-"): headers[name] for name in headers})

    def restart(self, **settings: Any) -> None:
        """With some settings changed."""
        self.api.stop()
        self.api.settings = msgspec.structs.replace(self.api.settings, **settings)
        self.api.start()

    @contextmanager
    def storage(self) -> Iterator[tuple[Database, Storage]]:
        """The database and the places for bytes, as a command opens them beside the server."""
        database = database_of(self.settings)
        storage = storage_of(self.settings, database)
        try:
            yield database, storage
        finally:
            storage.close()
            database.close()

    def damage(self, row: Artifact, at: int) -> None:
        """Flip a bit of one byte where it lies."""
        key = row.location.key
        match row.location.backend:
            case Backend.FILESYSTEM:
                path = self.root / key
                path.write_bytes(_flipped(path.read_bytes(), at))
            case Backend.S3:
                stored = self.server.objects[key]
                self.server.objects[key] = replace(stored, body=_flipped(stored.body, at))
            case _:
                number, at = divmod(at, BLOCK_BYTES)
                block = INLINE_BLOCKS.c.key == key, INLINE_BLOCKS.c.number == number
                with self.storage() as (database, _), database.engine.begin() as connection:
                    data = connection.execute(select(INLINE_BLOCKS.c.data).where(*block)).scalar_one()
                    connection.execute(update(INLINE_BLOCKS).where(*block).values(data=_flipped(data, at)))


@contextmanager
def files_api_at(request: pytest.FixtureRequest, folder: Path) -> Iterator[FilesApi]:
    """For a fixture whose parameters are a kind of database and a place for bytes."""
    kind, backend = request.param
    url = (
        request.getfixturevalue("postgres").create_database() if kind == "postgresql" else f"sqlite:///{folder}/api.db"
    )
    with files_api(folder, url, backend) as made:
        yield made


@contextmanager
def files_api(
    folder: Path, database_url: str, backend: Backend = Backend.INLINE, **settings: Any
) -> Iterator[FilesApi]:
    """All three places are configured; new bytes go to `backend`."""
    keys = folder / "keys"
    keys.mkdir()
    (keys / "AWS_ACCESS_KEY_ID").write_text(ACCESS_KEY)
    (keys / "AWS_SECRET_ACCESS_KEY").write_text(SECRET_KEY)
    with ExitStack() as stack:
        server = stack.enter_context(S3Server())
        store = StoreSettings(endpoint=server.endpoint, bucket=server.bucket, prefix="runs", credentials_dir=str(keys))
        given = {
            "artifacts_backend": backend.value,
            "artifacts_dir": str(folder / "artifacts"),
            "store": store,
            **settings,
        }
        api = stack.enter_context(api_server(folder, database_url=database_url, **given))
        experiment = uuid4()
        iteration = ids.iteration_id(experiment, 0)
        admin = stack.enter_context(api.admin())
        admin.put_experiment(experiment, ExperimentWrite(project="p", name=f"e-{experiment}", namespace="ml"))
        admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        made = FilesApi(api, iteration, server, folder / "artifacts")
        stack.callback(made.pool.clear)
        yield made


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
