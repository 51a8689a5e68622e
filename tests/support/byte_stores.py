"""The places for bytes that the API knows, each empty and on a real server of its kind."""

import secrets
from datetime import UTC, datetime
from pathlib import Path

from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.pool import ConnectionPool
from pinnace.stores.s3_bucket import Bucket, Call, endpoint_of
from pinnace_api.storage import backend
from pinnace_api.storage.backend import BLOCK_BYTES, ByteStore, Written
from support.minio_server import MinioServer


def minio_bucket(server: MinioServer, folder: Path, prefix: str = "") -> StoreSettings:
    """The settings of a new bucket, with the credentials in a folder of their own."""
    made = StoreSettings(endpoint=server.endpoint, bucket=f"test-{secrets.token_hex(6)}")
    credentials = Credentials(access_key_id=server.root_user, secret_access_key=server.root_password)
    connections = ConnectionPool(endpoint_of(made))
    Bucket(made, StaticCredentials(credentials), connections, lambda: datetime.now(UTC)).call(Call(method="PUT"))
    connections.close()
    keys = folder / f"keys-{made.bucket}"
    keys.mkdir()
    (keys / "AWS_ACCESS_KEY_ID").write_text(server.root_user)
    (keys / "AWS_SECRET_ACCESS_KEY").write_text(server.root_password)
    return StoreSettings(endpoint=made.endpoint, bucket=made.bucket, credentials_dir=str(keys), prefix=prefix)


def write(store: ByteStore, content: bytes, *, block: int = BLOCK_BYTES) -> Written:
    """`content` in blocks."""
    return backend.write(store, (content[at : at + block] for at in range(0, len(content), block)), len(content))


def read(store: ByteStore, written: Written) -> bytes:
    """Everything, as somebody who downloads it reads it."""
    content = bytearray()
    while block := store.read(written.location, len(content), store.block_bytes):
        content += block
    return bytes(content)
