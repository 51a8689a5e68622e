"""Table `uploads`: what each uploader costs for each set of files, on the null server and on real ones."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench import contestants, servers, sets
from bench.harness import Row, rounds, run
from bench.servers import Server
from bench.sets import FileSet
from bench.table import Table, Wishes


def null(wishes: Wishes) -> list[Row]:
    """The client's cost alone."""
    return _measured("uploads", servers.null_server(wishes.scratch), sets.QUICK if wishes.quick else sets.FULL, wishes)


def minio(wishes: Wishes) -> list[Row]:
    return _measured("minio", servers.minio(wishes.scratch), (sets.QUICK_LARGE, sets.QUICK_SMALL), wishes)


def seaweedfs(wishes: Wishes) -> list[Row]:
    return _measured("seaweedfs", servers.seaweedfs(wishes.scratch), (sets.QUICK_LARGE, sets.QUICK_SMALL), wishes)


def _measured(
    table: str, server: AbstractContextManager[Server], file_sets: Sequence[FileSet], wishes: Wishes
) -> list[Row]:
    rows: list[Row] = []
    with server as there:
        for file_set in file_sets:
            with files(file_set, there, wishes.scratch) as folder:
                rows += compare(table, file_set, there, folder, wishes)
    return rows


@contextmanager
def files(file_set: FileSet, server: Server, scratch: Path) -> Iterator[Path]:
    """The set in a folder, with our digests of it beside the folder."""
    folder = file_set.make(scratch / "files")
    run(contestants.ours(server, folder, "note"), scratch)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def compare(table: str, file_set: FileSet, server: Server, folder: Path, wishes: Wishes) -> list[Row]:
    """All uploaders with one set at one server."""
    here = [
        (Row(table=table, group=file_set.name, name=each.name, files=file_set.files, size=file_set.size), each)
        for each in contestants.everyone(server, folder)
    ]

    def before() -> None:
        server.forget()
        sets.warm(folder)

    return rounds(
        wishes.rounds, here, wishes.scratch, before=before, check=lambda: server.check(file_set.files, file_set.size)
    )


TABLES = (Table("uploads", null), Table("minio", minio), Table("seaweedfs", seaweedfs))
