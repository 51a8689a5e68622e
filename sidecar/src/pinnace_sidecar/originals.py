"""The files of the volume that are copied: how each is to look before and after, and why a copy may not come about."""

import errno
from typing import Final

import msgspec

from pinnace.digests import Digests, digest_of
from pinnace.errors import PinnaceError
from pinnace_sidecar.files import Fingerprint, OpenFile, Volume

#: Small enough to stay in the processor's cache from reading to digests to writing.
CHUNK_BYTES: Final = 2**20
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
#: Not there, or no longer a file below real folders (a link was put in the way).
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR})


class CopyError(PinnaceError):
    """No copy was made; nothing is left behind. `code` fits records.Problem.reason."""

    code = "CopyFailed"


class Changed(CopyError):
    """The file was written to meanwhile: it isn't complete after all."""

    code = "FileChanged"


class Gone(CopyError):
    """The file isn't there any more."""

    code = "FileGone"


class Unreadable(CopyError):
    """We may not read the file. Trying again can't help until its rights change."""

    code = "FileUnreadable"


class VolumeFailed(CopyError):
    """Reading the volume failed. Trying again can help."""

    code = "VolumeReadFailed"


class Order(msgspec.Struct, frozen=True):
    """A file to copy: `fingerprint` is how it must look before and after. `settled_at` in seconds since the epoch;
    `zstd_level` 0: not compressed.
    """

    path: str
    fingerprint: Fingerprint
    part_size: int
    suspect: bool = False
    settled_at: float = 0.0
    zstd_level: int = 0


def content(volume: Volume, order: Order) -> tuple[bytes, Digests]:
    """The whole of a small file, read once and looking the same before and after."""
    source = reading(volume, order)
    try:
        data = read(source, order.path, order.fingerprint.size) if order.fingerprint.size else b""
        compare(source.fingerprint(), order)
    finally:
        source.close()
    if len(data) != order.fingerprint.size:
        raise too_short(order, len(data))
    return data, Digests(content=digest_of(data, order.part_size))


def reading(volume: Volume, order: Order) -> OpenFile:
    """The file, open, when it looks as it should. Raises CopyError, as do the other functions in here."""
    try:
        source = volume.open(order.path)
    except OSError as error:
        raise _volume_error(error, order.path) from error
    try:
        compare(source.found, order)
    except BaseException:
        source.close()
        raise
    return source


def compare(found: Fingerprint, order: Order) -> None:
    """Raise Changed unless this is how the file should look."""
    if found != order.fingerprint:
        raise Changed(f"{order.path} changed while it was being copied")


def read(source: OpenFile, path: str, left: int) -> bytes:
    """The next bytes of the file, at most `left` and CHUNK_BYTES; none at its end."""
    try:
        return source.read(min(left, CHUNK_BYTES))
    except OSError as error:
        raise _volume_error(error, path) from error


def too_short(order: Order, size: int) -> Changed:
    """The error for a file of which only `size` bytes could be read."""
    return Changed(f"{order.path} had {order.fingerprint.size} bytes, and {size} could be read")


def _volume_error(error: OSError, path: str) -> CopyError:
    if error.errno in _GONE:
        return Gone(f"{path} is gone")
    if error.errno in _FORBIDDEN:
        return Unreadable(
            f"{path} can't be read: {error.strerror}",
            hint="let the training container's umask or fsGroup give the pod's group the right to read",
        )
    return VolumeFailed(f"reading {path} failed: {error.strerror or error}", hint="check the volume's health")
