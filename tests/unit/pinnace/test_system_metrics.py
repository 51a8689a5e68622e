"""System metrics: read out of the kernel's files as they are, and never at the training's expense."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pinnace
from pinnace.naming import ENV_SYSTEM_METRICS_FILE, ENV_SYSTEM_METRICS_SECONDS
from pinnace.system_metrics.cgroups import CgroupV1, CgroupV2, Usage, own_cgroup
from pinnace.system_metrics.gpus import Gpus, GpuUsage, own_gpus
from pinnace.system_metrics.sampling import Sampler
from pinnace_sidecar import metric_lines

V2 = {
    "cgroup.controllers": "cpuset cpu io memory pids\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 0\n",
    "memory.current": "104857600\n",
    "memory.stat": "anon 52428800\nfile 41943040\ninactive_anon 0\ninactive_file 31457280\n",
    "io.stat": "259:0 rbytes=1000 wbytes=20 rios=1 wios=1 dbytes=0\n8:0 rbytes=500 wbytes=7 rios=1\n7:0 \n",
}
V1 = {
    "cpuacct/cpuacct.usage": "2500000000\n",
    "memory/memory.usage_in_bytes": "104857600\n",
    "memory/memory.stat": "cache 1\ninactive_file 5\ntotal_inactive_file 31457280\n",
    "blkio/blkio.throttle.io_service_bytes": "8:0 Read 1500\n8:0 Write 27\n8:0 Sync 0\n8:0 Total 1527\nTotal 1527\n",
}
SAME = Usage(cpu_seconds=2.5, memory_bytes=70 * 2**20, io_read_bytes=1500, io_write_bytes=27)

#: Ends with 7 when its metrics file has three lines.
TRAINING = """
import os, sys
while not os.path.exists(sys.argv[1]) or open(sys.argv[1]).read().count("\\n") < 3:
    sum(range(10_000))
sys.exit(7)
"""


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(*command: str, file: Path | None = None, seconds: str = "0.05") -> subprocess.CompletedProcess[str]:
    """Without site-packages: an image has the standard library, whatever else it has."""
    told = {ENV_SYSTEM_METRICS_FILE: str(file), ENV_SYSTEM_METRICS_SECONDS: seconds} if file else {}
    return subprocess.run(
        [sys.executable, "-S", "-m", "pinnace.system_metrics", *command],
        env={"PYTHONPATH": str(Path(pinnace.__file__).parents[1]), "PATH": os.defpath, **told},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_both_versions_of_cgroups_tell_the_same(tmp_path: Path) -> None:
    v1, v2 = own_cgroup(lay(tmp_path / "1", V1)), own_cgroup(lay(tmp_path / "2", V2))
    assert isinstance(v1, CgroupV1)
    assert isinstance(v2, CgroupV2)
    assert v1.usage() == v2.usage() == SAME


@pytest.mark.parametrize("kind", [CgroupV1, CgroupV2])
def test_what_the_kernel_does_not_tell_is_left_out(tmp_path: Path, kind: type[CgroupV1 | CgroupV2]) -> None:
    assert kind(tmp_path).usage() == Usage()
    assert Sampler(kind(tmp_path), None).values() == {}


def test_this_machines_own_books_are_read() -> None:
    spent = own_cgroup().usage().cpu_seconds
    assert spent is not None
    assert spent > 0


def test_cores_are_those_in_use_since_the_line_before(tmp_path: Path) -> None:
    now = 100.0
    sampler = Sampler(CgroupV2(lay(tmp_path, V2)), None, lambda: now)
    now = 110.0
    (tmp_path / "cpu.stat").write_text("usage_usec 27500000\n")
    assert sampler.values()["system/cpu_cores"] == 2.5
    now = 120.0
    assert sampler.values()["system/cpu_cores"] == 0.0


class Nvml:
    """Two GPUs, of which the second does not tell how busy it is."""

    def __init__(self, *, works: bool = True) -> None:
        self._works = works

    def nvmlInit_v2(self) -> int:
        return 0 if self._works else 9

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: Any) -> int:
        handle._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: ctypes.c_void_p, share: Any) -> int:
        share._obj.gpu = 37
        return 0 if handle.value == 1 else 3

    def nvmlDeviceGetMemoryInfo(self, handle: ctypes.c_void_p, memory: Any) -> int:
        memory._obj.used = 2**30
        return 0


def test_each_gpu_tells_what_it_can(tmp_path: Path) -> None:
    gpus = Gpus(Nvml())
    assert gpus.usage() == (
        GpuUsage(utilization=0.37, memory_bytes=2**30),
        GpuUsage(utilization=None, memory_bytes=2**30),
    )
    assert Sampler(CgroupV2(tmp_path), gpus).values() == {
        "system/gpu0_utilization": 0.37,
        "system/gpu0_memory_bytes": 2**30,
        "system/gpu1_memory_bytes": 2**30,
    }


def test_a_driver_that_does_not_start_means_no_gpus() -> None:
    assert Gpus(Nvml(works=False)).usage() == ()


def test_a_machine_without_the_library_has_no_gpus() -> None:
    assert own_gpus("libnothing-of-the-kind.so.1") is None


def test_the_command_ends_as_it_would_alone_and_leaves_metric_lines(tmp_path: Path) -> None:
    file = tmp_path / "system-metrics.jsonl"
    # Returns when nobody holds the pipes any more, so the sampler has ended too.
    done = run("--", sys.executable, "-c", TRAINING, str(file), file=file)
    assert done.returncode == 7
    assert done.stderr == ""
    lines = file.read_bytes().splitlines(keepends=True)
    points = [metric_lines.parse(line, index=i, source="pod", offset=0) for i, line in enumerate(lines)]
    assert len(points) >= 3
    cores = {point.value for of_line in points for point in of_line if point.key == "system/cpu_cores"}
    assert any(isinstance(value, float) and value > 0 for value in cores)
    assert all("time" in json.loads(line) for line in lines)


def test_unasked_it_is_the_command_and_nothing_else(tmp_path: Path) -> None:
    done = run("--", sys.executable, "-c", "import os; print(os.listdir('/proc/self/task'), os.getpid())")
    [tasks, pid] = done.stdout.rsplit(maxsplit=1)
    assert tasks == f"['{pid}']"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", ["0.05", "often"])
def test_nothing_of_it_makes_a_training_fail(tmp_path: Path, seconds: str) -> None:
    file = tmp_path / "no-such-folder" / "system-metrics.jsonl"
    done = run(sys.executable, "-c", "print('trained')", file=file, seconds=seconds)
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert done.stderr.startswith("pinnace: ")


def test_a_command_that_is_not_there_is_said_as_a_shell_says_it() -> None:
    done = run("--", "no-such-command")
    assert done.returncode == 127
    assert "no-such-command" in done.stderr
    assert run().returncode == 2
