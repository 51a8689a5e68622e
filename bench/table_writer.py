"""Table `writer`: how much a writer slows down beside the sidecar, on the same disk and the same cores.

The writer writes as fast as it can, which no training does: it is the worst case.
"""

import shutil
import sys
from pathlib import Path

from bench import servers
from bench.contestants import CLIENTS
from bench.harness import Contestant, Row, run, say
from bench.pod import pod
from bench.sets import MIB
from bench.table import Table, Wishes

_FILE_MIB = 64


def measure(wishes: Wishes) -> list[Row]:
    count = 8 if wishes.quick else 32
    size = count * _FILE_MIB * MIB
    alone = Row(table="writer", group="", name="alone", files=count, size=size)
    beside = Row(table="writer", group="", name="with the sidecar shipping what it writes", files=count, size=size)
    with servers.null_server(wishes.scratch) as server:
        for turn in range(wishes.rounds):
            folder = wishes.scratch / "alone"
            folder.mkdir()
            alone.costs.append(run(_writer(folder, count), wishes.scratch))
            shutil.rmtree(folder)
            with pod(wishes.scratch, server) as here:
                beside.costs.append(run(_writer(here.volume, count), wishes.scratch))
                here.wait_for_rows(count)
                here.end()
            say(f"round {turn + 1}/{wishes.rounds} writer: {alone.costs[-1].wall:.2f} s, {beside.costs[-1].wall:.2f} s")
    return [alone, beside]


def _writer(folder: Path, count: int) -> Contestant:
    command = [sys.executable, str(CLIENTS / "writer.py"), str(folder), str(count), str(_FILE_MIB)]
    return Contestant(name="writer", command=command)


TABLES = (Table("writer", measure),)
