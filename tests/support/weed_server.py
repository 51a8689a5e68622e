"""A real SeaweedFS on 127.0.0.1 for the time of a test."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from support.eventually import eventually
from support.ports import GRPC_OFFSET, free_ports
from support.tools import tool


@dataclass(frozen=True, slots=True, kw_only=True)
class WeedServer:
    """Where it listens, and its administrator."""

    endpoint: str
    access_key: str
    secret_key: str


@contextmanager
def weed_server(directory: Path) -> Iterator[WeedServer]:
    """Start SeaweedFS with its data in `directory`; it is ended with the block."""
    program = tool("weed")
    master, volume, filer, s3, iceberg, lance = free_ports(6)
    server = WeedServer(endpoint=f"http://127.0.0.1:{s3}", access_key="AKADMIN", secret_key=secrets.token_hex(16))
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    identity = {"name": "admin", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    (directory / "data").mkdir()
    command = [
        program, "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={directory / 'data'}",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-master.volumeSizeLimitMB=64",
        "-volume.max=60", "-filer", "-s3", f"-s3.port={s3}", f"-s3.port.iceberg={iceberg}", f"-s3.port.lance={lance}",
        f"-s3.config={config}",
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    with (
        (directory / "weed.log").open("w") as log,
        subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            eventually(lambda: _ready(server), timeout=60, interval=0.2, what="SeaweedFS is ready")
            yield server
        finally:
            # It takes seconds to end when asked to, and its data is thrown away.
            process.kill()
            process.wait()
            _remove_sockets(master, volume, filer, s3)


def _remove_sockets(*ports: int) -> None:
    """Remove what it leaves when it is killed; it has no setting for where."""
    for port in ports:
        for number in (port, port + GRPC_OFFSET):
            for left in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                left.unlink()


def _ready(server: WeedServer) -> bool:
    try:
        with urlopen(f"{server.endpoint}/status", timeout=2) as answer:
            return bool(answer.status == 200)
    except HTTPError as error:
        error.close()
        return True
    except (URLError, ConnectionError, TimeoutError):
        return False
