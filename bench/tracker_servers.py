"""Tracking servers on 127.0.0.1 for the time of a block, each as its documentation starts it first.

Either each on an SQLite file of its own, or all on one PostgreSQL server, each in a database of its own.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

from bench.contestants import ROOT
from bench.servers import PEERS, free_port
from bench.trackers import PROJECT, Connect, MLflow, Pinnace
from bench.waiting import eventually
from pinnace.client import Client
from pinnace.records import Member, MemberKind, ProjectRole, Scope, TokenWrite, UserWrite
from pinnace.settings import ClientSettings
from support.postgres_server import postgres_server

OURS = "**pinnace**"
#: How the peer does best when one asks after the other: one process that answers, none that waits for jobs.
ALONE = "MLflow, 1 worker, no jobs"
_NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingServer:
    name: str
    #: The process that was started; others may be below it.
    process: int
    connect: Connect


class Databases(Enum):
    """What the servers keep their rows in, by what the names of the tables end with."""

    SQLITE = ""
    POSTGRESQL = "-postgresql"


@contextmanager
def everyone(scratch: Path, *, quick: bool, on: Databases = Databases.SQLITE) -> Iterator[list[TrackingServer]]:
    """All of them at once: who isn't asked does next to nothing. `quick`: without those that take long to start."""
    with ExitStack() as stack:
        database: Callable[[Path], str] = _file
        if on is Databases.POSTGRESQL:
            server = stack.enter_context(postgres_server(durable=True))
            database = lambda _: server.create_database()  # noqa: E731 - as the one above
        servers = [stack.enter_context(_ours(scratch / "pinnace", database))]
        if not quick:
            servers.append(stack.enter_context(_mlflow(scratch / "mlflow", database, "MLflow")))
        alone = _mlflow(scratch / "mlflow-alone", database, ALONE, "--workers=1", **_NO_JOBS)
        servers.append(stack.enter_context(alone))
        yield servers


def _file(folder: Path) -> str:
    return f"sqlite:///{folder / 'tracker.db'}"


@contextmanager
def _ours(folder: Path, database: Callable[[Path], str]) -> Iterator[TrackingServer]:
    folder.mkdir()
    store = database(folder)
    token_file, port = folder / "token", free_port()
    token_file.write_text(secrets.token_hex(20))
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in [str(ROOT), *sys.path] if path),
        "PINNACE_API_ADMIN_TOKEN_FILE": str(token_file),
        "PINNACE_API_PORT": str(port),
        "PINNACE_API_DATABASE_URL": store.replace("postgresql:", "postgresql+psycopg:"),
    }
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "pinnace_api", "--data", str(folder)]
    with _running(command, folder, environment, f"{url}/readyz") as process:
        token = _personal_token(url, token_file.read_text())
        yield TrackingServer(name=OURS, process=process, connect=lambda: Pinnace(url, token, store))


@contextmanager
def _mlflow(
    folder: Path, database: Callable[[Path], str], name: str, *options: str, **environment: str
) -> Iterator[TrackingServer]:
    folder.mkdir()
    store, port = database(folder), free_port()
    command = [str(PEERS / "mlflow"), "server", f"--backend-store-uri={store}"]
    command += [f"--artifacts-destination={folder / 'artifacts'}", "--host=127.0.0.1", f"--port={port}", *options]
    url = f"http://127.0.0.1:{port}"
    # The peers' own Python, for the processes that it starts by name.
    here = {"PATH": f"{PEERS}:{os.environ['PATH']}", **environment}
    with _running(command, folder, here, f"{url}/health") as process:
        yield TrackingServer(name=name, process=process, connect=lambda: MLflow(url, store))


@contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str], healthy: str) -> Iterator[int]:
    """A group of processes of its own, so that none of them outlives the block, and neither does the folder."""
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, env=surroundings, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
        try:
            eventually(lambda: _answers(healthy), timeout=300, what=f"{healthy} answers", interval=0.2)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _personal_token(url: str, admin_token: str) -> str:
    """What a person's programs come with."""
    password = secrets.token_hex(16)
    with Client(ClientSettings(api_url=url, api_token=admin_token)) as admin:
        admin.put_project(PROJECT)
        admin.put_user("bench", UserWrite(password=password))
        admin.put_member(PROJECT, Member(kind=MemberKind.USER, name="bench", role=ProjectRole.EDITOR))
        session = admin.log_in("bench", password)
    with Client(ClientSettings(api_url=url, api_token=session.token)) as person:
        return person.put_token(uuid4(), TokenWrite(name="bench", scope=Scope.WRITE)).token
