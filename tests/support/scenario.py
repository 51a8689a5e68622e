"""One pod for a failure scenario: the real sidecar as a process, the real API, and the store that fails on command."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pinnace.ids import artifact_id, iteration_id
from pinnace.records import Artifact, ExperimentWrite, IterationWrite, PodReport, WriterEnd
from pinnace.settings import StoreSettings
from pinnace_sidecar.files import wire_path
from support.api_server import ApiServer, api_server
from support.eventually import eventually
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server, s3_server
from support.sidecar_process import SidecarProcess

NAMESPACE = "ml"
POD = "pod-1"


@dataclass(slots=True)
class Scenario:
    """Write files, start the sidecar, let things happen, then `end`: it drains, and all that was written is ashore."""

    store: S3Server
    api: ApiServer
    sidecar: SidecarProcess
    credentials: Path

    @property
    def copies(self) -> Path:
        return Path(self.sidecar.settings.buffer_dir) / "files"

    def write(self, path: str, content: bytes | int) -> bytes:
        """A file with this content, or with so many random bytes."""
        data = os.urandom(content) if isinstance(content, int) else content
        file = self.sidecar.volume / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return data

    def rows(self) -> list[Artifact]:
        return list(self.api.admin().iteration_artifacts(self.sidecar.settings.iteration_id))

    def name(self, path: str, data: bytes) -> str:
        """What the copy of this content is called in the buffer."""
        digest = hashlib.sha256(data).hexdigest()
        return str(artifact_id(self.sidecar.settings.iteration_id, wire_path(path), digest))

    def wait_for_rows(self, number: int, *, timeout: float = 30) -> None:
        eventually(lambda: len(self.rows()) == number, timeout=timeout, what=f"{number} rows")

    def wait_for_problem(self, reason: str) -> None:
        """Until the report that the API has names it."""
        eventually(lambda: reason in self.problems(), timeout=30, what=f"a report of {reason}")

    def problems(self) -> list[str]:
        admin = self.api.admin()
        experiment = admin.iteration(self.sidecar.settings.iteration_id).experiment_id
        reports = [standing.report for standing in admin.pods(experiment)]
        return [problem.reason for report in reports if report for problem in report.problems]

    def end(self) -> PodReport:
        """The writers have ended, and well."""
        self.sidecar.end_writers()
        assert self.sidecar.wait() == 0, self.sidecar.log()
        report = self.sidecar.last_words()
        assert report.final, self.sidecar.log()
        return report

    def assert_ashore(self, files: dict[str, bytes]) -> None:
        """Exactly these files: bytes and rows, each once, and nothing dangling."""
        rows = self.rows()
        assert sorted((row.path, row.sha256, row.suspect) for row in rows) == sorted(
            (wire_path(path), hashlib.sha256(data).hexdigest(), False) for path, data in files.items()
        )
        held = {key: hashlib.sha256(stored.body).hexdigest() for key, stored in self.store.objects.items()}
        assert held == {row.location.key: row.sha256 for row in rows}
        assert self.store.uploads == {}
        assert list(self.copies.iterdir()) == []

    def set_credentials(self, token: str = "") -> None:
        """As the kubelet does it: a new folder, then one link swapped."""
        number = len(list(self.credentials.iterdir()))
        fresh = self.credentials / f"..{number}"
        fresh.mkdir()
        values = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": token}
        for name, value in values.items():
            if value:
                (fresh / name).write_text(value)
                if not (self.credentials / name).is_symlink():
                    (self.credentials / name).symlink_to(f"..data/{name}")
        (self.credentials / "..swap").symlink_to(fresh.name)
        (self.credentials / "..swap").rename(self.credentials / "..data")


@contextmanager
def scenario(folder: Path) -> Iterator[Scenario]:
    """A pod that is not started yet; everything is ended with the block."""
    experiment = uuid4()
    iteration = iteration_id(experiment, 0)
    credentials = folder / "credentials"
    credentials.mkdir()
    with s3_server() as store, api_server(folder) as api:
        admin = api.admin()
        admin.put_experiment(experiment, ExperimentWrite(project="faults", name="scenario", namespace=NAMESPACE))
        admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        token = api.cluster.add_pod(iteration, namespace=NAMESPACE, pod_uid=POD)
        api.cluster.end_writers(namespace=NAMESPACE, pod_uid=POD, ended=WriterEnd.CLEAN)
        sidecar = SidecarProcess(
            folder / "pod",
            iteration_id=iteration,
            pod_uid=POD,
            store=StoreSettings(endpoint=store.endpoint, bucket=store.bucket, credentials_dir=str(credentials)),
            api_url=api.url,
            token=token,
        )
        pod = Scenario(store, api, sidecar, credentials)
        pod.set_credentials()
        try:
            yield pod
        finally:
            sidecar.close()
