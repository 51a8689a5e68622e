"""CPU, memory and I/O of the container that we are in, out of its cgroup: version 2, or version 1 where it still is."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """At one moment; None: the kernel does not tell."""

    #: Since the container's start.
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    #: Since the container's start, of block devices.
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None


class Cgroup(Protocol):
    """A container's books."""

    def usage(self) -> Usage:
        """What the container used so far and uses now. Never raises for what can't be read: that is None."""
        ...


def own_cgroup(mount: Path = CGROUPS) -> Cgroup:
    """The books of the container that this process is in."""
    return CgroupV2(mount) if (mount / "cgroup.controllers").exists() else CgroupV1(mount)


@dataclass(frozen=True, slots=True)
class CgroupV2:
    """All files in one folder."""

    folder: Path

    def usage(self) -> Usage:
        cpu, memory, io = (_text(self.folder / name) for name in ("cpu.stat", "memory.current", "io.stat"))
        spent = _field(cpu, "usage_usec")
        fields = [field.partition("=") for field in io.split()] if io is not None else None
        return Usage(
            cpu_seconds=None if spent is None else spent / 1e6,
            memory_bytes=_in_use(memory, _text(self.folder / "memory.stat"), "inactive_file"),
            io_read_bytes=None if fields is None else _sum(value for name, _, value in fields if name == "rbytes"),
            io_write_bytes=None if fields is None else _sum(value for name, _, value in fields if name == "wbytes"),
        )


@dataclass(frozen=True, slots=True)
class CgroupV1:
    """A folder for each controller."""

    mount: Path

    def usage(self) -> Usage:
        cpu = _text(self.mount / "cpuacct/cpuacct.usage")
        memory = _text(self.mount / "memory/memory.usage_in_bytes")
        io = _text(self.mount / "blkio/blkio.throttle.io_service_bytes")
        lines = [line.split() for line in io.splitlines()] if io is not None else None
        return Usage(
            cpu_seconds=None if cpu is None else int(cpu) / 1e9,
            memory_bytes=_in_use(memory, _text(self.mount / "memory/memory.stat"), "total_inactive_file"),
            io_read_bytes=None if lines is None else _sum(line[2] for line in lines if line[1] == "Read"),
            io_write_bytes=None if lines is None else _sum(line[2] for line in lines if line[1] == "Write"),
        )


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _field(text: str | None, name: str) -> int | None:
    for line in (text or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def _in_use(usage: str | None, stat: str | None, inactive: str) -> int | None:
    """As Kubernetes counts it: what the kernel could drop at once is not in use."""
    return None if usage is None else max(0, int(usage) - (_field(stat, inactive) or 0))


def _sum(numbers: Iterable[str]) -> int:
    return sum(int(number) for number in numbers)
