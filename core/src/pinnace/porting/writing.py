"""Files of an export: rows with their digests, and bytes that appear whole and right or not at all."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from pinnace.client import Client
from pinnace.porting.layout import TableEntry
from pinnace.records import Artifact


class WrongBytes(Exception):
    """What came is not what was recorded."""


class Table:
    """A file of rows; it has its name when it is closed without an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._file = self._partial.open("wb")
        self._sha256 = hashlib.sha256()
        self._rows = self._size = 0
        # Of one spelling, whatever order a database has given.
        self._encoder = msgspec.json.Encoder(order="sorted")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def add(self, row: Any) -> None:
        line = self._encoder.encode(row) + b"\n"
        self._file.write(line)
        self._sha256.update(line)
        self._rows += 1
        self._size += len(line)

    @property
    def entry(self) -> TableEntry:
        return TableEntry(rows=self._rows, size=self._size, sha256=self._sha256.hexdigest())


def replace(path: Path, content: bytes) -> None:
    """Write the file whole."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def holds(target: Path, artifact: Artifact) -> bool:
    """Whether the file has the artifact's bytes."""
    if target.is_symlink() or not target.is_file() or target.stat().st_size != artifact.size:
        return False
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256


def fetch(client: Client, artifact: Artifact, target: Path, advanced: Callable[[int], None]) -> None:
    """Download into `target`, whose folder is there. An answer that breaks off goes on as long as that brings more.

    Raises WrongBytes, ApiError, OSError.
    """
    partial = target.with_name(f".{target.name}.part")
    sha256 = hashlib.sha256()
    size = 0
    try:
        with partial.open("wb") as file:

            def take(block: bytes) -> None:
                nonlocal size
                file.write(block)
                sha256.update(block)
                size += len(block)
                advanced(len(block))

            client.download(artifact, take)
            file.flush()
            os.fsync(file.fileno())
        if (size, sha256.hexdigest()) != (artifact.size, artifact.sha256):
            raise WrongBytes(f"{size} bytes with the SHA-256 {sha256.hexdigest()} came")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
