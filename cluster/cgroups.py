"""Our own branch of the control groups: whatever our engine starts is in it, so it can be ended to the last process."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cluster.waiting import until

HIERARCHIES = Path("/sys/fs/cgroup")
BRANCH = "pinnace"
#: Where the engine itself lives, beside its containers.
ENGINE = f"{BRANCH}/engine"


def for_engine() -> Path | None:
    """A fresh control group for the engine, in one hierarchy; None where none can be written."""
    names = [""] if (HIERARCHIES / "cgroup.controllers").exists() else ["pids", "systemd", "freezer"]
    for name in names:
        group = HIERARCHIES / name / ENGINE
        with suppress(OSError):
            group.mkdir(parents=True, exist_ok=True)
            return group
    return None


def branches() -> list[Path]:
    """Our branch in each hierarchy that has one."""
    return [found for found in (HIERARCHIES / BRANCH, *sorted(HIERARCHIES.glob(f"*/{BRANCH}"))) if found.is_dir()]


def members() -> set[int]:
    """The pids in our branch."""
    return {pid for branch in branches() for pid in _pids(branch)}


def _pids(branch: Path) -> Iterator[int]:
    for file in branch.rglob("cgroup.procs"):
        with suppress(OSError):
            yield from (int(line) for line in file.read_text(encoding="ascii").split())


def clear(grace_s: float) -> int:
    """Kill whatever is left in our branch and remove it; returns how many processes that were."""
    killed: set[int] = set()

    def emptied() -> bool:
        left = members()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(left)
        return not left

    until(emptied, timeout_s=grace_s, interval_s=0.1)
    for branch in branches():
        for folder in sorted((found for found in branch.rglob("*") if found.is_dir()), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            branch.rmdir()
    return len(killed)
