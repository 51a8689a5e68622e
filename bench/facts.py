"""What the figures were taken with: the kind of machine and the versions, no names of hosts and no paths."""

import os
import platform
import re
import ssl
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.contestants import S5CMD
from bench.servers import PEERS

#: Packages of the peers' environment by what is compared.
_PYTHON_PEERS = {
    "uploads": ("minio", "obstore", "s3dlio", "boto3", "s3transfer", "awscrt"),
    "api": ("mlflow", "uvicorn", "sqlalchemy"),
}


def facts(subject: str, *, rounds: int, quick: bool, load: float) -> dict[str, str]:
    """Name → value, in the order in which they are shown. `load` as it was before anything was measured."""
    command = {"uploads": "make bench", "api": "make bench-api", "operator": "make bench-operator"}[subject]
    names = _PYTHON_PEERS.get(subject)
    peers = [*(_python_peers(names) if names else ()), *(_programs() if subject == "uploads" else ())]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"{command}{'-quick' if quick else ''}, {rounds} rounds",
        "machine": f"{os.cpu_count()} x {_processor()}, {_memory_gib()} GiB, Linux {platform.release().split('-')[0]}",
        "load before": f"{load:.2f} runnable processes in the last minute, on {os.cpu_count()} cores",
        "Python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        **({"peers": ", ".join(peers)} if peers else {}),
    }


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _python_peers(names: Sequence[str]) -> list[str]:
    script = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    versions = _says([str(PEERS / "python"), "-c", script, *names]).split()
    return [f"{name} {number}" for name, number in zip(names, versions, strict=True)]


def _programs() -> list[str]:
    said = {
        "s5cmd": _says([str(S5CMD), "version"]),
        "rclone": _says([str(PEERS / "rclone"), "version"]),
        "SeaweedFS": _says([str(PEERS / "weed"), "version"]),
    }
    return [f"{name} {_number(text)}" for name, text in said.items()]


def _number(text: str) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found[0] if found else "?"


def _says(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
