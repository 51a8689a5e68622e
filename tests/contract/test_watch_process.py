"""`pinnace watch` as a person starts it: a real process, a real MinIO, a real API, and a token of no admin."""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from cluster import minio_setup
from pinnace.client import Client
from pinnace.records import (
    ExperimentWrite,
    FileState,
    IterationPatch,
    IterationState,
    IterationWrite,
    PodReport,
    UserWrite,
)
from pinnace.settings import STORE_PREFIX, StoreSettings, dump
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.s3 import S3Store
from support.accounts import Accounts
from support.api_server import ApiServer, api_server
from support.eventually import eventually
from support.minio_server import minio_server

USER = "ada"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shore:
    """What is there besides the watch: the store, the API, and a user's client."""

    #: None: there is no store, and the API keeps the files.
    objects: S3Store | None
    settings: dict[str, str]
    api: ApiServer
    client: Client
    token: str

    def environment(self, home: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],  # noqa: TID251 - a child needs one
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "HOME": str(home),
            "PINNACE_API_URL": self.api.url,
            "PINNACE_API_TOKEN": self.token,
            **self.settings,
        }


@pytest.fixture(scope="module", params=["store", "api"])
def shore(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shore]:
    folder = tmp_path_factory.mktemp("shore")
    with api_server(folder) as api:
        api.admin().put_user(USER, UserWrite(password="a password of the tests"))
        accounts = Accounts(api)
        token = accounts.session(USER).secret
        with api.client(token) as client:
            if request.param == "api":
                yield Shore(objects=None, settings={}, api=api, client=client, token=token)
            else:
                with minio_bucket(folder) as (objects, settings):
                    yield Shore(objects=objects, settings=settings, api=api, client=client, token=token)
        accounts.close()


@contextmanager
def minio_bucket(folder: Path) -> Iterator[tuple[S3Store, dict[str, str]]]:
    keys = folder / "keys"
    keys.mkdir()
    secret = secrets.token_urlsafe(30)
    (keys / "AWS_ACCESS_KEY_ID").write_text("watch")
    (keys / "AWS_SECRET_ACCESS_KEY").write_text(secret)
    with minio_server(folder) as minio:
        minio_setup.ensure(
            endpoint=minio.endpoint,
            root_user=minio.root_user,
            root_password=minio.root_password,
            bucket="runs",
            access_key="watch",
            secret_key=secret,
        )
        store = StoreSettings(endpoint=minio.endpoint, bucket="runs", credentials_dir=str(keys))
        objects = S3Store(store, StaticCredentials(Credentials(access_key_id="watch", secret_access_key=secret)))
        yield objects, dump(store, STORE_PREFIX)
        objects.close()


class Watch:
    """`pinnace watch` of one folder; started again it finds its buffer as it was left."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.folder = home / "run"
        self.folder.mkdir()
        self.environment = environment
        self.said = home / "said"
        self.summary = home / "summary"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, **extra: str) -> None:
        self.run(*options, **extra)
        eventually(lambda: self.iteration is not None or not self.running, timeout=30, what="the watch begins")
        assert self.running, self.said.read_text()

    def run(self, *options: str, **extra: str) -> None:
        arguments = [str(self.folder), "--project", "boats", "--settle", "0.3", "--json", *options]
        if "--experiment" not in options:
            arguments += ["--experiment", "first"]
        with self.said.open("wb") as said, self.summary.open("wb") as summary:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pinnace", "watch", *arguments],
                env=self.environment | extra,
                stdout=summary,
                stderr=said,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def iteration(self) -> UUID | None:
        found = re.search(r"as iteration (\S+) of", self.said.read_text())
        return UUID(found[1]) if found else None

    def end(self, number: int = signal.SIGINT) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(timeout=60)

    def report(self) -> PodReport:
        return msgspec.json.decode(self.summary.read_bytes(), type=PodReport)


@pytest.fixture
def watch(shore: Shore, tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path, shore.environment(tmp_path))
    yield made
    if made.running:
        made.end(signal.SIGKILL)


def recorded(shore: Shore, iteration: UUID) -> dict[str, str]:
    """SHA-256 by path, as the API has it and as the store's bytes are; each path once."""
    rows = list(shore.client.iteration_artifacts(iteration))
    assert len({row.path for row in rows}) == len(rows)
    for row in rows:
        content = Content()
        if shore.objects is None:
            shore.client.get_bytes(row.id, content.data.extend)
        else:
            shore.objects.get(row.location.key, content)
        assert sha256(content.data).hexdigest() == row.sha256
        assert not row.suspect
    return {row.path: row.sha256 for row in rows}


