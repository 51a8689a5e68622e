"""The metadata API as a process of its own: `python -m pinnace_api`, as a pod runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from pinnace.client import Client
from pinnace.settings import ClientSettings
from support.api_server import ADMIN_TOKEN
from support.eventually import eventually
from support.ports import free_port


class ApiProcess:
    """One replica; `start` it, then wait until it is `ready`. `url` stays the same over restarts."""

    def __init__(self, folder: Path, database_url: str, **settings: Any) -> None:
        self.port = free_port()
        token_file = folder / "admin-token"
        token_file.write_text(ADMIN_TOKEN)
        self._log = folder / f"log-{self.port}"
        values = {
            "database_url": database_url,
            "host": "127.0.0.1",
            "port": self.port,
            "admin_token_file": token_file,
            **settings,
        }
        self.environment = {f"PINNACE_API_{name.upper()}": str(value) for name, value in values.items()}
        # Where the packages are, when they aren't installed.
        self.environment |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def status(self) -> str:
        """What the kernel says of the process."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/status").read_text()

    def start(self) -> None:
        """Returns at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pinnace_api"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> int:
        """The exit code of one that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    def is_ready(self) -> bool:
        """Whether it answers, and the database too."""
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return bool(urllib3.request("GET", f"{self.url}/readyz", retries=False, timeout=5).status == 200)
        except urllib3.exceptions.HTTPError:
            return False

    def wait_until_ready(self) -> None:
        eventually(self.is_ready, timeout=60, interval=0.1, what="the API is ready")

    def ask_to_end(self) -> None:
        """SIGTERM; `wait` for the end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Safe to call twice."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None

    def admin(self, **options: Any) -> Client:
        return Client(ClientSettings(api_url=self.url, api_token=ADMIN_TOKEN), **options)


@contextmanager
def api_processes(folder: Path, database_url: str, number: int, **settings: Any) -> Iterator[list[ApiProcess]]:
    """So many replicas on one database, started at the same moment; ended at the end."""
    replicas = [ApiProcess(folder, database_url, **settings) for _ in range(number)]
    try:
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.wait_until_ready()
        yield replicas
    finally:
        for replica in replicas:
            replica.stop(signal.SIGKILL)
