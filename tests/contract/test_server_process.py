"""`pinnace server` as a person starts it, and how any API process ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3

from pinnace.client import Client
from pinnace.records import ExperimentWrite, IterationWrite
from pinnace.settings import ClientSettings
from support.api_process import ApiProcess
from support.api_server import ADMIN_TOKEN
from support.eventually import eventually

PASSWORD = "a-password-of-the-tests"


class HomeServer:
    """`pinnace server` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.data = home / "data" / "pinnace"
        self.log = home / "log"
        self.said = home / "said"
        self.environment = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - a child needs one
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CONFIG_HOME": str(home / "config"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log, self.said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pinnace", "server", "--port", "0"],
                env=self.environment,
                stdout=said,
                stderr=log,
            )
        eventually(lambda: self.url or self._process.poll() is not None, timeout=60, what="the server's start")  # type: ignore[union-attr]
        assert self.url, self.log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"Pinnace serves (\S+)", self.said.read_text())
        return found[1] if found else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(timeout=30)
        self._process = None
        return status

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of the same person."""
        return subprocess.run(
            [sys.executable, "-m", "pinnace", *arguments],
            env=self.environment | {"PINNACE_API_URL": self.url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[HomeServer]:
    server = HomeServer(tmp_path)
    yield server
    server.stop(signal.SIGKILL)


def test_from_nothing_to_a_file_that_survives_kill_9(home: HomeServer) -> None:
    home.start()
    token_file = home.data / "first-admin-token"
    assert str(token_file) in home.said.read_text()
    assert token_file.stat().st_mode & 0o777 == 0o600
    token = token_file.read_text().strip()
    made = home.run("users", "first-admin", "ada", "--setup-token-file", str(token_file), "--password", PASSWORD)
    assert (made.returncode, made.stdout) == (0, "logged in as ada\n"), made.stderr
    logged_in = urllib3.request(
        "POST", f"{home.url}/api/v1/session", json={"name": "ada", "password": PASSWORD}, retries=False
    )
    session = logged_in.json()["token"]
    iteration = uuid4()
    with Client(ClientSettings(api_url=home.url, api_token=session)) as client:
        experiment = client.put_experiment(uuid4(), ExperimentWrite(project="boats", name=str(uuid4())))
        client.put_iteration(iteration, IterationWrite(experiment_id=experiment.id))
    where = f"{home.url}/api/v1/iterations/{iteration}/files/model.bin"
    headers = {"authorization": f"Bearer {session}"}
    assert urllib3.request("PUT", where, body=b"weights" * 1000, headers=headers, retries=False).status == 201
    assert any(path.is_file() for path in (home.data / "artifacts").rglob("*"))

    home.stop(signal.SIGKILL)
    home.start()
    where = f"{home.url}/api/v1/iterations/{iteration}/files/model.bin"
    assert urllib3.request("GET", where, headers=headers, retries=False).data == b"weights" * 1000
    assert not token_file.exists()
    assert "first-admin" not in home.said.read_text()
    assert home.run("verify", "--data", str(home.data)).returncode == 0
    assert home.stop(signal.SIGINT) == 0, "Ctrl-C is an end as it was asked for"
    for secret in (token, session, PASSWORD):
        assert secret not in home.log.read_text() + home.said.read_text()
    assert home.data.stat().st_mode & 0o777 == 0o700


def test_the_configuration_is_shown_with_origins_and_nothing_is_made(home: HomeServer) -> None:
    config = Path(home.environment["XDG_CONFIG_HOME"]) / "pinnace" / "server.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[api]\ndatabase_url = "postgresql://me:hunter2@db/pinnace"\n')
    home.said.write_text("")
    shown = home.run("server", "--print-config", "--json", "--port", "9000")
    assert shown.returncode == 0, shown.stderr
    rows = {row["name"]: row for row in map(json.loads, shown.stdout.splitlines())}
    assert rows["PINNACE_API_PORT"] == {"name": "PINNACE_API_PORT", "value": "9000", "origin": "command line"}
    assert rows["PINNACE_API_DATABASE_URL"]["value"] == "postgresql://me:***@db/pinnace"
    assert rows["PINNACE_API_DATABASE_URL"]["origin"] == f"file {config}"
    assert not home.data.exists()


def test_an_address_in_use_is_a_sentence_and_exit_3(home: HomeServer) -> None:
    home.said.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = home.run("server", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 3
    assert done.stderr.startswith("can't listen at 127.0.0.1, port ")
    assert len(done.stderr.splitlines()) == 1


def test_what_is_kept_is_the_owners_alone_also_in_a_folder_that_was_there(home: HomeServer) -> None:
    home.data.mkdir(parents=True, mode=0o755)
    home.start()
    try:
        assert {path.stat().st_mode & 0o077 for path in home.data.rglob("*")} == {0}
    finally:
        assert home.stop() == 0


def test_a_file_that_is_no_database_is_a_sentence_and_exit_3(home: HomeServer) -> None:
    home.said.write_text("")
    home.data.mkdir(parents=True)
    (home.data / "pinnace.db").write_bytes(b"no database" * 999)
    done = home.run("server", "--port", "0")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "the database is damaged, or is none (restore a backup of it)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def process(folder: Path) -> Iterator[ApiProcess]:
    api = ApiProcess(
        folder,
        f"sqlite:///{folder}/api.db",
        artifacts_backend="filesystem",
        artifacts_dir=folder / "artifacts",
        grace_seconds=4,
        log_format="json",
    )
    api.start()
    api.wait_until_ready()
    yield api
    api.stop(signal.SIGKILL)


def iteration_of(api: ApiProcess) -> str:
    iteration = uuid4()
    with api.admin() as client:
        experiment = client.put_experiment(uuid4(), ExperimentWrite(project="boats", name=str(uuid4())))
        client.put_iteration(iteration, IterationWrite(experiment_id=experiment.id))
    return str(iteration)


def begun(api: ApiProcess, method: str, path: str, first: bytes, size: int, **headers: str) -> socket.socket:
    """A request whose body of `size` bytes has begun with `first`."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=30)
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n"
        f"content-length: {size}\r\n{extra}\r\n"
    )
    connection.sendall(head.encode() + first)
    return connection


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    with connection, connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = {}
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return status, headers, stream.read(int(headers.get("content-length", 0)))


