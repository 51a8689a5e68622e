"""Processes measured one after the other, round-robin, so that what else the machine does hits all of them alike."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_LAUNCHER = Path(__file__).with_name("launcher.py")
TIMEOUT_S = 300


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a process took: seconds, and KiB at its peak."""

    wall: float
    user: float
    system: float
    peak_kib: int
    code: int = 0

    @property
    def cpu(self) -> float:
        return self.user + self.system


class Row(msgspec.Struct, kw_only=True):
    """One line of a table: who did what, how often and at which cost. `failure` says why there is none."""

    table: str
    group: str
    name: str
    #: What the cost is spread over.
    files: int = 0
    size: int = 0
    costs: list[Cost] = []
    failure: str = ""
    #: Figures that a table has of its own.
    figures: dict[str, list[float]] = {}

    def median(self, of: Callable[[Cost], float]) -> float:
        return statistics.median(map(of, self.costs))

    def least(self, of: Callable[[Cost], float]) -> float:
        return min(map(of, self.costs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A command to measure; `environment` is all it gets beside PATH and HOME."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Failed(Exception):
    """The process did not do what it was to do."""


def run(contestant: Contestant, scratch: Path) -> Cost:
    """One run. Raises Failed when it does not end well; what it said is in the message."""
    result, log = scratch / "cost.json", scratch / "log.txt"
    result.unlink(missing_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), **contestant.environment}
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(result), str(TIMEOUT_S)]
    with log.open("wb") as output:
        subprocess.run(
            [*launcher, *contestant.command], env=environment, stdout=output, stderr=output, cwd=scratch, check=True
        )
    cost = msgspec.json.decode(result.read_bytes(), type=Cost)
    if cost.code:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise Failed(f"exit code {cost.code}: {' '.join(last)[:200]}")
    return cost


def rounds(
    number: int,
    rows: Sequence[tuple[Row, Contestant]],
    scratch: Path,
    *,
    before: Callable[[], object] = lambda: None,
    check: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Every contestant once per round. `before` each run puts the same conditions up; `check` raises Failed after a
    run that did not do all of it. Who failed once is left out from then on.
    """
    for turn in range(number):
        for row, contestant in rows:
            if row.failure:
                continue
            before()
            try:
                row.costs.append(run(contestant, scratch))
                check()
            except Failed as error:
                row.failure = str(error)
                row.costs.clear()
            say(f"round {turn + 1}/{number} {row.group}: {row.name}: {_short(row)}")
    return [row for row, _ in rows]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _short(row: Row) -> str:
    if row.failure:
        return f"failed: {row.failure}"
    last = row.costs[-1]
    return f"{last.cpu:.2f} CPU-s, {last.wall:.2f} s, {last.peak_kib / 1024:.0f} MiB"


def write_rows(path: Path, rows: Sequence[Row], facts: Mapping[str, str]) -> None:
    """Results and what they were measured with; tables that are not in `rows` stay as they are in the file."""
    tables = {row.table for row in rows}
    kept = [row for row in read_rows(path)[0] if row.table not in tables] if path.exists() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"facts": facts, "rows": [*kept, *rows]})))


def read_rows(path: Path) -> tuple[list[Row], dict[str, str]]:
    document = json.loads(path.read_bytes())
    return msgspec.convert(document["rows"], list[Row]), document["facts"]
