"""A file that is larger than the server's memory goes up and down, and the server does not grow by it."""

import hashlib
from pathlib import Path

import pytest
import urllib3

from pinnace import ids
from pinnace.records import Backend, ExperimentWrite, IterationWrite
from pinnace.settings import STORE_PREFIX, dump
from support.api_process import ApiProcess
from support.api_server import ADMIN_TOKEN
from support.byte_stores import minio_bucket
from support.minio_server import minio_server

SIZES = {Backend.FILESYSTEM: 2**30, Backend.S3: 3 * 2**27}
GROWTH = 100 * 2**20
BLOCK = bytes(2**20)


def peak(process: ApiProcess) -> int:
    """The most that was ever resident, in bytes."""
    (line,) = (line for line in process.status().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("backend", [Backend.FILESYSTEM, Backend.S3])
def test_failure_7_memory_does_not_depend_on_the_size(tmp_path: Path, backend: Backend) -> None:
    with minio_server(tmp_path) as server:
        process = ApiProcess(
            tmp_path,
            f"sqlite:///{tmp_path}/api.db",
            artifacts_backend=backend.value,
            artifacts_dir=tmp_path / "artifacts",
        )
        process.environment |= dump(minio_bucket(server, tmp_path), STORE_PREFIX)
        process.start()
        try:
            process.wait_until_ready()
            experiment = ids.project_id("large")
            iteration = ids.iteration_id(experiment, 0)
            with process.admin() as admin:
                admin.put_experiment(experiment, ExperimentWrite(project="p", name="e", namespace="ml"))
                admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
            before = peak(process)
            url = f"{process.url}/api/v1/iterations/{iteration}/files/large.bin"
            headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
            sent = headers | {"content-length": str(SIZES[backend])}
            body = (BLOCK for _ in range(SIZES[backend] // len(BLOCK)))
            assert urllib3.request("PUT", url, body=body, headers=sent, retries=False).status == 201
            answer = urllib3.request("GET", url, headers=headers, preload_content=False, retries=False)
            digest = hashlib.sha256()
            for block in answer.stream(2**20):
                digest.update(block)
            assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
            assert peak(process) - before < GROWTH
        finally:
            process.stop()
