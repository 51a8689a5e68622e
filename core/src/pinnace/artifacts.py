"""For training code: say that a file is complete, so that it is shipped at once and never half written.

Needs the standard library, Linux, and a file system; no network, no settings. Whoever writes a file uses `writing`; for
a file that a library has written there is `complete`, and for a folder of files that belong together `complete_set`.
"""

import json
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pinnace.naming import DONE_SUFFIX, MANIFEST_NAME

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


def complete_set(
    folder: str | os.PathLike[str],
    *,
    shard: tuple[int, int] | None = None,
    shared: Collection[str] = (),
    of: str = "",
) -> None:
    """Say that the files in `folder` are complete and one set: pinnace-manifest.json appears when they are durable.

    It names all that lies there, in folders inside it too, but for what is not shipped by default. `shard` is for a
    checkpoint of several pods: this pod's number and how many there are (PINNACE_WORKER and PINNACE_WORKERS). Each
    calls this for a folder of the same name, when its own files are written. `shared` are those that the other pods
    need as well; `of` is what the shards of one checkpoint have in common and those of no other, where a folder is
    written more than once. Safe to repeat. Raises OSError, and ValueError for a folder without files, for `shared`
    files that are not there, and for a number that is none of so many.
    """
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard must be (number, how many) with a number from 0, not {shard}")
    root = Path(folder)
    files = sorted(_shipped_in(root))
    names = [file.relative_to(root).as_posix() for file in files]
    if not names or not set(shared) <= set(names):
        raise ValueError(f"{root} has no {', '.join(sorted(set(shared) - set(names))) or 'files'}")
    for file in files:
        _sync(file, os.O_RDONLY)
    for inside in {parent for file in files for parent in file.parents if root in parent.parents}:
        _sync_folder(inside)
    listed = [
        {"path": name, "size": file.stat().st_size, **({"shared": True} if name in shared else {})}
        for name, file in zip(names, files, strict=True)
    ]
    # So that no other write of this folder, whose names and sizes may be the same, has the same manifest.
    said: dict[str, object] = {"written": str(max(file.stat().st_mtime_ns for file in files)), "files": listed}
    if shard is not None:
        said["shard"] = {"worker": shard[0], "workers": shard[1], "of": of}
    with writing(root / MANIFEST_NAME, "w", encoding="utf-8") as manifest:
        json.dump(said, manifest)


def _shipped_in(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        ours = path.name == MANIFEST_NAME and path.parent == root
        if not ours and path.suffix not in (PART_SUFFIX, ".tmp", DONE_SUFFIX) and path.is_file():
            yield path


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
