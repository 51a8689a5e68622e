"""`python -m pinnace_api`: wrong settings end in a sentence, SIGTERM ends in peace."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
import urllib3
from litestar.testing import TestClient

from pinnace_api.app import create_app, database_of
from pinnace_api.identity import NoKubernetes
from pinnace_api.settings import ApiSettings
from support.eventually import eventually
from support.ports import free_port

#: A child needs a PATH, and to know where the packages are when they aren't installed; nothing else of ours.
SURROUNDINGS = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # noqa: TID251
USAGE = "usage: python -m pinnace_api [OPTIONS | server … | openapi | db copy … | artifacts …]\n"


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pinnace_api", *arguments],
        env={**SURROUNDINGS, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PINNACE_API_PORT", "many"),
        ("PINNACE_API_ADMIN_TOKEN_FILE", "/no/such/file"),
        ("PINNACE_API_DATABASE_URL", "sqlite:////no/such/folder/api.db"),
        ("PINNACE_API_KUBERNETES", "true"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_2(name: str, value: str, tmp_path: Path) -> None:
    done = run(**{"HOME": str(tmp_path), name: value})
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_argument_is_exit_2() -> None:
    done = run("serve")
    assert (done.returncode, done.stderr) == (2, USAGE)


def test_it_serves_until_sigterm_and_keeps_tokens_out_of_the_log(tmp_path: Path) -> None:
    token = "a-token-that-is-nowhere-in-the-log"
    (tmp_path / "token").write_text(token)
    port = free_port()
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "pinnace_api"],
            env={
                **SURROUNDINGS,
                "PINNACE_API_DATABASE_URL": f"sqlite:///{tmp_path}/api.db",
                "PINNACE_API_ADMIN_TOKEN_FILE": str(tmp_path / "token"),
                "PINNACE_API_HOST": "127.0.0.1",
                "PINNACE_API_PORT": str(port),
            },
            stderr=file,
        )
    pool = urllib3.PoolManager(retries=False)
    try:
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            try:
                return bool(pool.request("GET", f"{url}/readyz").status == 200)
            except urllib3.exceptions.HTTPError:
                return False

        eventually(ready, timeout=30, what="the API's start")
        headers = {"authorization": f"Bearer {token}", "x-request-id": "r-1"}
        assert pool.request("GET", f"{url}/api/v1/projects?after={token}", headers=headers).status == 422
        assert pool.request("GET", f"{url}/api/v1/projects", headers=headers).status == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
        server.wait()
        pool.clear()
    lines = log.read_text().splitlines()
    done = [line for line in lines if " request.done " in line]
    assert len(done) == 2, lines
    assert "path=/api/v1/projects status=200" in done[1]
    assert "caller=admin id=r-1" in done[1]
    assert token not in log.read_text()


def test_a_database_that_was_brought_up_to_date_before_is_not_touched_again_at_the_start(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-sixteen-letters")
    settings = ApiSettings(database_url=f"sqlite:///{tmp_path}/api.db", admin_token_file=str(token))
    database = database_of(settings)
    with TestClient(create_app(settings, reviewer=NoKubernetes(), database=database)) as client:
        assert client.get("/readyz").status_code == 200
    assert sqlalchemy.inspect(database.engine).get_table_names() == []
