"""The real sidecar as a process of this machine, for one pod that a test makes up."""

import copy
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import msgspec

from pinnace.records import PodReport
from pinnace.settings import SIDECAR_PREFIX, STORE_PREFIX, SidecarSettings, StoreSettings, dump
from support.eventually import eventually


class SidecarProcess:
    """`start`, `end_writers` (SIGTERM), `kill` (SIGKILL); started again it finds its folders as they were left."""

    def __init__(
        self, folder: Path, *, iteration_id: UUID, pod_uid: str, store: StoreSettings, api_url: str, token: str
    ) -> None:
        self.folder = folder
        self.volume = folder / "volume"
        self.volume.mkdir(parents=True)
        (folder / "buffer").mkdir()
        (folder / "token").write_text(token)
        self.store = store
        self.settings = SidecarSettings(
            iteration_id=iteration_id,
            pod_uid=pod_uid,
            artifacts_dir=str(self.volume),
            buffer_dir=str(folder / "buffer"),
            buffer_limit_bytes=2**30,
            settle_seconds=0.3,
            drain_timeout_seconds=60,
            termination_message=str(folder / "last-words.json"),
            api_url=api_url,
            api_token_file=str(folder / "token"),
            health_port=0,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._log_name = "log"

    def start(self, *arguments: str, **extra: str) -> None:
        """Begin; returns when it serves or has ended. `extra` goes into its environment."""
        self.begin(*arguments, **extra)
        eventually(lambda: '"serving"' in self.log() or not self.running, timeout=20, what="the sidecar serves")

    def begin(self, *arguments: str, **extra: str) -> None:
        """As `start`, without waiting for anything."""
        self._starts += 1
        environment = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            **dump(self.settings, SIDECAR_PREFIX),
            **dump(self.store, STORE_PREFIX),
            "PINNACE_TUNING_MULTIPART_BYTES": str(5 * 2**20),
            "PINNACE_TUNING_PART_BYTES": str(5 * 2**20),
            # Everything that can go in parts does.
            "PINNACE_TUNING_WHOLE_BYTES": "0",
            **extra,
        }
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pinnace_sidecar", *arguments], env=environment, stdout=log, stderr=log
            )

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self._log_name}-{self._starts}.jsonl"

    def twin(self) -> "SidecarProcess":
        """Another sidecar of the same pod and folders, as one that should have ended leaves behind."""
        twin = copy.copy(self)
        twin._process, twin._starts, twin._log_name = None, 0, "twin"
        return twin

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def blocks_sigterm(self) -> bool:
        """Whether SIGTERM would wait until it is asked for."""
        (line,) = re.findall(r"SigBlk:\s*([0-9a-f]+)", Path(f"/proc/{self.pid}/status").read_text())
        return bool(int(line, 16) & (1 << (signal.SIGTERM - 1)))

    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end_writers(self) -> None:
        """Tell it that the training containers have ended, as the kubelet does."""
        self._send(signal.SIGTERM)

    def strike(self) -> None:
        """SIGKILL, without waiting for the end."""
        self._send(signal.SIGKILL)

    def kill(self) -> None:
        self.strike()
        self.wait()

    def wait(self, timeout: float = 60) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(timeout)

    def last_words(self) -> PodReport:
        return msgspec.json.decode(Path(self.settings.termination_message).read_bytes(), type=PodReport)

    def close(self) -> None:
        """End it if it is still there."""
        if self.running:
            self.kill()

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
