"""A real MinIO on 127.0.0.1 for the time of a test."""

import os
import secrets
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pinnace import signing
from pinnace.digests import EMPTY_SHA256
from pinnace.signing import Credentials
from support.eventually import eventually
from support.ports import free_port
from support.tools import tool


@dataclass(frozen=True, slots=True, kw_only=True)
class MinioServer:
    """Where it listens, and its administrator."""

    endpoint: str
    root_user: str
    root_password: str


@contextmanager
def minio_server(
    directory: Path, *, certificates: Path | None = None, port: int = 0, root_password: str = ""
) -> Iterator[MinioServer]:
    """Start MinIO with its data in `directory`; it is ended with the block.

    With `certificates`, a folder with `public.crt` and `private.key`, it speaks https. `port` and `root_password` are
    for one that is started again.
    """
    program = tool("minio")
    address = f"127.0.0.1:{port or free_port()}"
    scheme = "http" if certificates is None else "https"
    server = MinioServer(
        endpoint=f"{scheme}://{address}", root_user="root", root_password=root_password or secrets.token_urlsafe(24)
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "MINIO_ROOT_USER": server.root_user,
        "MINIO_ROOT_PASSWORD": server.root_password,
        # Without one it takes any region for its own.
        "MINIO_SITE_REGION": "us-east-1",
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    command = [program, "server", "--quiet", "--address", address, str(directory / "data")]
    command += ["--certs-dir", str(certificates or directory / "no-certificates")]
    with (
        (directory / "minio.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            eventually(
                lambda: _ready(server, certificates),
                timeout=30,
                interval=0.1,
                what=f"MinIO on {address} is ready",
            )
            yield server
        finally:
            process.terminate()
            process.wait(timeout=20)


def _ready(server: MinioServer, certificates: Path | None) -> bool:
    """Whether it lists its buckets: its own readiness probe says yes before it knows any user."""
    host = urlsplit(server.endpoint).netloc
    root = Credentials(access_key_id=server.root_user, secret_access_key=server.root_password)
    request = signing.Request(method="GET", host=host, path="/", payload_sha256=EMPTY_SHA256)
    headers = signing.sign(request, root, "us-east-1", datetime.now(UTC))
    trust = None if certificates is None else ssl.create_default_context(cafile=certificates / "public.crt")
    try:
        with urlopen(Request(server.endpoint, headers=headers), timeout=2, context=trust) as answer:
            return bool(answer.status == 200)
    except HTTPError as error:
        error.close()
        return False
    except (URLError, ConnectionError, TimeoutError):
        return False
