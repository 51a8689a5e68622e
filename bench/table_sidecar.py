"""Table `sidecar`: the whole path, from files that a writer puts on the volume to their rows in the API."""

import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench import servers, sets
from bench.harness import Cost, Failed, Row, say
from bench.pod import pod
from bench.servers import Server
from bench.sets import FileSet
from bench.table import Table, Wishes


def measure(wishes: Wishes) -> list[Row]:
    big = sets.QUICK_LARGE if wishes.quick else sets.FileSet("4 x 1 GiB", ((4, sets.GIB),))
    small = sets.QUICK_SMALL if wishes.quick else sets.SMALL
    mixed = sets.QUICK[-1] if wishes.quick else sets.MIXED
    rows = _measured(servers.null_server(wishes.scratch), (big, small, mixed), wishes)
    return rows + _measured(servers.minio(wishes.scratch), (small,), wishes)


def _measured(server: AbstractContextManager[Server], file_sets: Sequence[FileSet], wishes: Wishes) -> list[Row]:
    rows = []
    with server as there:
        for file_set in file_sets:
            folder = file_set.make(wishes.scratch / "files")
            row = Row(table="sidecar", group=there.name, name=file_set.name, files=file_set.files, size=file_set.size)
            try:
                for turn in range(wishes.rounds):
                    sets.warm(folder)
                    row.costs.append(_one(wishes.scratch, there, folder, file_set))
                    say(f"round {turn + 1}/{wishes.rounds} sidecar, {there.name}: {file_set.name}: {row.costs[-1]}")
            except Failed as error:
                row.failure = str(error)
            finally:
                shutil.rmtree(folder)
            rows.append(row)
    return rows


def _one(scratch: Path, server: Server, folder: Path, file_set: FileSet) -> Cost:
    """`wall` from the first write to the last row; CPU from the first write to the end, the start-up left out."""
    server.forget()
    with pod(scratch, server) as here:
        before, began = here.cpu(), time.perf_counter()
        for path in folder.iterdir():
            shutil.copyfile(path, here.volume / path.name)
        here.wait_for_rows(file_set.files)
        wall = time.perf_counter() - began
        whole = here.end()
        server.check(file_set.files, file_set.size)
        # The start-up's share of user and system is not known apart; their sum is what counts.
        return Cost(wall=wall, user=whole.cpu - before, system=0.0, peak_kib=whole.peak_kib)


TABLES = (Table("sidecar", measure),)
