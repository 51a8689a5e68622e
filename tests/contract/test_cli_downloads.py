"""`pinnace get` and `pinnace models download` where the store is out of reach: the API hands out the bytes."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result

from pinnace import ids
from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.client import Client
from pinnace.records import Artifact, ExperimentWrite, IterationWrite, Location
from pinnace.settings import StoreSettings
from support.api_server import ADMIN_TOKEN, api_server
from support.environment import without_settings
from support.s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, s3_server
from support.samples import artifact
from support.store_content import compressed, stored_as

CONTENT = b"weights " * 100_000


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(params=[True, False], ids=["an API that has the store's key", "one that has not"])
def has_key(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def client(tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, has_key: bool) -> Iterator[Client]:
    without_settings(monkeypatch)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "AWS_ACCESS_KEY_ID").write_text(ACCESS_KEY)
    (keys / "AWS_SECRET_ACCESS_KEY").write_text(SECRET_KEY)
    store = StoreSettings(endpoint=s3.endpoint, region=REGION, bucket=s3.bucket, credentials_dir=str(keys))
    with api_server(tmp_path, store=store if has_key else None) as api, api.admin() as client:
        monkeypatch.setenv("PINNACE_API_URL", api.url)
        monkeypatch.setenv("PINNACE_API_TOKEN", ADMIN_TOKEN)
        yield client


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def row(client: Client, s3: S3Server, request: pytest.FixtureRequest) -> Artifact:
    """Recorded, and in the store."""
    experiment = uuid4()
    client.put_experiment(experiment, ExperimentWrite(project="vision", name="one"))
    iteration = ids.iteration_id(experiment, 0)
    client.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
    made = artifact(iteration, "model.bin", CONTENT)
    kept, stored = CONTENT, None
    if request.param:
        kept = compressed(CONTENT)
        stored = stored_as(kept)
    key = ids.object_key("", made.id, stored.sha256 if stored else "")
    location = Location(endpoint=s3.endpoint, region=REGION, bucket=s3.bucket, key=key)
    with s3.lock:
        s3._store(key, kept, None)
    made = msgspec.structs.replace(made, location=location, stored=stored)
    client.put_artifacts(iteration, [made])
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("has_key", [True], indirect=True)
def test_whoever_has_no_key_of_the_store_gets_the_bytes_from_the_api(row: Artifact, tmp_path: Path) -> None:
    got = run("get", str(row.id), "-o", str(tmp_path / "got"))
    assert got.exit_code == Exit.OK, got.output
    assert (tmp_path / "got").read_bytes() == CONTENT
    run("models", "register", "vision/tree", "one/0", "--artifact", "model.bin")
    downloaded = run("models", "download", "vision/tree", "-o", str(tmp_path / "all"))
    assert downloaded.exit_code == Exit.OK, downloaded.output
    assert (tmp_path / "all" / "model.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("has_key", [True], indirect=True)
def test_whoever_wants_to_goes_through_the_api(
    row: Artifact, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another-stores")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-stores")
    target = str(tmp_path / "got")
    assert run("get", str(row.id), "-o", target).exit_code == Exit.STORE
    got = run("get", str(row.id), "-o", target, "--through-api")
    assert got.exit_code == Exit.OK, got.output
    assert Path(target).read_bytes() == CONTENT


@pytest.mark.parametrize("has_key", [False], indirect=True)
def test_where_nobody_has_a_key_both_ways_are_said(row: Artifact, tmp_path: Path) -> None:
    got = run("get", str(row.id), "-o", str(tmp_path / "got"))
    assert got.exit_code == Exit.API, got.output
    assert "PINNACE_STORE_" in got.stderr
    assert "AWS_ACCESS_KEY_ID" in got.stderr
    assert not (tmp_path / "got").exists()
