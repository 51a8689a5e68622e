"""Processes as (pid, start time): a pid alone may belong to somebody else by the time that it is used."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.waiting import until


@dataclass(frozen=True, slots=True)
class Process:
    """One process for as long as the machine runs: its pid is reused, its start time with it never."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The process that has this pid now; None when there is none, or no /proc to look at."""
        start = start_time(pid)
        return None if start is None else cls(pid, start)

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """The reverse of str(); None when the text is torn."""
        numbers = text.split()[:2]
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            return cls(int(numbers[0]), int(numbers[1]))
        return None

    @classmethod
    def noted(cls, file: Path) -> "Process | None":
        """The process that was written into a file; None when there is no file, or its text is torn."""
        return cls.parse(file.read_text(encoding="ascii")) if file.is_file() else None

    def __str__(self) -> str:
        return f"{self.pid} {self.start}"

    def alive(self) -> bool:
        """Whether it runs still; a zombie does not."""
        return start_time(self.pid) == self.start


@dataclass(frozen=True, slots=True)
class Holder:
    """A file that says which process holds something, so that others see when that was killed."""

    file: Path

    def enter(self) -> None:
        """Write this process into it; nothing where there is no /proc to tell it from a later one."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(str(Process.of(os.getpid()) or ""), encoding="ascii")

    def leave(self) -> None:
        """Harmless when nobody has entered."""
        self.file.unlink(missing_ok=True)

    def killed(self) -> bool:
        """Whether somebody entered who neither left nor runs any more."""
        process = Process.noted(self.file)
        return process is not None and not process.alive()


def end(processes: Iterable[Process], *, grace_s: float) -> None:
    """SIGTERM to all of them, and SIGKILL after `grace_s`. Harmless when they have ended."""
    left = list(processes)

    def ended() -> bool:
        left[:] = [process for process in left if process.alive()]
        return not left

    for number, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if ended():
            return
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        until(ended, timeout_s=patience, interval_s=0.05)


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start; None when it does not run (any more)."""
    try:
        # the second field is a name in parentheses, which may hold spaces and parentheses itself
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def marked(variable: str) -> Iterator[tuple[Process, str]]:
    """Every process that was started with this variable in its environment, and the variable's value."""
    sought = f"{variable}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                process = Process.of(int(folder.name)) if entry.startswith(sought) else None
                if process is not None:
                    yield process, entry[len(sought) :].decode(errors="replace")
