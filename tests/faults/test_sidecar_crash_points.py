"""Killed at any named point, a restarted sidecar converges: real process, real MinIO, real API, an outside ledger."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from minio import Minio

from pinnace.ids import is_own_key, iteration_id, object_key
from pinnace.records import Artifact, ExperimentWrite, IterationWrite, Location, WriterEnd
from pinnace.settings import StoreSettings
from pinnace_sidecar.crash import CrashPoint
from support.api_server import ApiServer, api_server
from support.eventually import eventually
from support.minio_server import minio_server
from support.samples import artifact
from support.sidecar_process import SidecarProcess
from support.store_content import content_of

BUCKET = "artifacts"
NAMESPACE = "ml"
MANIFEST = "checkpoints/set/pinnace-manifest.json"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A store and an API that all tests of this file share; each test has its own experiment and prefix."""

    api: ApiServer
    bucket: Minio
    endpoint: str
    credentials: Path
    store_folder: Path

    def sidecar(self, folder: Path) -> SidecarProcess:
        experiment = uuid4()
        iteration = iteration_id(experiment, 0)
        admin = self.api.admin()
        admin.put_experiment(experiment, ExperimentWrite(project="faults", name="crash", namespace=NAMESPACE))
        admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        pod_uid = str(uuid4())
        token = self.api.cluster.add_pod(iteration, namespace=NAMESPACE, pod_uid=pod_uid)
        self.api.cluster.end_writers(namespace=NAMESPACE, pod_uid=pod_uid, ended=WriterEnd.CLEAN)
        return SidecarProcess(
            folder,
            iteration_id=iteration,
            pod_uid=pod_uid,
            store=StoreSettings(
                endpoint=self.endpoint, bucket=BUCKET, prefix=str(iteration), credentials_dir=str(self.credentials)
            ),
            api_url=self.api.url,
            token=token,
        )

    def record_elsewhere(self, sidecar: SidecarProcess, content: bytes) -> bytes:
        """Let another iteration of the sidecar's experiment have shipped this content."""
        admin, store = self.api.admin(), sidecar.store
        experiment = admin.iteration(sidecar.settings.iteration_id).experiment_id
        other = iteration_id(experiment, 1)
        admin.put_iteration(other, IterationWrite(experiment_id=experiment, index=1))
        row = artifact(other, "elsewhere", content)
        key = object_key(store.prefix, row.id)
        etag = self.bucket.put_object(BUCKET, key, io.BytesIO(content), len(content)).etag
        location = Location(endpoint=store.endpoint, region=store.region, bucket=BUCKET, key=key)
        admin.put_artifacts(other, [msgspec.structs.replace(row, location=location, etag=etag)])
        return content

    def rows(self, iteration: UUID) -> list[Artifact]:
        return list(self.api.admin().iteration_artifacts(iteration))

    def objects(self, prefix: str) -> dict[str, str]:
        """What the store holds, by key: the SHA-256 of the bytes as another client reads them back."""
        found = {}
        for entry in self.bucket.list_objects(BUCKET, prefix=f"{prefix}/", recursive=True):
            with self.bucket.get_object(BUCKET, entry.object_name) as answer:
                found[entry.object_name] = hashlib.sha256(answer.read()).hexdigest()
        return found

    def uploads_under_way(self) -> list[Path]:
        return list((self.store_folder / ".minio.sys" / "multipart").glob("*/*/xl.meta"))


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    folder = tmp_path_factory.mktemp("surroundings")
    with minio_server(folder) as server, api_server(folder) as api:
        bucket = Minio(
            endpoint=server.endpoint.removeprefix("http://"),
            access_key=server.root_user,
            secret_key=server.root_password,
            secure=False,
        )
        bucket.make_bucket(bucket_name=BUCKET)
        credentials = folder / "credentials"
        credentials.mkdir()
        (credentials / "AWS_ACCESS_KEY_ID").write_text(server.root_user)
        (credentials / "AWS_SECRET_ACCESS_KEY").write_text(server.root_password)
        yield Surroundings(api, bucket, server.endpoint, credentials, folder / "data")


@pytest.fixture
def sidecar(surroundings: Surroundings, tmp_path: Path) -> Iterator[SidecarProcess]:
    process = surroundings.sidecar(tmp_path / "pod")
    process.settings = msgspec.structs.replace(process.settings, zstd_level=1)
    yield process
    process.close()


def write_files(surroundings: Surroundings, sidecar: SidecarProcess) -> dict[str, str]:
    """A training run's output; returns the ledger: path → SHA-256."""
    volume = sidecar.volume
    (volume / "checkpoints" / "set").mkdir(parents=True)
    metrics = b"".join(json.dumps({"step": step, "loss": 1 / (step + 1)}).encode() + b"\n" for step in range(50))
    contents = {
        "model.bin": os.urandom(100_000),
        "twin.bin": surroundings.record_elsewhere(sidecar, os.urandom(100_000)),
        "empty": b"",
        "train.log": b"".join(b"step %d of the training\n" % step for step in range(20_000)),
        "checkpoints/last.ckpt": os.urandom(12 * 2**20),
        "metrics.jsonl": metrics,
        "checkpoints/set/shard-0": os.urandom(50_000),
        "checkpoints/set/shard-1": os.urandom(6 * 2**20),
    }
    shards = [path for path in contents if path.startswith("checkpoints/set/")]
    contents[MANIFEST] = json.dumps(
        {
            "files": [
                {
                    "path": Path(path).name,
                    "size": len(contents[path]),
                    "sha256": hashlib.sha256(contents[path]).hexdigest(),
                }
                for path in shards
            ]
        }
    ).encode()
    for path, content in contents.items():
        (volume / f"{path}.tmp").write_bytes(content)
        (volume / f"{path}.tmp").rename(volume / path)
    return {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}


