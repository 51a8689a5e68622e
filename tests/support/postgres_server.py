"""A real PostgreSQL on 127.0.0.1 for the time of a test.

    with postgres_server() as server:
        url = server.create_database()

It refuses to run as root, so as root it runs as another user, in a folder of its own that is removed at the end. A test
run that is killed takes it along.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from support.eventually import eventually
from support.ports import free_port
from support.tools import tool

#: Debian's package brings the first one along; every machine has the second.
_USERS = ("postgres", "nobody")
#: What a test can't see, and what it waits for.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer:
    """One server; `start` it before use. Its port stays the same over restarts."""

    def __init__(self, folder: Path, *, durable: bool = False, **parameters: str) -> None:
        self.folder = folder
        self._binary = Path(tool("postgres")).resolve()
        self._port = free_port()
        self._parameters = {"max_connections": "200", **({} if durable else _FAST), **parameters}
        self._process: subprocess.Popen[bytes] | None = None
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir()
        if os.geteuid() == 0:
            os.chown(data, *_owner())
        command = [str(self._binary.with_name("initdb")), "--pgdata", str(data), "--username=pinnace", "--auth=trust"]
        # A locale in which every word of ours would be sorted otherwise, were it not for its collation.
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run([*_unprivileged(), *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://pinnace@127.0.0.1:{self._port}/{database}"

    def create_database(self, *, options: str = "") -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def execute(self, statement: str) -> None:
        """One statement as the administrator, outside of a transaction."""
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            **self._parameters,
        }
        command = [str(self._binary), "-D", str(self.folder / "data")]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_unprivileged(), *command], cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )
        eventually(self._answers, timeout=30, what=f"PostgreSQL answers: {self.log[-2000:]}")

    def stop(self, number: int = signal.SIGINT) -> None:
        """Safe to call twice. SIGINT cuts connections and shuts down in order; SIGQUIT and SIGKILL are crashes."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(timeout=30)
        self._process = None

    def restart(self, number: int = signal.SIGINT) -> None:
        self.stop(number)
        self.start()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with suppress(OperationalError):
            self.execute("SELECT 1")
            return True
        return False


@contextmanager
def postgres_server(*, durable: bool = False, **parameters: str) -> Iterator[PostgresServer]:
    """A running server, `durable` as in production; stopped, and its folder removed, at the end."""
    # Not below pytest's folders, which only root can enter.
    folder = Path(tempfile.mkdtemp(prefix="pinnace-postgres-", dir=None if durable else _memory()))
    try:
        server = PostgresServer(folder, durable=durable, **parameters)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)


def _memory() -> Path | None:
    """Where files are never written to a disk, whose removal alone would take half a minute; None when it is small."""
    place = Path("/dev/shm")
    return place if place.is_dir() and shutil.disk_usage(place).free > 4 * 2**30 else None


def _owner() -> tuple[int, int]:
    for name in _USERS:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise AssertionError(f"there is none of the users {', '.join(_USERS)} to run PostgreSQL as")


def _unprivileged() -> list[str]:
    """What runs a command as somebody who is not root, and ends it when we end."""
    words = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() == 0:
        uid, gid = _owner()
        words += [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    return [*words, "--"]