class Content:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: memoryview, /) -> None:
        self.data += data


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_everything_is_recorded_and_the_iteration_ends_with_ctrl_c(shore: Shore, watch: Watch) -> None:
    (watch.folder / "before.txt").write_text("was there before")
    watch.start()
    iteration = watch.iteration
    assert iteration is not None
    assert shore.client.iteration(iteration).state is IterationState.RUNNING
    (watch.folder / "models").mkdir()
    (watch.folder / "models" / "a.bin").write_bytes(os.urandom(3_000_000))
    (watch.folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    (watch.folder / "left.tmp").write_text("not complete by its name")
    eventually(lambda: recorded(shore, iteration).get("models/a.bin"), timeout=30, what="a row while it watches")
    (watch.folder / "last.txt").write_text("written just before the end")
    assert watch.end() == 0, watch.said.read_text()
    wanted = digests(watch.folder)
    del wanted["left.tmp"]
    assert recorded(shore, iteration) == wanted
    assert [point.value for point in shore.client.metrics(iteration, key="loss")] == [0.5, 0.25]
    assert shore.client.iteration(iteration).state is IterationState.SUCCEEDED
    report = watch.report()
    assert (report.final, report.pending, report.metric_points) == (True, 0, 2)
    assert report.files[FileState.RECORDED] == 4
    assert list((watch.home / ".local" / "state" / "pinnace" / "watch").glob("*/watch.json")) == []

    watch.start()
    assert watch.iteration != iteration, "what has ended is not gone on with"
    assert watch.end(signal.SIGTERM) == 0


def test_a_set_is_recorded_with_the_contents_that_its_manifest_names(shore: Shore, watch: Watch) -> None:
    folder = watch.folder / "ckpt"
    folder.mkdir()
    (folder / "weights").write_bytes(os.urandom(300_000))
    (folder / "optimizer").write_bytes(os.urandom(1000))
    named = [{"path": "weights"}, {"path": "optimizer"}]
    (folder / "pinnace-manifest.json").write_bytes(msgspec.json.encode({"version": 1, "files": named}))
    watch.start()
    iteration = watch.iteration
    assert iteration is not None
    assert watch.end() == 0, watch.said.read_text()
    assert recorded(shore, iteration) == digests(watch.folder)
    (made,) = shore.client.artifact_sets(iteration)
    assert (made.manifest.path, made.files) == ("ckpt/pinnace-manifest.json", 2)


def test_kill_9_in_the_middle_loses_and_doubles_nothing(shore: Shore, watch: Watch) -> None:
    for number in range(40):
        (watch.folder / f"{number:02}.bin").write_bytes(os.urandom(200_000))
    # It dies between the store's word and the journal's, then once in the middle of whatever it does.
    watch.start(PINNACE_CRASH_AT="object-sent:5")
    iteration = watch.iteration
    assert iteration is not None
    assert watch.wait() == 137
    watch.start()
    assert watch.iteration == iteration
    (watch.folder / "late.bin").write_bytes(os.urandom(20_000_000))
    eventually(lambda: recorded(shore, iteration), timeout=30, what="first rows")
    watch.end(signal.SIGKILL)
    watch.start()
    assert watch.iteration == iteration
    assert watch.end() == 0, watch.said.read_text()
    assert recorded(shore, iteration) == digests(watch.folder)
    if shore.objects is not None:
        assert list(shore.objects.list_multiparts("")) == []
    same = [
        row for row in shore.client.iterations(shore.client.iteration(iteration).experiment_id) if row.id == iteration
    ]
    assert [row.state for row in same] == [IterationState.SUCCEEDED]


def test_an_iteration_that_is_given_stays_its_owners(shore: Shore, watch: Watch) -> None:
    experiment = shore.client.put_experiment(uuid4(), ExperimentWrite(project="boats", name="theirs"))
    given = uuid4()
    shore.client.put_iteration(given, IterationWrite(experiment_id=experiment.id, state=IterationState.RUNNING))
    (watch.folder / "a.txt").write_text("a")
    watch.start("--experiment", "theirs", "--iteration", str(given))
    assert watch.iteration == given
    assert watch.end() == 0, watch.said.read_text()
    assert recorded(shore, given) == digests(watch.folder)
    assert shore.client.iteration(given).state is IterationState.RUNNING
    shore.client.patch_iteration(given, IterationPatch(state=IterationState.FAILED))
    watch.run("--experiment", "theirs", "--iteration", str(given))
    assert watch.wait() == 2
    assert "has ended and takes nothing more" in watch.said.read_text()


def test_two_watches_of_one_folder_and_another_purpose_are_refused(shore: Shore, watch: Watch, tmp_path: Path) -> None:
    watch.start()
    other = subprocess.run(
        [sys.executable, "-m", "pinnace", "watch", str(watch.folder), "--project", "boats", "--experiment", "first"],
        env=watch.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert other.returncode == 2
    assert "another pinnace watch is at work" in other.stderr
    watch.end(signal.SIGKILL)
    watch.run("--experiment", "second")
    assert watch.wait() == 2
    assert "holds an unfinished watch" in watch.said.read_text()
    watch.run(PINNACE_STORE_BUCKET="another")
    assert watch.wait() == 2
    assert f"into {shore.settings.get('PINNACE_STORE_BUCKET', 'the API')}" in watch.said.read_text()


def test_a_name_that_the_api_refuses_leaves_nothing_to_finish(watch: Watch) -> None:
    watch.run("--experiment", "")
    assert watch.wait() == 4, watch.said.read_text()
    watch.start()
    assert watch.end() == 0


@pytest.mark.parametrize("option", ["--settle=-1", "--settle=nan", "--drain=-1"])
def test_a_time_that_is_none_begins_nothing(watch: Watch, option: str) -> None:
    watch.run(option)
    assert watch.wait() == 2
    assert "a number from 0 to" in watch.said.read_text()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"PINNACE_STORE_BUCKET": "", "PINNACE_STORE_ENDPOINT": "http://x"}, 2, "PINNACE_STORE_BUCKET is not set"),
        ({"PINNACE_API_URL": "http://127.0.0.1:9"}, 4, "127.0.0.1:9"),
        ({"PINNACE_API_TOKEN": "wrong"}, 4, "401"),
    ],
)
def test_what_is_wrong_at_the_start_is_a_sentence(watch: Watch, change: dict[str, str], code: int, words: str) -> None:
    watch.environment |= change
    watch.run()
    assert watch.wait() == code, watch.said.read_text()
    said = watch.said.read_text()
    assert words in said
    assert len(said.splitlines()) == 1
