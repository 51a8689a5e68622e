"""From a store to a file: an artifact's bytes, compared with what was recorded on the way."""

import errno
import hashlib
import io
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from pinnace.compression import NotDecodable, Sink, unpacked
from pinnace.errors import PinnaceError
from pinnace.records import Artifact
from pinnace.stores.store import Store, TransientStoreError

#: What file systems without hard links answer.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class DigestMismatch(PinnaceError):
    """The store's bytes are not those that the API recorded."""


class LocalFileError(PinnaceError):
    """The local file is in the way or can't be written."""


class Source(Protocol):
    """A store, as far as bytes are read from it, or what stands for one."""

    def get(self, key: str, sink: Sink, *, start: int = 0) -> object: ...


def retrieve(
    store: Source, artifact: Artifact, target: Path, *, replace: bool, advanced: Callable[[int], None] = lambda _: None
) -> None:
    """Put the bytes of `artifact` into `target`: complete, compared and fsynced, or not at all.

    An answer that breaks off is taken up again where it ended, as long as that brings more bytes. Raises
    DigestMismatch, LocalFileError, StoreError. Memory does not depend on the size.
    """
    if not replace and target.exists():
        raise LocalFileError(f"{_shown(target)} exists", hint="--force replaces it")
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
        raise LocalFileError(f"{_shown(target)} can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def read(store: Store, artifact: Artifact) -> bytes:
    """The bytes of a small `artifact`, compared. Raises DigestMismatch, StoreError."""
    held = io.BytesIO()
    received = _Received(held, artifact, lambda _: None)
    _fetch(store, artifact, received)
    received.compare()
    return held.getvalue()


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


def _fetch(store: Source, artifact: Artifact, received: _Received) -> None:
    stored, size = artifact.stored, artifact.object_size
    arriving = _Arriving(unpacked(received, stored.encoding if stored else None, artifact.size))
    try:
        _fetch_all(store, artifact.location.key, arriving, size)
    except NotDecodable as error:
        raise _mismatch(artifact, str(error)) from error
    if stored and arriving.size != size:
        raise _mismatch(artifact, f"{arriving.size} compressed bytes instead of {size}")


def _fetch_all(store: Source, key: str, arriving: _Arriving, size: int) -> None:
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
            raise LocalFileError(f"{_shown(target)} exists", hint="--force replaces it") from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            partial.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _shown(path: Path) -> str:
    """For people, whatever whoever named it put into the name."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
