"""From usage to metric lines, and the loop that writes them until the training has ended."""

import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pinnace.system_metrics.cgroups import Cgroup, Usage
from pinnace.system_metrics.gpus import Gpus


class Sampler:
    """Makes one line of each moment. Times in seconds; `monotonic` is any clock that never goes back."""

    def __init__(self, cgroup: Cgroup, gpus: Gpus | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cgroup = cgroup
        self._gpus = gpus
        self._monotonic = monotonic
        self._before = (monotonic(), cgroup.usage().cpu_seconds)

    def values(self) -> dict[str, float]:
        """What the machine tells of this moment, by key."""
        usage = self._cgroup.usage()
        values: dict[str, float | None] = {
            "system/cpu_cores": self._cores(usage),
            "system/memory_bytes": usage.memory_bytes,
            "system/io_read_bytes": usage.io_read_bytes,
            "system/io_write_bytes": usage.io_write_bytes,
        }
        for index, gpu in enumerate(self._gpus.usage() if self._gpus else ()):
            values[f"system/gpu{index}_utilization"] = gpu.utilization
            values[f"system/gpu{index}_memory_bytes"] = gpu.memory_bytes
        return {key: value for key, value in values.items() if value is not None}

    def _cores(self, usage: Usage) -> float | None:
        now, (then, before) = self._monotonic(), self._before
        self._before = (now, usage.cpu_seconds)
        if usage.cpu_seconds is None or before is None or now <= then:
            return None
        return round((usage.cpu_seconds - before) / (now - then), 4)


def sample(sampler: Sampler, file: Path, seconds: float, training: int) -> None:
    """Append a line to `file` every so many seconds, and one at the end of the process `training`; then return.

    A line that can't be written is left out: the disk may have room again for the next.
    """
    ends = os.pidfd_open(training)
    ended = False
    while not ended:
        ended = bool(select.select([ends], [], [], seconds)[0])
        values = sampler.values()
        if values:
            _append(file, json.dumps({"time": round(time.time(), 3), **values}) + "\n")
    os.close(ends)


def _append(file: Path, line: str) -> None:
    try:
        # In one write: a reader, and a second writer, meet whole lines only.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"pinnace: a line of system metrics is left out: {error}", file=sys.stderr, flush=True)
