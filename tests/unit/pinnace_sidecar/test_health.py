"""What a running sidecar answers to probes and to Prometheus."""

from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from pinnace.records import FileState
from pinnace_sidecar.health import STUCK_S, HealthServer, Status


class Loop:
    """A loop's status and clock, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.status = Status(
            last_pass_at=1000.0,
            files={FileState.RECORDED: 3},
            oldest_unshipped_seconds=4.5,
            uploaded_bytes=77,
            shared_bytes=33,
            upload_failures={"SlowDown": 2},
            buffer_bytes=10,
            buffer_limit_bytes=100,
            rescans=5,
            inotify_overflows=1,
            verified={"crc32c": 6},
            store_operations_limit=4,
            store_bandwidth_limit=1000,
            credentials_expire_seconds=3600.5,
        )


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def server(loop: Loop) -> Iterator[HealthServer]:
    server = HealthServer(0, lambda: loop.status, lambda: loop.now)
    yield server
    server.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_loop_that_passes_is_healthy_whatever_is_unshipped(server: HealthServer, loop: Loop) -> None:
    assert get(server, "/healthz") == (200, "ok\n")


def test_a_stuck_loop_is_not(server: HealthServer, loop: Loop) -> None:
    loop.now += STUCK_S
    assert get(server, "/healthz") == (503, "the loop is stuck\n")


def test_prometheus_gets_every_figure(server: HealthServer) -> None:
    status, text = get(server, "/metrics")
    assert status == 200
    lines = {line for line in text.splitlines() if not line.startswith("#")}
    assert lines == {
        *(f'pinnace_files{{state="{state}"}} {3.0 if state is FileState.RECORDED else 0.0}' for state in FileState),
        'pinnace_upload_failures_total{code="SlowDown"} 2.0',
        "pinnace_oldest_unshipped_seconds 4.5",
        "pinnace_uploaded_bytes_total 77.0",
        "pinnace_shared_bytes_total 33.0",
        "pinnace_buffer_bytes 10.0",
        "pinnace_buffer_bytes_limit 100.0",
        "pinnace_rescans_total 5.0",
        "pinnace_inotify_overflows_total 1.0",
        'pinnace_verified_total{by="crc32c"} 6.0',
        "pinnace_store_operations_limit 4.0",
        "pinnace_store_bandwidth_limit_bytes_per_second 1000.0",
        "pinnace_credentials_expire_seconds 3600.5",
    }


def test_anything_else_is_not_there(server: HealthServer) -> None:
    assert get(server, "/etc/passwd")[0] == 404
