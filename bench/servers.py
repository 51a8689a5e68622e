"""What is sent to: the null server, MinIO and SeaweedFS, each on 127.0.0.1 for the time of a block."""

import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from bench.harness import Failed
from bench.waiting import eventually
from pinnace import signing
from pinnace.digests import EMPTY_SHA256
from pinnace.signing import Credentials
from pinnace.stores.credentials import KEY_ID_FILE, SECRET_FILE

BUCKET = "bench"
REGION = "us-east-1"
_NULL_SERVER = Path(__file__).with_name("null_server")
PEERS = Path(__file__).parents[1] / ".venv-bench/bin"


class Missing(Exception):
    """A program that the benchmark needs is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A store to send to, and the key that may. `counts`: see null_server/main.go; None for others. `drop` makes room
    for what comes; None where it is overwritten.
    """

    name: str
    endpoint: str
    key: Credentials
    #: The key as a pod's sidecar reads it: a mounted Secret.
    key_folder: Path
    ca_file: str = ""
    counts: Callable[[], dict[str, int]] | None = None
    drop: Callable[[], object] | None = None

    def environment(self) -> dict[str, str]:
        """The key as every client reads it."""
        return {
            "AWS_ACCESS_KEY_ID": self.key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.key.secret_access_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def forget(self) -> None:
        """Drop what was sent, where it would not be overwritten."""
        if self.drop is not None:
            self.drop()

    def check(self, files: int, size: int) -> None:
        """Raise Failed unless that much arrived. The real stores answer for it themselves."""
        if self.counts is not None:
            found = self.counts()
            if (found["Objects"], found["ObjectBytes"]) != (files, size):
                raise Failed(f"{found['Objects']} objects of {found['ObjectBytes']} bytes arrived")


def _new_key(scratch: Path) -> tuple[Credentials, Path]:
    """A key, and a folder with it."""
    key = Credentials(access_key_id=secrets.token_hex(10), secret_access_key=secrets.token_hex(20))
    folder = scratch / f"key-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / KEY_ID_FILE).write_text(key.access_key_id)
    (folder / SECRET_FILE).write_text(key.secret_access_key)
    return key, folder


@cache
def _null_program(folder: Path) -> Path:
    if shutil.which("go") is None:
        raise Missing("Go, which builds the null server, is not on the PATH: install Go 1.24 or newer")
    program = folder / "nullserver"
    environment = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=_NULL_SERVER, env=environment, check=True)
    return program


@contextmanager
def null_server(scratch: Path, *, certificates: Path | None = None) -> Iterator[Server]:
    """Without TLS, or with the `public.crt` and `private.key` of `certificates`."""
    key, key_folder = _new_key(scratch)
    command = [str(_null_program(scratch)), "127.0.0.1:0"]
    if certificates is not None:
        command += [str(certificates / "public.crt"), str(certificates / "private.key")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            scheme = "http" if certificates is None else "https"
            endpoint = f"{scheme}://127.0.0.1:{port}"

            def counts() -> dict[str, int]:
                with urlopen(f"{endpoint}/-/counts") as answer:
                    return dict(json.load(answer))

            def drop() -> None:
                urlopen(Request(f"{endpoint}/-/forget", method="POST")).close()

            yield Server(
                name="null server" if certificates is None else "null server, TLS",
                endpoint=endpoint,
                key=key,
                key_folder=key_folder,
                ca_file="" if certificates is None else str(certificates / "public.crt"),
                counts=counts if certificates is None else None,
                drop=drop if certificates is None else None,
            )
        finally:
            process.kill()


@contextmanager
def minio(scratch: Path) -> Iterator[Server]:
    """The project's own MinIO, with its data below `scratch`; gone at the end."""
    program = os.environ.get("PINNACE_MINIO") or shutil.which("minio") or ""
    if not program:
        raise Missing("MinIO is missing: set PINNACE_MINIO to what `python3 -m cluster minio-binary` prints")
    folder, (key, key_folder) = scratch / "minio", _new_key(scratch)
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "MINIO_ROOT_USER": key.access_key_id,
        "MINIO_ROOT_PASSWORD": key.secret_access_key,
        "MINIO_SITE_REGION": REGION,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    command = [program, "server", "--quiet", "--address", address, str(folder / "data")]
    with _running(command, folder, environment):
        yield _with_bucket(Server(name="MinIO", endpoint=f"http://{address}", key=key, key_folder=key_folder))
    shutil.rmtree(folder)


@contextmanager
def seaweedfs(scratch: Path) -> Iterator[Server]:
    """SeaweedFS from PyPI, all its parts in one process."""
    folder, (key, key_folder) = scratch / "seaweedfs", _new_key(scratch)
    (folder / "data").mkdir(parents=True)
    identity = {
        "name": "bench",
        "credentials": [{"accessKey": key.access_key_id, "secretKey": key.secret_access_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: _port_with_grpc() for name in ("master", "volume", "filer", "s3")}
    command = [str(PEERS / "weed"), "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-dir={folder / 'data'}", f"-master.port={ports['master']}", f"-volume.port={ports['volume']}"]
    command += [f"-filer.port={ports['filer']}", "-master.volumeSizeLimitMB=1024", "-volume.max=60", "-filer", "-s3"]
    command += [f"-s3.port={ports['s3']}", f"-s3.port.iceberg={free_port()}", f"-s3.port.lance={free_port()}"]
    command += [f"-s3.config={folder / 's3.json'}"]
    with _running(command, folder, {"PATH": os.environ["PATH"], "HOME": str(folder)}):
        endpoint = f"http://127.0.0.1:{ports['s3']}"
        # It keeps what is overwritten until it gets round to it, which fills the disk. A bucket is one collection.
        collection = f"http://127.0.0.1:{ports['master']}/col/delete?collection={BUCKET}"

        def drop() -> None:
            try:
                urlopen(Request(collection, method="POST")).close()
            except HTTPError as error:  # nothing in it
                error.close()

        yield _with_bucket(Server(name="SeaweedFS", endpoint=endpoint, key=key, key_folder=key_folder, drop=drop))
    shutil.rmtree(folder)
    # It has its sockets here, and leaves them when it is killed.
    for port in (number for low in ports.values() for number in (low, low + 10_000)):
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink()


@contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def _with_bucket(server: Server) -> Server:
    """Make the bucket as soon as the server listens to us."""

    def made() -> bool:
        request = signing.Request(
            method="PUT", host=server.endpoint.partition("//")[2], path=f"/{BUCKET}", payload_sha256=EMPTY_SHA256
        )
        headers = signing.sign(request, server.key, REGION, datetime.now(UTC))
        try:
            with urlopen(Request(f"{server.endpoint}/{BUCKET}", headers=headers, method="PUT"), timeout=5) as answer:
                return bool(answer.status == 200)
        except HTTPError as error:
            error.close()
            return error.code == 409
        except (URLError, ConnectionError, TimeoutError):
            return False

    eventually(made, timeout=60, what=f"{server.name} makes a bucket")
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port_with_grpc() -> int:
    """SeaweedFS takes the port 10,000 above each of its ports too."""
    while True:
        port = 20_000 + secrets.randbelow(20_000)
        try:
            with socket.socket() as one, socket.socket() as other:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
                return port
        except OSError:
            continue
