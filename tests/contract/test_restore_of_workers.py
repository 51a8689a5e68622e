"""Checkpoints of two workers, by the real sidecar and the real restore, over a real API and a real MinIO."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from minio import Minio

from pinnace import artifacts
from pinnace.ids import iteration_id
from pinnace.records import ExperimentWrite, IterationWrite, WriterEnd
from pinnace.settings import StoreSettings
from support.api_server import ApiServer, api_server
from support.eventually import eventually
from support.minio_server import MinioServer, minio_server
from support.sidecar_process import SidecarProcess

NAMESPACE = "ml"
WORKERS = 2


@dataclass(slots=True)
class Training:
    """Tries of one iteration; `pods` are those of the present try, by worker."""

    folder: Path
    api: ApiServer
    store: StoreSettings
    iteration: UUID
    tries: int = 0
    pods: list[SidecarProcess] = field(default_factory=list)

    def begin(self, *, workers: int = WORKERS, shards: str = "Own") -> list[int]:
        """New pods in the place of the last; returns how the restore of each ended."""
        self.tries += 1
        self.pods = [self._pod(f"try-{self.tries}-{worker}") for worker in range(workers)]
        for worker, pod in enumerate(self.pods):
            seat = {"WORKER": str(worker), "WORKERS": str(workers), "SHARDS": shards}
            pod.begin("restore", **{f"PINNACE_RESTORE_{name}": value for name, value in seat.items()})
        return [pod.wait() for pod in self.pods]

    def _pod(self, uid: str) -> SidecarProcess:
        token = self.api.cluster.add_pod(self.iteration, namespace=NAMESPACE, pod_uid=uid)
        self.api.cluster.end_writers(namespace=NAMESPACE, pod_uid=uid, ended=WriterEnd.CLEAN)
        return SidecarProcess(
            self.folder / uid,
            iteration_id=self.iteration,
            pod_uid=uid,
            store=self.store,
            api_url=self.api.url,
            token=token,
        )

    def save(self, worker: int, step: int) -> None:
        """As a program does it: a folder of the step's on each volume, a file of each rank, one for all by rank 0."""
        folder = self.pods[worker].volume / f"step-{step}"
        folder.mkdir(exist_ok=True)
        (folder / f"rank-{worker}.pt").write_bytes(f"{rank(step, worker, self.tries)}. ".encode() * 10_000)
        if worker == 0:
            (folder / "meta.json").write_text(f"step {step}")
        artifacts.complete_set(folder, shard=(worker, WORKERS), shared=["meta.json"] if worker == 0 else [])

    def end(self) -> None:
        """Every pod of this try ships what it wrote and is gone."""
        for pod in self.pods:
            pod.begin()
        serve = "every sidecar serves"
        eventually(lambda: all('"serving"' in pod.log() for pod in self.pods), timeout=60, what=serve)
        for pod in self.pods:
            pod.end_writers()
        for pod in self.pods:
            assert pod.wait() == 0, pod.log()
            assert pod.last_words().final

    def on(self, worker: int) -> dict[str, str]:
        """What lies on a worker's volume, without manifests: the content's first sentence."""
        volume = self.pods[worker].volume
        files = (file for file in volume.rglob("*") if file.is_file() and file.name != "pinnace-manifest.json")
        return {str(file.relative_to(volume)): file.read_text().partition(".")[0] for file in files}

    def sets(self) -> list[str]:
        found = self.api.admin().artifact_sets(self.iteration)
        return sorted(f"{each.manifest.path.partition('/')[0]} {each.files}" for each in found)


@pytest.fixture
def minio(tmp_path: Path) -> Iterator[MinioServer]:
    (folder := tmp_path / "minio").mkdir()
    with minio_server(folder) as server:
        bucket = Minio(
            endpoint=server.endpoint.removeprefix("http://"),
            access_key=server.root_user,
            secret_key=server.root_password,
            secure=False,
        )
        bucket.make_bucket(bucket_name="artifacts")
        yield server


@pytest.fixture
def training(tmp_path: Path, minio: MinioServer) -> Iterator[Training]:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "AWS_ACCESS_KEY_ID").write_text(minio.root_user)
    (credentials / "AWS_SECRET_ACCESS_KEY").write_text(minio.root_password)
    store = StoreSettings(endpoint=minio.endpoint, bucket="artifacts", credentials_dir=str(credentials))
    experiment = uuid4()
    iteration = iteration_id(experiment, 0)
    with api_server(tmp_path) as api:
        admin = api.admin()
        admin.put_experiment(experiment, ExperimentWrite(project="p", name="n", namespace=NAMESPACE))
        admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        made = Training(tmp_path, api, store, iteration)
        yield made
        for pod in made.pods:
            pod.close()


def rank(step: int, worker: int, try_: int) -> str:
    return f"step {step}, rank {worker}, try {try_}"


def test_workers_come_back_to_one_step_with_their_own_shards(training: Training) -> None:
    assert training.begin() == [0, 0]
    assert [training.on(worker) for worker in range(WORKERS)] == [{}, {}]
    for worker in range(WORKERS):
        training.save(worker, 1)
    training.save(1, 2)  # worker 0 dies before it has saved
    training.end()
    assert training.sets() == ["step-1 1", "step-1 2", "step-2 1"]

    assert training.begin() == [0, 0]
    for worker in range(WORKERS):
        expected = {f"step-1/rank-{worker}.pt": rank(1, worker, 1), "step-1/meta.json": "step 1"}
        assert training.on(worker) == expected
    # What came back is nothing new; and step 2 is written a second time, from here.
    for worker in range(WORKERS):
        training.save(worker, 2)
    training.end()
    assert training.sets() == ["step-1 1", "step-1 2", "step-2 1", "step-2 1", "step-2 2"]

    # Of worker 1 there are two shards of step 2 now, and nobody says which of them is of the other's write.
    assert training.begin() == [0, 0]
    assert {path for worker in range(WORKERS) for path in training.on(worker)} == {
        "step-1/rank-0.pt",
        "step-1/rank-1.pt",
        "step-1/meta.json",
    }
    assert "wrote it more than once" in training.pods[0].log()
    for worker in range(WORKERS):
        training.save(worker, 3)
    training.end()
    assert training.begin() == [0, 0]
    assert training.on(1) == {"step-3/rank-1.pt": rank(3, 1, 3), "step-3/meta.json": "step 3"}

    # Another number of workers is refused, or gets everything.
    assert training.begin(workers=3) == [1, 1, 1]
    said = Path(training.pods[2].settings.termination_message).read_text()
    assert "step-3, was written by 2 workers, and there are 3 now" in said
    assert "spec.restore.shards" in said
    assert training.begin(workers=3, shards="All") == [0, 0, 0]
    everything = {"step-3/rank-0.pt": rank(3, 0, 3), "step-3/rank-1.pt": rank(3, 1, 3), "step-3/meta.json": "step 3"}
    assert [training.on(worker) for worker in range(3)] == [everything] * 3