def figures(api: ApiProcess) -> bytes:
    return urllib3.request("GET", f"{api.url}/metrics", retries=False).data


def test_sigterm_lets_a_request_end_and_tells_uploads_to_go_on_elsewhere(process: ApiProcess) -> None:
    iteration = iteration_of(process)
    upload = f"/api/v1/iterations/{iteration}/uploads/{uuid4()}"
    urllib3.request(
        "PUT",
        f"{process.url}{upload}",
        json={"path": "model.bin", "size": 10_000_000},
        headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        retries=False,
    )
    whole = begun(process, "PUT", f"/api/v1/iterations/{iteration}/files/a.bin", b"a" * 1000, 2000)
    endless = begun(process, "PUT", f"/api/v1/iterations/{iteration}/files/b.bin", b"b" * 1000, 2000)
    piece = begun(process, "PATCH", upload, b"c" * 1_500_000, 10_000_000, upload_offset="0")
    eventually(lambda: b"requests_under_way 4.0" in figures(process), timeout=30, what="all three are under way")
    process.ask_to_end()
    whole.sendall(b"a" * 1000)
    assert answer(whole)[0] == 201
    status, headers, body = answer(endless)
    assert (status, json.loads(body)["code"], headers["retry-after"]) == (503, "stopping", "1")
    status, headers, body = answer(piece)
    assert (status, json.loads(body)["code"], headers["upload-offset"]) == (503, "stopping", "1500000")
    assert process.wait() == 0

    process.start()
    process.wait_until_ready()
    rest = begun(process, "PATCH", upload, b"c" * 8_500_000, 8_500_000, upload_offset="1500000")
    status, _, body = answer(rest)
    assert (status, json.loads(body)["size"]) == (201, 10_000_000)


def test_a_request_is_found_by_its_id_in_answer_problem_and_log(process: ApiProcess) -> None:
    refused = urllib3.request(
        "GET", f"{process.url}/api/v1/projects/none", headers={"x-request-id": "mine.7"}, retries=False
    )
    assert refused.headers["x-request-id"] == refused.json()["request_id"] == "mine.7"
    made_up = urllib3.request(
        "GET", f"{process.url}/api/v1/projects/none", headers={"x-request-id": "no good\t" * 30}, retries=False
    )
    assert re.fullmatch("[0-9a-f]{32}", made_up.headers["x-request-id"])
    assert made_up.json()["request_id"] == made_up.headers["x-request-id"]

    def told() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in process.log.splitlines()]
        return [line for line in lines if line["event"] == "request.done" and line["path"] == "/api/v1/projects/none"]

    # The line comes when the answer has gone out.
    eventually(lambda: len(told()) == 2, timeout=10, what="both requests are in the log")
    done = told()
    assert [line["id"] for line in done] == ["mine.7", made_up.headers["x-request-id"]]
    assert done[0].items() >= {"method": "GET", "status": 401, "level": "info", "path": "/api/v1/projects/none"}.items()


def test_readiness_speaks_of_database_and_store_and_recovers(process: ApiProcess, folder: Path) -> None:
    def ready(query: str = "") -> urllib3.BaseHTTPResponse:
        return urllib3.request("GET", f"{process.url}/readyz{query}", retries=False, timeout=10)

    artifacts, aside = folder / "artifacts", folder / "aside"
    artifacts.mkdir(exist_ok=True)
    artifacts.rename(aside)
    artifacts.write_text("a file in the folder's place")
    no = ready()
    assert (no.status, no.json()["code"]) == (503, "not-ready")
    assert "store: " in no.json()["detail"]
    assert "database: " not in no.json()["detail"]
    assert ready("?only=database").status == 200
    assert ready("?only=moon").status == 422
    assert urllib3.request("GET", f"{process.url}/healthz", retries=False).status == 200
    assert str(folder) not in no.json()["detail"]
    artifacts.unlink()
    aside.rename(artifacts)
    assert ready().status == 200


def test_figures_tell_routes_bytes_and_connections(process: ApiProcess) -> None:
    iteration = iteration_of(process)
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    where = f"{process.url}/api/v1/iterations/{iteration}/files/model.bin"
    route = 'route="/api/v1/iterations/{iteration_id}/files/{path}"'
    wanted = {
        f'pinnace_api_received_bytes_total{{method="PUT",{route}}}': 12_345,
        f'pinnace_api_sent_bytes_total{{method="GET",{route}}}': 12_345,
        f'pinnace_api_requests_total{{method="PUT",{route},status="201"}}': 1,
        f'pinnace_api_request_seconds_count{{method="GET",{route}}}': 1,
    }
    before = by_name(figures(process))
    urllib3.request("PUT", where, body=b"x" * 12_345, headers=headers, retries=False)
    urllib3.request("GET", where, headers=headers, retries=False)
    after = by_name(figures(process))
    assert {name: after.get(name, 0) - before.get(name, 0) for name in wanted} == wanted
    assert after["pinnace_api_database_connections_limit"] == 40
    assert after['pinnace_api_database_connections{state="idle"}'] >= 1
    assert after["pinnace_api_requests_under_way"] == 1, "the one that asks"
    assert iteration not in str(after)


def by_name(text: bytes) -> dict[str, float]:
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
