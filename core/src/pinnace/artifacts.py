"""For training code: say that a file is complete, so that it is shipped at once and never half written.

Needs the standard library, Linux, and a file system; no network, no settings. Whoever writes a file uses `writing`; for
a file that a library has written there is `complete`.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pinnace.naming import DONE_SUFFIX

#: Ends the name of a file that is being written; among those that are not shipped by default.
PART_SUFFIX = ".part"


@contextmanager
def writing(path: str | os.PathLike[str], mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file to write that appears at `path` when the block ends well: whole, durable, and complete.

    `mode` is `wb` or `w`; `options` go to `open`. A block that raises leaves `path` as it was. Raises OSError as `open`
    does.
    """
    if mode not in ("w", "wt", "wb"):
        raise ValueError(f"mode must be 'w' or 'wb', not {mode!r}: what appears is always a new file")
    target = Path(path)
    # Of its own length: a long name with something behind it would be too long.
    part = target.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        with part.open(mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    _sync_folder(target.parent)


def complete(path: str | os.PathLike[str]) -> None:
    """Say that the file at `path` is complete as it is: its bytes are made durable, then `<path>.done` appears.

    Call it again after each further change; until then the change counts as unfinished. Safe to repeat. Raises OSError:
    FileNotFoundError without such a file, IsADirectoryError for a folder (a set of files has a pinnace-manifest.json).
    """
    target = Path(path)
    file = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
        changed_at = os.fstat(file).st_mtime_ns
    finally:
        os.close(file)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: write a pinnace-manifest.json into it")
    marker = os.open(f"{target}{DONE_SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.utime(marker)
        # A file may be dated into the future; an older marker speaks of an earlier content.
        at = max(changed_at, os.fstat(marker).st_mtime_ns)
        os.utime(marker, ns=(at, at))
        os.fsync(marker)
    finally:
        os.close(marker)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
