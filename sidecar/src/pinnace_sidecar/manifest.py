"""`pinnace-manifest.json`: the names of the files that make one set, written beside them when they are complete. Pure.

A set may be one shard of a checkpoint that several workers write, each on its own volume. Whoever ships the set need
not know; whoever restores the checkpoint does (checkpoints.py).

The text comes from somebody we don't trust: size and number are bounded, and no name leads out of the manifest's own
folder. docs/reference/manifest.md says the same to people who write one.
"""

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pinnace.errors import PinnaceError
from pinnace.naming import MANIFEST_NAME
from pinnace.records import Sha256
from pinnace_sidecar.files import folder_of

MAX_MANIFEST_BYTES: Final = 4 * 2**20
MAX_FILES: Final = 10_000
MAX_WORKERS: Final = 1024
_MAX_PATH_BYTES: Final = 4096


class InvalidManifest(PinnaceError):
    """This text says nothing about a set. It stays so until the file is written again."""


class _File(msgspec.Struct, frozen=True):
    path: Annotated[str, Meta(min_length=1)]
    size: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    sha256: Sha256 | None = None
    shared: bool = False


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """Whose part of a checkpoint a set is."""

    worker: Annotated[int, Meta(ge=0, lt=MAX_WORKERS)]
    workers: Annotated[int, Meta(ge=1, le=MAX_WORKERS)]
    #: What the shards of one checkpoint have in common beside their folder, and those of no other.
    of: Annotated[str, Meta(max_length=512)] = ""


class _Document(msgspec.Struct, frozen=True):
    files: Annotated[list[_File], Meta(min_length=1, max_length=MAX_FILES)]
    version: Annotated[int, Meta(ge=1, le=1)] = 1
    #: Tells this write of the set from others of the same names.
    written: Annotated[str, Meta(max_length=512)] = ""
    shard: Shard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of a set; `path` relative to the volume. `size` and `sha256` are None where the manifest has none."""

    path: str
    size: int | None = None
    sha256: str | None = None
    #: Whether the other workers need it as well.
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """All that a manifest says; `shard`: None is a set that is whole without others."""

    members: tuple[Member, ...]
    shard: Shard | None = None


def is_manifest(path: str) -> bool:
    """Whether the file at `path` is the manifest of its folder."""
    return path.rpartition("/")[2] == MANIFEST_NAME


def parse(text: bytes, path: str) -> tuple[Member, ...]:
    """The set that the manifest at `path` names, in its own order. Raises InvalidManifest."""
    return named(text, path).members


def named(text: bytes, path: str) -> Named:
    """What the manifest at `path` says. Raises InvalidManifest."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise InvalidManifest(f"{path} has more than {MAX_MANIFEST_BYTES} bytes")
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidManifest(f"{path}: {error}") from error
    folder = folder_of(path)
    members: dict[str, Member] = {}
    for number, file in enumerate(document.files):
        if why := _wrong(file.path):
            raise InvalidManifest(f"{path}: files[{number}].path {why}")
        inside = f"{folder}/{file.path}" if folder else file.path
        if inside == path:
            raise InvalidManifest(f"{path}: files[{number}].path is the manifest itself")
        if inside in members:
            raise InvalidManifest(f"{path}: files[{number}].path is named twice")
        members[inside] = Member(path=inside, size=file.size, sha256=file.sha256, shared=file.shared)
    shard = document.shard
    if shard is not None and shard.worker >= shard.workers:
        raise InvalidManifest(f"{path}: shard.worker is {shard.worker}, and there are {shard.workers} from 0")
    if shard is not None and not document.written:
        # Equal manifests are one row, whose set is that of the first: shards of two writes would come back together.
        raise InvalidManifest(f"{path}: a shard needs `written`, a text that only this write of it has")
    return Named(members=tuple(members.values()), shard=shard)


def _wrong(path: str) -> str:
    """What is wrong with a name; empty when nothing is."""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "is no text"
    if length > _MAX_PATH_BYTES:
        return f"has more than {_MAX_PATH_BYTES} bytes"
    if "\0" in path:
        return "holds a NUL"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "must be relative to the manifest's folder, without empty parts, '.' and '..'"
    return ""
