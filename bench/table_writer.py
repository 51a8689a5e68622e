"""Table `writer`: how much a writer slows down beside the sidecar, on the same disk and the same cores.

The one writes as fast as it can, which no training does: it is the worst case. The other writes a checkpoint, and
another one when it has computed for some seconds.
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.contestants import CLIENTS
from bench.harness import Contestant, Row, run, say
from bench.pod import pod
from bench.servers import Server
from bench.sets import MIB
from bench.table import Table, Wishes

#: What a round measures, in turn: None with a sidecar that is stopped (SIGSTOP), or what its environment has
#: beside. Starting a pod leaves the disk in another state than nothing does, so there is one in each.
_SIDECARS: dict[str, dict[str, str] | None] = {
    "alone": None,
    "with the sidecar shipping what it writes": {},
    "with a sidecar that does not wait for writers": {"PINNACE_TUNING_PATIENCE_SECONDS": "0"},
}


@dataclass(frozen=True, slots=True)
class _Writer:
    """`pause`: seconds after each file."""

    name: str
    files: int
    mebibytes: int
    pause: float = 0.0

    def write(self, folder: Path, scratch: Path) -> float:
        """How long it took, without the pauses."""
        numbers = map(str, (self.files, self.mebibytes, self.pause))
        command = [sys.executable, str(CLIENTS / "writer.py"), str(folder), *numbers]
        return run(Contestant(name="writer", command=command), scratch).wall - self.files * self.pause


def measure(wishes: Wishes) -> list[Row]:
    quick = wishes.quick
    writers = (
        _Writer("64 MiB after 64 MiB, as fast as it can", 8 if quick else 32, 64),
        _Writer("a checkpoint of 256 MiB, and one more every few seconds", 2 if quick else 4, 256, pause=4.0),
    )
    rows = []
    with servers.null_server(wishes.scratch) as server:
        for writer in writers:
            some = [
                Row(table="writer", group=writer.name, name=name, size=writer.files * writer.mebibytes * MIB)
                for name in _SIDECARS
            ]
            for turn in range(wishes.rounds):
                measured = [_measure(writer, _SIDECARS[row.name], server, wishes.scratch) for row in some]
                for row, figures in zip(some, measured, strict=True):
                    figures["slower"] = 1 - measured[0]["seconds"] / figures["seconds"]
                    for name, value in figures.items():
                        row.figures.setdefault(name, []).append(value)
                said = ", ".join(f"{figures['seconds']:.2f} s" for figures in measured)
                say(f"round {turn + 1}/{wishes.rounds} {writer.name}: {said}")
            rows += some
    return rows


def _measure(writer: _Writer, sidecar: dict[str, str] | None, server: Server, scratch: Path) -> dict[str, float]:
    """Seconds of writing, and what the sidecar did until the last byte was written: MiB to the disk, seconds of CPU."""
    with pod(scratch, server, **(sidecar or {})) as here:
        os.sync()
        if sidecar is None:
            os.kill(here.process, signal.SIGSTOP)
            return {"seconds": writer.write(here.volume, scratch), "wrote": 0.0, "cpu": 0.0}
        before = here.cpu()
        seconds = writer.write(here.volume, scratch)
        meanwhile = {"wrote": here.written() / MIB, "cpu": here.cpu() - before}
        here.wait_for_rows(writer.files)
        here.end()
    return {"seconds": seconds, **meanwhile}


TABLES = (Table("writer", measure),)
