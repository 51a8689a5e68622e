"""The real sidecar and the real API as processes, for one pod: what the whole path from a file to its row costs."""

import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from bench.contestants import our_environment
from bench.harness import TIMEOUT_S, Cost, Failed
from bench.servers import BUCKET, Server, free_port
from bench.waiting import eventually
from pinnace.client import Client
from pinnace.ids import iteration_id
from pinnace.records import ExperimentWrite, IterationWrite, PodReport
from pinnace.settings import SIDECAR_PREFIX, STORE_PREFIX, ClientSettings, SidecarSettings, StoreSettings, dump

_LAUNCHER = Path(__file__).with_name("launcher.py")
#: A file counts as complete after this long without a change; the time is part of every figure.
SETTLE_S = 0.3


@dataclass(slots=True, kw_only=True)
class Pod:
    """A volume beside a sidecar that serves it."""

    folder: Path
    process: int
    launcher: "subprocess.Popen[bytes]"

    @property
    def volume(self) -> Path:
        return self.folder / "volume"

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def written(self) -> int:
        """Bytes that it has given to its disk so far."""
        lines = Path(f"/proc/{self.process}/io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("write_bytes:")).split()[1])

    def resident_kib(self) -> int:
        """Memory in use now."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])

    def recorded(self) -> int:
        """Rows that the API has committed."""
        with closing(sqlite3.connect(f"file:{self.folder / 'api.db'}?mode=ro", uri=True)) as database:
            ((count,),) = database.execute("SELECT count(*) FROM artifacts").fetchall()
            return int(count)

    def wait_for_rows(self, count: int) -> None:
        eventually(lambda: self.recorded() >= count, timeout=TIMEOUT_S, what=f"{count} rows", interval=0.02)

    def end(self) -> Cost:
        """SIGTERM; the cost of the whole life. Raises Failed unless everything is recorded."""
        os.kill(self.process, signal.SIGTERM)
        self.launcher.wait()
        report = msgspec.json.decode((self.folder / "last-words.json").read_bytes(), type=PodReport)
        if not report.final:
            raise Failed(f"the sidecar ended with {report.problems}")
        return msgspec.json.decode((self.folder / "cost.json").read_bytes(), type=Cost)


@contextmanager
def pod(scratch: Path, server: Server, **tuning: str) -> Iterator[Pod]:
    """A new pod with a new API; all of it is gone at the end. `tuning` goes into the sidecar's environment."""
    folder = scratch / f"pod-{secrets.token_hex(4)}"
    (folder / "volume").mkdir(parents=True)
    (folder / "buffer").mkdir()
    try:
        with _api(folder, server) as (url, token_file):
            settings = SidecarSettings(
                iteration_id=_iteration(url, token_file.read_text()),
                pod_uid="bench",
                artifacts_dir=str(folder / "volume"),
                buffer_dir=str(folder / "buffer"),
                settle_seconds=SETTLE_S,
                termination_message=str(folder / "last-words.json"),
                api_url=url,
                api_token_file=str(token_file),
                health_port=0,
            )
            with _sidecar(folder, settings, server, tuning) as serving:
                yield serving
    finally:
        shutil.rmtree(folder)


@contextmanager
def _api(folder: Path, server: Server) -> Iterator[tuple[str, Path]]:
    token_file, port = folder / "token", free_port()
    token_file.write_text(secrets.token_hex(20))
    environment = {
        **our_environment(server),
        "PATH": os.environ["PATH"],
        "PINNACE_API_DATABASE_URL": f"sqlite:///{folder / 'api.db'}",
        "PINNACE_API_HOST": "127.0.0.1",
        "PINNACE_API_PORT": str(port),
        "PINNACE_API_ADMIN_TOKEN_FILE": str(token_file),
    }
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "pinnace_api"], env=environment, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}", token_file
        finally:
            process.kill()
            process.wait()


def _iteration(url: str, token: str) -> UUID:
    experiment = uuid4()
    iteration = iteration_id(experiment, 0)
    with Client(ClientSettings(api_url=url, api_token=token)) as client:

        def made() -> bool:
            try:
                client.put_experiment(experiment, ExperimentWrite(project="bench", name="bench"))
            except Exception:  # noqa: BLE001 - not there yet; the time-out tells when it never comes
                return False
            return True

        eventually(made, timeout=30, what="the API answers")
        client.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
    return iteration


@contextmanager
def _sidecar(folder: Path, settings: SidecarSettings, server: Server, tuning: Mapping[str, str]) -> Iterator[Pod]:
    store = StoreSettings(
        endpoint=server.endpoint,
        bucket=BUCKET,
        prefix="runs",
        ca_file=server.ca_file,
        credentials_dir=str(server.key_folder),
    )
    environment = {
        **our_environment(server),
        "PATH": os.environ["PATH"],
        **dump(settings, SIDECAR_PREFIX),
        **dump(store, STORE_PREFIX),
        **tuning,
    }
    result, log_file = folder / "cost.json", folder / "sidecar.log"
    command = [sys.executable, "-I", "-S", str(_LAUNCHER), str(result), str(TIMEOUT_S)]
    with log_file.open("wb") as log:
        launcher = subprocess.Popen(
            [*command, sys.executable, "-m", "pinnace_sidecar"], env=environment, stdout=log, stderr=log
        )
        try:
            eventually(lambda: '"serving"' in log_file.read_text(), timeout=20, what="the sidecar serves")
            process = int(Path(f"{result}.pid").read_text())
            yield Pod(folder=folder, process=process, launcher=launcher)
        finally:
            if launcher.poll() is None:
                os.kill(int(Path(f"{result}.pid").read_text()), signal.SIGKILL)
            launcher.wait()
