"""`pinnace models` against the real API."""

import json
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
from pinnace.naming import MANIFEST_NAME
from pinnace.records import Artifact, ExperimentWrite, IterationWrite, Location
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.environment import without_settings
from support.s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server, s3_server
from support.samples import artifact


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def client(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    without_settings(monkeypatch)
    monkeypatch.setenv("PINNACE_API_URL", api.url)
    monkeypatch.setenv("PINNACE_API_TOKEN", ADMIN_TOKEN)
    with api.admin() as client:
        yield client


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def name(client: Client) -> str:
    """Of a project and of its experiment, which has one iteration."""
    name, experiment = f"n{uuid4().hex[:12]}", uuid4()
    client.put_experiment(experiment, ExperimentWrite(project=name, name=name))
    client.put_iteration(ids.iteration_id(experiment, 0), IterationWrite(experiment_id=experiment, index=0))
    return name


def run(*arguments: str, ends: Exit = Exit.OK) -> Result:
    result = CliRunner().invoke(main, ["models", *arguments])
    assert result.exit_code == ends, result.output
    return result


def test_a_model_is_registered_promoted_called_and_listed(client: Client, name: str) -> None:
    model = f"{name}/tree"
    (iteration,) = client.iterations(next(client.experiments(name=name)).id)
    contents = [artifact(iteration.id, "model.bin", content) for content in (b"1", b"2")]
    for each in contents:
        client.put_artifacts(iteration.id, [each])
    for path in ([], ["--artifact", "model.bin", "--stage", "staging", "--description", "a"]):
        made = json.loads(run("register", model, f"{name}/0", *path, "--json").stdout)
    assert (made["number"], made["stage"], made["artifact_id"]) == (2, "STAGING", str(contents[1].id))
    run("register", model, f"{name}/0", "--artifact", "none.bin", ends=Exit.NOT_FOUND)
    assert "PRODUCTION" in run("promote", f"{model}@2", "--comment", "better").stdout
    run("promote", f"{model}@1")
    assert [each.comment for each in client.model_transitions(name, "tree")][-2] == "better"
    run("alias", f"{model}@production", "best")
    run("alias", model, "best", "--expected", "2", ends=Exit.API)
    called = json.loads(run("alias", model, "best", "--expected", "1", "--json").stdout)
    assert (called["number"], called["aliases"]) == (2, ["best"])
    run("alias", f"{model}@best", "other", "--expected", "0")
    rows = [json.loads(line) for line in run("show", model, "--json").stdout.splitlines()]
    assert [(each["number"], each["stage"], each["aliases"]) for each in rows] == [
        (2, "ARCHIVED", ["best", "other"]),
        (1, "PRODUCTION", []),
    ]
    assert f"{model}\t2\t1\tbest=2 other=2" in run("--project", name).stdout
    run("unalias", model, "best")
    run("promote", f"{model}@best", ends=Exit.NOT_FOUND)
    run("promote", "tree", ends=Exit.USAGE)


def test_a_file_or_a_whole_set_is_downloaded(
    client: Client, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3Server
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)

    def put(path: str, content: bytes) -> Artifact:
        made = artifact(iteration.id, path, content)
        location = Location(endpoint=s3.endpoint, region=REGION, bucket="bucket", key=made.location.key)
        with s3.lock:
            s3._store(location.key, content, made.crc32c)
        return msgspec.structs.replace(made, location=location)

    (iteration,) = client.iterations(next(client.experiments(name=name)).id)
    files = [put("best/model.bin", b"m"), put("best/w/0", b"w")]
    manifest = put(f"best/{MANIFEST_NAME}", b"{}")
    client.put_artifacts(iteration.id, [*files, manifest], {manifest.id: [each.id for each in files]})
    listed = CliRunner().invoke(main, ["artifacts", f"{name}/0", "--sets", "--json"])
    (set_,) = map(json.loads, listed.stdout.splitlines())
    assert (set_["manifest"]["id"], set_["files"], set_["bytes"]) == (str(manifest.id), 2, 2)
    model = f"{name}/tree"
    run("register", model, f"{name}/0")
    run("download", model, ends=Exit.NOT_FOUND)
    run("register", model, f"{name}/0", "--artifact", "best/model.bin")
    run("register", model, f"{name}/0", "--artifact", f"best/{MANIFEST_NAME}")
    run("download", f"{model}@2", "-o", str(tmp_path / "one"))
    assert (tmp_path / "one" / "model.bin").read_bytes() == b"m"
    told = run("download", model, "-o", str(tmp_path / "all"), "--json").stdout.splitlines()
    assert {json.loads(line)["sha256"] for line in told} == {each.sha256 for each in files}
    assert {str(each.relative_to(tmp_path)) for each in (tmp_path / "all").rglob("*") if each.is_file()} == {
        "all/model.bin",
        "all/w/0",
    }
    assert (tmp_path / "all" / "w" / "0").read_bytes() == b"w"
    run("download", model, "-o", str(tmp_path / "all"), ends=Exit.FILE)
    run("download", model, "-o", str(tmp_path / "all"), "--force")


def test_what_lies_in_no_store_comes_from_the_api(client: Client, name: str, tmp_path: Path) -> None:
    (iteration,) = client.iterations(next(client.experiments(name=name)).id)
    kept = []
    for path, content in (("model.bin", b"weights" * 100_000), ("empty", b"")):
        (tmp_path / path).write_bytes(content)
        with (tmp_path / path).open("rb") as file:
            kept.append(client.put_file(iteration.id, path, file, size=len(content)))
    run("register", f"{name}/tree", f"{name}/0", "--artifact", "model.bin")
    run("download", f"{name}/tree", "-o", str(tmp_path / "all"))
    assert (tmp_path / "all" / "model.bin").read_bytes() == b"weights" * 100_000
    for each in kept:
        got = CliRunner().invoke(main, ["get", str(each.id), "-o", str(tmp_path / "got"), "--force"])
        assert (got.exit_code, (tmp_path / "got").stat().st_size) == (Exit.OK, each.size), got.output
