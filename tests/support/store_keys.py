"""Keys of the installed MinIO beside the one that all share: made, and turned off, by a test."""

import base64
import secrets

from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from cluster import minio_setup
from cluster.installation import STORE_NAMESPACE, Installation
from cluster.kubectl import get


def make_key(installation: Installation, name: str) -> str:
    """Make the key `name` with the rights of a sidecar's; returns its secret."""
    user, password = _root()
    secret = secrets.token_urlsafe(30)
    minio_setup.ensure(
        endpoint=installation.store_url, root_user=user, root_password=password, bucket=installation.bucket,
        access_key=name, secret_key=secret,
    )  # fmt: skip
    return secret


def disable_key(installation: Installation, name: str) -> None:
    """MinIO refuses this key from now on."""
    host = installation.store_url.removeprefix("http://")
    MinioAdmin(endpoint=host, credentials=StaticProvider(*_root()), secure=False).user_disable(name)


def _root() -> tuple[str, str]:
    secret = get("secret", "minio-root", STORE_NAMESPACE)
    assert secret is not None
    user, password = (base64.b64decode(secret["data"][field]).decode() for field in ("user", "password"))
    return user, password
