"""`pinnace get`: an artifact's bytes from the store to a file, compared with what was recorded."""

import errno
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Final
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pinnace.cli.options import json_option, with_client
from pinnace.cli.output import bytes_in_words, escaped, print_json
from pinnace.cli.settings import store_settings
from pinnace.client import Client, Unreachable
from pinnace.compression import Sink
from pinnace.records import Artifact, Backend
from pinnace.stores.credentials import credentials_for
from pinnace.stores.retrieval import Source, retrieve
from pinnace.stores.s3 import S3Store

#: What file systems without hard links answer.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


@click.command
@with_client
@click.argument("artifact", type=click.UUID)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to put it: a file or a folder. Default: its own name, here.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--endpoint",
    metavar="URL",
    help="Where the store is reached from here. Default: PINNACE_STORE_ENDPOINT, else as it was recorded.",
)
@json_option
def get(
    client: Client, *, artifact: UUID, output: Path | None, force: bool, endpoint: str | None, as_json: bool
) -> None:
    """Download ARTIFACT (its id) and compare it with the recorded SHA-256.

    FILE appears whole and right or not at all; what lies compressed in the store is unpacked. The store's credentials
    are those of the environment: AWS_ACCESS_KEY_ID and so on, AWS_PROFILE, PINNACE_STORE_CREDENTIALS_DIR, or the
    workload's identity. What lies in no store comes from the API.
    """
    row = client.artifact(artifact)
    target = _target(output or Path(), row)
    with source(client, row, endpoint=endpoint) as store, _progress(row, quiet=as_json) as progress:
        task = progress.add_task(escaped(target.name), total=row.size)
        retrieve(store, row, target, replace=force, advanced=lambda count: progress.advance(task, count))
    if as_json:
        print_json({"artifact": row.id, "file": str(target), "size": row.size, "sha256": row.sha256})
    else:
        click.echo(f"{escaped(str(target))}: {bytes_in_words(row.size)}, SHA-256 {row.sha256} as recorded")


class _Kept:
    """Of an artifact the bytes that the API keeps itself."""

    def __init__(self, client: Client, artifact: Artifact) -> None:
        self._client = client
        self._artifact = artifact

    def get(self, key: str, sink: Sink, *, start: int = 0) -> None:
        """As a store; an answer that breaks off goes on as long as that brings more. Raises ApiError."""
        del key
        arrived = start

        def take(block: bytes) -> None:
            nonlocal arrived
            sink.write(memoryview(block))
            arrived += len(block)

        while arrived < self._artifact.size:
            begun = arrived
            try:
                self._client.get_bytes(self._artifact.id, take, start=begun)
            except Unreachable:
                if arrived == begun:
                    raise
            else:
                return


@contextmanager
def source(client: Client, artifact: Artifact, *, endpoint: str | None) -> Iterator[Source]:
    """Where the bytes of `artifact` are read from. Raises SettingsError."""
    if artifact.location.backend is not Backend.S3:
        yield _Kept(client, artifact)
        return
    settings = store_settings(artifact.location, endpoint=endpoint)
    with closing(S3Store(settings, credentials_for(settings))) as store:
        yield store


def _target(output: Path, artifact: Artifact) -> Path:
    if not output.is_dir():
        return output
    name = PurePosixPath(artifact.path).name
    return output / (name if name.isprintable() and name not in ("", "..") else str(artifact.id))


def _progress(artifact: Artifact, *, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    is_silent = quiet or artifact.size == 0 or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=is_silent)