def assert_all_ashore(surroundings: Surroundings, sidecar: SidecarProcess, ledger: dict[str, str]) -> None:
    iteration, pod_uid = sidecar.settings.iteration_id, sidecar.settings.pod_uid
    rows = surroundings.rows(iteration)
    assert sorted((row.path, row.sha256, row.suspect) for row in rows) == sorted(
        (path, sha256, False) for path, sha256 in ledger.items()
    )
    held = surroundings.objects(sidecar.store.prefix)
    assert held == {row.location.key: row.stored.sha256 if row.stored else row.sha256 for row in rows}
    assert [row.path for row in rows if row.stored] == ["train.log"]
    for row in rows:
        with surroundings.bucket.get_object(BUCKET, row.location.key) as answer:
            assert content_of(row, answer.read()) is not None
    shared = [row for row in rows if not is_own_key(row.location.key, row.id, row.stored.sha256 if row.stored else "")]
    assert [row.path for row in shared] == ["twin.bin"]
    assert surroundings.uploads_under_way() == []
    recorded_at = {row.path: row.recorded_at for row in rows if row.recorded_at}
    assert recorded_at[MANIFEST] == max(
        time for path, time in recorded_at.items() if path.startswith("checkpoints/set/")
    )
    points = list(surroundings.api.admin().metrics(iteration, key="loss"))
    assert [(point.step, point.value) for point in points] == [(step, 1 / (step + 1)) for step in range(50)]
    report = sidecar.last_words()
    assert report.final
    assert (report.pending, report.metric_points, report.problems) == (0, 50, ())
    experiment = surroundings.api.admin().iteration(iteration).experiment_id
    (standing,) = surroundings.api.admin().pods(experiment)
    assert (standing.pod_uid, standing.recorded, standing.report) == (pod_uid, report.manifest, report)
    assert list((Path(sidecar.settings.buffer_dir) / "files").iterdir()) == []


@pytest.mark.parametrize("point", list(CrashPoint))
def test_a_restart_converges_after_a_crash_at(
    point: CrashPoint, surroundings: Surroundings, sidecar: SidecarProcess
) -> None:
    ledger = write_files(surroundings, sidecar)
    sidecar.start(PINNACE_CRASH_AT=point)
    sidecar.end_writers()
    assert sidecar.wait() == 137, sidecar.log()
    sidecar.start()
    sidecar.end_writers()
    assert sidecar.wait() == 0, sidecar.log()
    assert_all_ashore(surroundings, sidecar, ledger)


def test_a_set_is_ashore_long_before_it_settles(surroundings: Surroundings, sidecar: SidecarProcess) -> None:
    sidecar.settings = msgspec.structs.replace(sidecar.settings, settle_seconds=3600)
    sidecar.start()
    ledger = write_files(surroundings, sidecar)
    iteration = sidecar.settings.iteration_id
    eventually(
        lambda: MANIFEST in {row.path for row in surroundings.rows(iteration)}, timeout=30, what="the set is recorded"
    )
    rows = {row.path: row.sha256 for row in surroundings.rows(iteration)}
    assert {path for path in ledger if path.startswith("checkpoints/set/")} <= set(rows)
    sidecar.end_writers()
    assert sidecar.wait() == 0, sidecar.log()
    assert_all_ashore(surroundings, sidecar, ledger)


def test_crashing_again_and_again_ends_well(surroundings: Surroundings, sidecar: SidecarProcess) -> None:
    ledger = write_files(surroundings, sidecar)
    for point in CrashPoint:
        sidecar.start(PINNACE_CRASH_AT=point)
        sidecar.end_writers()
        assert sidecar.wait() in (0, 137), sidecar.log()
    sidecar.start()
    sidecar.end_writers()
    assert sidecar.wait() == 0, sidecar.log()
    assert_all_ashore(surroundings, sidecar, ledger)


def test_a_buffer_that_was_left_behind_is_drained_without_its_volume(
    surroundings: Surroundings, sidecar: SidecarProcess
) -> None:
    content = os.urandom(1000)
    (sidecar.volume / "model.bin").write_bytes(content)
    sidecar.start(PINNACE_CRASH_AT=CrashPoint.COPY_JOURNALED)
    sidecar.end_writers()
    assert sidecar.wait() == 137, sidecar.log()
    (sidecar.volume / "model.bin").unlink()
    sidecar.volume.rmdir()
    sidecar.start("--once", sidecar.settings.buffer_dir)
    assert sidecar.wait() == 0, sidecar.log()
    (row,) = surroundings.rows(sidecar.settings.iteration_id)
    assert surroundings.objects(sidecar.store.prefix) == {row.location.key: hashlib.sha256(content).hexdigest()}


def test_killed_over_and_over_in_mid_upload_nothing_is_lost_or_doubled(
    surroundings: Surroundings, sidecar: SidecarProcess
) -> None:
    ledger = write_files(surroundings, sidecar)
    for _ in range(2):
        sidecar.start(PINNACE_CRASH_AT=CrashPoint.PART_SENT, PINNACE_TUNING_UPLOAD_THREADS="1")
        sidecar.end_writers()
        assert sidecar.wait() == 137, sidecar.log()
        assert surroundings.uploads_under_way() != []
    sidecar.start()
    sidecar.end_writers()
    assert sidecar.wait() == 0, sidecar.log()
    assert_all_ashore(surroundings, sidecar, ledger)
