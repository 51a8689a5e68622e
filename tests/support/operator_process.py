"""The operator as a process of its own, on a control plane of the tests'."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import urllib3

from support.api_process import ApiProcess
from support.control_plane import ControlPlane
from support.ports import free_port

#: Which lacks the client that the metadata API needs, and which kopf would import as well where it is there.
_AS_IN_ITS_IMAGE = (
    "import runpy, sys; sys.modules['kubernetes'] = None; runpy.run_module('pinnace_operator', run_name='__main__')"
)


class OperatorProcess:
    """`start` it; `stop` ends it and gives its exit code."""

    def __init__(self, folder: Path, plane: ControlPlane, api: ApiProcess, *, name: str, **settings: object) -> None:
        self.port = free_port()
        self._log = folder / f"operator-{name}.log"
        values = {
            "api_url": api.url,
            "api_token_file": api.environment["PINNACE_API_ADMIN_TOKEN_FILE"],
            "sidecar_image": "pinnace/sidecar:test",
            "health_port": self.port,
            "lease_namespace": "default",
            "identity": name,
            "poll_seconds": 1,
            **settings,
        }
        self._environment = {
            **{f"PINNACE_OPERATOR_{key.upper()}": str(value) for key, value in values.items()},
            "PINNACE_STORE_BUCKET": "experiments",
            "KUBECONFIG": str(plane.kubeconfig),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PATH": os.environ["PATH"],
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *arguments: str) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _AS_IN_ITS_IMAGE, *arguments],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, timeout: float = 60) -> int:
        """The exit code of one that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=timeout)

    def is_running(self) -> bool:
        assert self._process is not None
        return self._process.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Safe to call twice."""
        assert self._process is not None
        if self.is_running():
            self._process.send_signal(number)
        return self._process.wait(timeout=30)

    def metrics(self) -> dict[str, float]:
        """Each figure by its name with labels; none while it does not answer."""
        try:
            answer = urllib3.request("GET", f"http://127.0.0.1:{self.port}/metrics", retries=False, timeout=5)
        except urllib3.exceptions.HTTPError:
            return {}
        lines = [line.rsplit(" ", 1) for line in answer.data.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def is_leader(self) -> bool:
        return self.metrics().get("pinnace_operator_leader") == 1.0
