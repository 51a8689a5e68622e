"""A server and all processes that it started: what they took together, as the kernel counts it."""

import os
from collections.abc import Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu(root: int) -> tuple[float, float]:
    """Seconds of user and of system so far, of those that live."""
    ticks = [_stat(process)[11:13] for process in _tree(root)]
    return sum(int(user) for user, _ in ticks) / _TICK, sum(int(system) for _, system in ticks) / _TICK


def resident_kib(root: int) -> int:
    """Memory in use now; what several of them share is counted once."""
    return sum(_proportional_kib(process) for process in _tree(root))


def _tree(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name)))[1:2]:
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    seen = [root]
    for process in seen:
        seen += children.get(process, [])
        if _stat(process):
            yield process


def _stat(process: int) -> list[str]:
    """From the state on; empty once it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _proportional_kib(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])
