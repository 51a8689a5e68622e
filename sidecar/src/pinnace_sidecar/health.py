"""What can be asked of a running sidecar: /healthz (is the loop alive?) and /metrics (Prometheus)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pinnace.probes import ProbeServer
from pinnace.records import FileState

#: A loop that has not passed for this long is stuck. A store or an API that is away is no reason.
STUCK_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One moment of the sidecar, published by its loop after each pass. `last_pass_at` in monotonic seconds."""

    last_pass_at: float
    files: dict[FileState, int] = field(default_factory=dict)
    oldest_unshipped_seconds: float = 0.0
    uploaded_bytes: int = 0
    shared_bytes: int = 0
    upload_failures: dict[str, int] = field(default_factory=dict)
    buffer_bytes: int = 0
    buffer_limit_bytes: int = 0
    rescans: int = 0
    inotify_overflows: int = 0
    #: By what the store's objects were compared.
    verified: dict[str, int] = field(default_factory=dict)
    #: Operations that may be under way at the store, and the bytes per second they may take together (0: no limit).
    store_operations_limit: int = 0
    store_bandwidth_limit: int = 0
    #: None: they don't end, as far as is known.
    credentials_expire_seconds: float | None = None


class StatusCollector(Collector):
    """Turns the latest status into Prometheus metrics when they are asked for."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status()
        files = GaugeMetricFamily("pinnace_files", "Files by state", labels=["state"])
        for state in FileState:
            files.add_metric([state], status.files.get(state, 0))
        yield files
        failures = CounterMetricFamily("pinnace_upload_failures", "Failed operations at the store", labels=["code"])
        for code, count in status.upload_failures.items():
            failures.add_metric([code], count)
        yield failures
        yield GaugeMetricFamily(
            "pinnace_oldest_unshipped_seconds",
            "Age of the oldest complete file without a row",
            value=status.oldest_unshipped_seconds,
        )
        yield CounterMetricFamily(
            "pinnace_uploaded_bytes", "Bytes that the store acknowledged", value=status.uploaded_bytes
        )
        yield CounterMetricFamily(
            "pinnace_shared_bytes",
            "Bytes that were not uploaded because the experiment had them recorded already",
            value=status.shared_bytes,
        )
        yield GaugeMetricFamily("pinnace_buffer_bytes", "Bytes in the buffer", value=status.buffer_bytes)
        yield GaugeMetricFamily(
            "pinnace_buffer_bytes_limit", "Bytes that the buffer may hold", value=status.buffer_limit_bytes
        )
        yield from _store_metrics(status)
        yield CounterMetricFamily("pinnace_rescans", "Full looks at the volume", value=status.rescans)
        yield CounterMetricFamily(
            "pinnace_inotify_overflows", "Times that the kernel dropped events", value=status.inotify_overflows
        )


def _store_metrics(status: Status) -> Iterable[Metric]:
    verified = CounterMetricFamily("pinnace_verified", "Objects compared with their digests", labels=["by"])
    for evidence, count in status.verified.items():
        verified.add_metric([evidence], count)
    yield verified
    yield GaugeMetricFamily(
        "pinnace_store_operations_limit",
        "Operations that may be under way at the store; fewer when it throttles",
        value=status.store_operations_limit,
    )
    yield GaugeMetricFamily(
        "pinnace_store_bandwidth_limit_bytes_per_second",
        "Bytes per second that go to and from the store at most; 0: no limit",
        value=status.store_bandwidth_limit,
    )
    if status.credentials_expire_seconds is not None:
        yield GaugeMetricFamily(
            "pinnace_credentials_expire_seconds",
            "Time until the store's credentials end, unless they are renewed before",
            value=status.credentials_expire_seconds,
        )


class HealthServer(ProbeServer):
    """Serves what the loop published last."""

    def __init__(self, port: int, status: Callable[[], Status], monotonic: Callable[[], float]) -> None:
        registry = CollectorRegistry()
        registry.register(StatusCollector(status))

        def complaint() -> str:
            return "" if monotonic() - status().last_pass_at < STUCK_S else "the loop is stuck"

        super().__init__(port, lambda: generate_latest(registry), complaint)
