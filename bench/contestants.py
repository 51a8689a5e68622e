"""Who uploads: our store client and its peers, each with its defaults."""

import os
import sys
from pathlib import Path

from bench.harness import Contestant
from bench.servers import BUCKET, PEERS, REGION, Server

ROOT = Path(__file__).parents[1]
CLIENTS = ROOT / "bench/clients"
STORED = "**pinnace**, digests known"
DIGEST = "**pinnace**, digests taken"
IN_PARTS = "**pinnace**, digests taken, large files in parts"
#: Every file that can go in parts does: what a file costs whose first upload broke off.
_IN_PARTS = {"PINNACE_TUNING_WHOLE_BYTES": "0"}
# Without the Python script in front of it, which would be counted in.
S5CMD = next(iter(PEERS.parent.glob("lib/python3*/site-packages/s5cmd/bin/s5cmd")), PEERS / "s5cmd")


def our_environment(server: Server) -> dict[str, str]:
    """For a process of ours, which finds its packages as we do."""
    return {**server.environment(), "PYTHONPATH": os.pathsep.join(path for path in [str(ROOT), *sys.path] if path)}


def ours(server: Server, folder: Path, how: str, name: str = "", **extra: str) -> Contestant:
    """`how`: stored, digest or note (writes the digests that `stored` reads)."""
    command = [sys.executable, "-m", "bench.clients.pinnace_store", server.endpoint, BUCKET, f"ours-{how}", str(folder)]
    command += [how, str(server.key_folder), *([server.ca_file] if server.ca_file else [])]
    return Contestant(name=name, command=command, environment={**our_environment(server), **extra})


def peers(server: Server, folder: Path) -> list[Contestant]:
    """All of them, from the environment of their own."""
    python, key = str(PEERS / "python"), server.environment()
    trust = {"AWS_CA_BUNDLE": server.ca_file, "SSL_CERT_FILE": server.ca_file} if server.ca_file else {}
    environment = {**key, **trust}
    where = [server.endpoint, BUCKET]

    def script(name: str, file: str, **extra: str) -> Contestant:
        command = [python, str(CLIENTS / file), *where, file, str(folder)]
        return Contestant(name=name, command=command, environment={**environment, **extra})

    rclone = {
        "RCLONE_CONFIG_S_TYPE": "s3",
        "RCLONE_CONFIG_S_PROVIDER": "Other",
        "RCLONE_CONFIG_S_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_S_ENV_AUTH": "true",
        "RCLONE_CONFIG_S_REGION": REGION,
        **({"RCLONE_CA_CERT": server.ca_file} if server.ca_file else {}),
    }
    s5cmd = [str(S5CMD), "--endpoint-url", server.endpoint, "cp", f"{folder}/*", f"s3://{BUCKET}/s5cmd/"]
    return [
        script("minio-py", "minio_threads.py"),
        script("obstore", "obstore_async.py"),
        script("s3dlio", "s3dlio_upload.py", AWS_ENDPOINT_URL=server.endpoint),
        script("boto3", "boto3_managed.py"),
        script("boto3 + CRT", "boto3_crt.py"),
        Contestant(name="s5cmd", command=s5cmd, environment=environment),
        Contestant(
            name="rclone",
            command=[str(PEERS / "rclone"), "--config", os.devnull, "copy", str(folder), f"s:{BUCKET}/rclone"],
            environment={**environment, **rclone},
        ),
    ]


def everyone(server: Server, folder: Path) -> list[Contestant]:
    return [
        ours(server, folder, "stored", STORED),
        ours(server, folder, "digest", DIGEST),
        ours(server, folder, "digest", IN_PARTS, **_IN_PARTS),
        *peers(server, folder),
    ]
