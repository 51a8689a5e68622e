"""`pinnace get`: an artifact's bytes from the store to a file, compared with what was recorded."""

import errno
import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pinnace.cli.exits import DigestMismatch, LocalFileError
from pinnace.cli.options import json_option, with_client
from pinnace.cli.output import bytes_in_words, escaped, print_json
from pinnace.cli.settings import store_settings
from pinnace.client import Client
from pinnace.compression import NotDecodable, Sink, unpacked
from pinnace.records import Artifact
from pinnace.stores.credentials import credentials_for
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import Store, TransientStoreError

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
    workload's identity.
    """
    row = client.artifact(artifact)
    target = _target(output or Path(), row)
    settings = store_settings(row.location, endpoint=endpoint)
    with closing(S3Store(settings, credentials_for(settings))) as store, _progress(row, quiet=as_json) as progress:
        task = progress.add_task(escaped(target.name), total=row.size)
        download(store, row, target, replace=force, advanced=lambda count: progress.advance(task, count))
    if as_json:
        print_json({"artifact": row.id, "file": str(target), "size": row.size, "sha256": row.sha256})
    else:
        click.echo(f"{escaped(str(target))}: {bytes_in_words(row.size)}, SHA-256 {row.sha256} as recorded")


def download(
    store: Store, artifact: Artifact, target: Path, *, replace: bool, advanced: Callable[[int], None] = lambda _: None
) -> None:
    """Put the bytes of `artifact` into `target`: complete, compared and fsynced, or not at all.

    An answer that breaks off is taken up again where it ended, as long as that brings more bytes. Raises
    DigestMismatch, LocalFileError, StoreError. Memory does not depend on the size.
    """
    if not replace and target.exists():
        raise LocalFileError(f"{escaped(str(target))} exists", hint="--force replaces it")
    partial = target.with_name(f".pinnace-{secrets.token_hex(8)}.part")
    try:
        with partial.open("xb") as file:
            received = _Received(file, artifact, advanced)
            _fetch(store, artifact, received)
            received.compare()
            file.flush()
            os.fsync(file.fileno())
        _move_into_place(partial, target, replace=replace)
    except OSError as error:
        raise LocalFileError(f"{escaped(str(target))} can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def difference(store: Store, artifact: Artifact) -> str:
    """Download `artifact` and throw the bytes away: how they differ from what was recorded; empty when they don't.

    Raises StoreError.
    """
    with Path(os.devnull).open("wb") as nowhere:
        received = _Received(nowhere, artifact, lambda _count: None)
        try:
            _fetch(store, artifact, received)
            received.compare()
        except DigestMismatch as mismatch:
            return str(mismatch.args[0])
    return ""


class _Received:
    """Takes the bytes of one artifact; says at the end whether they are the recorded ones."""

    def __init__(self, file: BinaryIO, artifact: Artifact, advanced: Callable[[int], None]) -> None:
        self._file = file
        self._artifact = artifact
        self._advanced = advanced
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: memoryview, /) -> None:
        self.size += len(data)
        if self.size > self._artifact.size:
            raise _mismatch(self._artifact, f"more than {self._artifact.size} bytes")
        self._sha256.update(data)
        self._file.write(data)
        self._advanced(len(data))

    def compare(self) -> None:
        """Raises DigestMismatch unless everything arrived as it was recorded."""
        if self.size != self._artifact.size:
            raise _mismatch(self._artifact, f"{self.size} bytes instead of {self._artifact.size}")
        if self._sha256.hexdigest() != self._artifact.sha256:
            raise _mismatch(self._artifact, f"SHA-256 {self._sha256.hexdigest()} instead of {self._artifact.sha256}")


class _Arriving:
    """Counts an object's bytes on their way."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0

    def write(self, data: memoryview, /) -> None:
        self._sink.write(data)
        self.size += len(data)


def _fetch(store: Store, artifact: Artifact, received: _Received) -> None:
    stored = artifact.stored
    size = stored.size if stored else artifact.size
    arriving = _Arriving(unpacked(received, stored.encoding if stored else None, artifact.size))
    try:
        _fetch_all(store, artifact.location.key, arriving, size)
    except NotDecodable as error:
        raise _mismatch(artifact, str(error)) from error
    if stored and arriving.size != size:
        raise _mismatch(artifact, f"{arriving.size} compressed bytes instead of {size}")


def _fetch_all(store: Store, key: str, arriving: _Arriving, size: int) -> None:
    while True:
        begun = arriving.size
        try:
            store.get(key, arriving, start=begun)
        except TransientStoreError:
            if arriving.size == begun:
                raise
        else:
            return
        if arriving.size == size:
            return


def _mismatch(artifact: Artifact, what: str) -> DigestMismatch:
    return DigestMismatch(
        f"the store gave {what} for artifact {artifact.id}",
        hint="the object was changed or damaged in the store; nothing was kept here",
    )


def _move_into_place(partial: Path, target: Path, *, replace: bool) -> None:
    if replace:
        partial.replace(target)
    else:
        try:
            # Unlike a rename, a link never replaces what somebody has put there meanwhile.
            target.hardlink_to(partial)
        except FileExistsError as error:
            raise LocalFileError(f"{escaped(str(target))} exists", hint="--force replaces it") from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            partial.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _target(output: Path, artifact: Artifact) -> Path:
    if not output.is_dir():
        return output
    name = PurePosixPath(artifact.path).name
    return output / (name if name.isprintable() and name not in ("", "..") else str(artifact.id))


def _progress(artifact: Artifact, *, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    is_silent = quiet or artifact.size == 0 or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=is_silent)
