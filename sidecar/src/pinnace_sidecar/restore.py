"""`python -m pinnace_sidecar restore`: before a pod's training starts, bring its iteration's last checkpoint back.

What comes back is the last checkpoint that is whole (docs/reference/manifest.md), of all workers, or, where there is no
set, the newest content of each path. Each file is compared with its recorded digest and appears whole or not at all. A
volume that somebody has written to is left as it is: its training has begun, and may have come farther than what is
recorded.
"""

import hashlib
import logging
import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Annotated, Final, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from pinnace.client import ApiError, Client, NotFound
from pinnace.errors import PinnaceError
from pinnace.records import Artifact, ArtifactSet, Backend
from pinnace.settings import SIDECAR_PREFIX, ClientSettings, SidecarSettings, StoreSettings, load, load_store
from pinnace.stores.credentials import CredentialsSource
from pinnace.stores.retrieval import DigestMismatch, read, retrieve
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import Store, StoreError
from pinnace_sidecar import backoff, log_lines, summary
from pinnace_sidecar.assembly import API_TIMEOUT_S, credentials_of
from pinnace_sidecar.checkpoints import NotRestored, Part, Seat, Shards, files, whole
from pinnace_sidecar.clock import Clock, SystemClock
from pinnace_sidecar.files import LocalVolume, local_path
from pinnace_sidecar.manifest import MAX_MANIFEST_BYTES, MAX_WORKERS, InvalidManifest, Named, named
from pinnace_sidecar.patterns import Patterns

RESTORE_PREFIX: Final = "PINNACE_RESTORE_"

#: What `retrieve` calls a file that is not whole yet.
_PARTIAL: Final = (".pinnace-", ".part")
#: Bytes that are not the recorded ones are fetched so often; something on the way may have spoilt them.
_ATTEMPTS_AT_DIGEST: Final = 3
_LONGEST_PAUSE_S: Final = 15.0
_PIECE_BYTES: Final = 2**20

_log = logging.getLogger(__name__)


class RestoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is to come back. `PINNACE_RESTORE_<FIELD>`; the rest is the sidecar's and the store's settings."""

    #: Globs: of manifests, and where none of these names a set, of files. Empty: the last set, whichever it is.
    include: tuple[str, ...] = ()
    #: After so long without store or API it is given up.
    timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    #: Which of the iteration's pods this is, counted from 0, and how many there are.
    worker: Annotated[int, Meta(ge=0, lt=MAX_WORKERS)] = 0
    workers: Annotated[int, Meta(ge=1, le=MAX_WORKERS)] = 1
    shards: Shards = Shards.OWN


class Api(Protocol):
    """What is asked of the metadata API; pinnace.client.Client has it. Raises ApiError."""

    def artifact_sets(self, iteration_id: UUID, /) -> Iterable[ArtifactSet]:
        """Of this iteration; all their files were recorded."""
        ...

    def iteration_artifacts(self, iteration_id: UUID, /, *, manifest: UUID | None = None) -> Iterable[Artifact]:
        """All, or the files of one set, those that were removed included."""
        ...


def main(environ: Mapping[str, str]) -> int:
    """0: the checkpoint is there, or there is none. 1: it can't be brought back; the termination message says why."""
    log_lines.begin("info")
    # Whoever the training runs as may overwrite what is brought back.
    os.umask(0)
    message = Path("/dev/termination-log")
    try:
        own = load(SidecarSettings, environ, SIDECAR_PREFIX)
        message = Path(own.termination_message)
        log_lines.begin(own.log_level)
        wanted, store = load(RestoreSettings, environ, RESTORE_PREFIX), load_store(environ)
        client = ClientSettings(api_url=own.api_url, api_token_file=own.api_token_file, api_ca_file=own.api_ca_file)
        with Client(client, timeout=API_TIMEOUT_S) as api, ExitStack() as stores:
            Restoring(
                iteration=own.iteration_id,
                settings=wanted,
                volume=Path(own.artifacts_dir),
                api=api,
                store=_stores(store, credentials_of(own, store, api), stores),
                clock=SystemClock(),
            ).run()
    except (PinnaceError, OSError) as error:
        _log.error("nothing is restored", extra={"error": str(error)})
        summary.leave_text(message, str(error))
        print(f"pinnace_sidecar restore: {error}", file=sys.stderr)
        return 1
    return 0


def chosen(
    api: Api, iteration: UUID, include: tuple[str, ...], seat: Seat, text: Callable[[Artifact], bytes]
) -> tuple[Artifact, ...]:
    """What is to come back, a manifest last; nothing where nothing is recorded. `text` gives a manifest's.

    Memory holds manifests and what is chosen, not what else the iteration has. Raises NotRestored, and what `api` and
    `text` raise.
    """
    patterns = Patterns(include or ("**",))
    try:
        manifests = [
            each.manifest
            for each in api.artifact_sets(iteration)
            if patterns.match(each.manifest.path) and not each.manifest.suspect
        ]
        for checkpoint in whole(manifests, lambda manifest: _named(manifest, text)):
            ids = [part.manifest.id for part in checkpoint]
            contents = {id_: tuple(api.iteration_artifacts(iteration, manifest=id_)) for id_ in ids}
            if all(map(_is_there, checkpoint, contents.values())):
                return files(checkpoint, contents, seat)
        # Pieces of sets are no checkpoint, so loose files come back only where nobody makes sets.
        return () if manifests or not include else _loose(api.iteration_artifacts(iteration), patterns)
    except NotFound:
        # The operator has not told the API of the iteration yet, so nothing is recorded of it.
        return ()


def _named(manifest: Artifact, text: Callable[[Artifact], bytes]) -> Named | None:
    try:
        return named(text(manifest), local_path(manifest.path))
    except InvalidManifest:
        return None


def _is_there(part: Part, contents: Sequence[Artifact]) -> bool:
    """Whether every file that it names can still be had."""
    kept = {local_path(artifact.path) for artifact in contents if not artifact.removed}
    return kept == {member.path for member in part.named.members}


def _loose(artifacts: Iterable[Artifact], patterns: Patterns) -> tuple[Artifact, ...]:
    newest: dict[str, Artifact] = {}
    for artifact in artifacts:
        if not artifact.suspect and not artifact.removed and patterns.match(artifact.path):
            newest[artifact.path] = _newest(newest.get(artifact.path), artifact)
    return tuple(newest.values())


def _newest(one: Artifact | None, other: Artifact) -> Artifact:
    return other if one is None or other.modified_at >= one.modified_at else one


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """`run` once. `store` gives the store that an artifact lies in."""

    iteration: UUID
    settings: RestoreSettings
    volume: Path
    api: Api
    store: Callable[[Artifact], Store]
    clock: Clock

    def run(self) -> int:
        """Bring everything back; returns how many files there are. Raises NotRestored."""
        deadline = self.clock.monotonic() + self.settings.timeout_seconds
        tries, spoilt = backoff.NONE, 0
        while True:
            try:
                return self._try()
            except (ApiError, StoreError, DigestMismatch) as error:
                spoilt += isinstance(error, DigestMismatch)
                now = self.clock.monotonic()
                if now >= deadline or spoilt >= _ATTEMPTS_AT_DIGEST:
                    raise NotRestored(
                        f"the checkpoint can't be restored: {error}",
                        hint="mend what it names, or set spec.restore.enabled to false to begin from nothing",
                    ) from error
                _log.warning("not restored yet", extra={"error": str(error)})
                tries = tries.failed(now, random.Random(), longest=_LONGEST_PAUSE_S)  # noqa: S311 - spreads retries
                self.clock.wait(Event(), min(tries.due_at, deadline) - now)

    def _try(self) -> int:
        own = self.settings
        seat = Seat(worker=own.worker, workers=own.workers, shards=own.shards)
        wanted = chosen(self.api, self.iteration, own.include, seat, self._read)
        targets = {local_path(file.path): file for file in wanted}
        for path in targets:
            _check(path)
        if not wanted:
            _log.info("nothing to restore")
            return 0
        present = self._present(targets)
        if present is None:
            _log.info("nothing is restored: this volume has been written to before")
            return 0
        for path, file in targets.items():
            if path not in present:
                self._fetch(file, self.volume / path)
        _log.info("restored", extra={"files": len(wanted), "bytes": sum(file.size for file in wanted)})
        return len(wanted)

    def _read(self, manifest: Artifact) -> bytes:
        """Raises StoreError and DigestMismatch."""
        if manifest.size > MAX_MANIFEST_BYTES:
            return b""
        return read(self._store(manifest), manifest)

    def _store(self, file: Artifact) -> Store:
        if file.location.backend is not Backend.S3:
            raise NotRestored(
                f"{file.path} of the checkpoint was moved out of its store, and pods read from stores only",
                hint="let `pinnace migrate-artifacts --to s3` move it to their bucket, or set spec.restore.enabled to"
                " false to begin from nothing",
            )
        return self.store(file)

    def _present(self, targets: Mapping[str, Artifact]) -> set[str] | None:
        """Those that an earlier try brought back; None: there is something else on the volume."""
        present: set[str] = set()
        for folder in LocalVolume(str(self.volume)).scan(lambda _: None):
            for entry in folder.entries:
                if _is_partial(entry.path):
                    (self.volume / entry.path).unlink()
                    continue
                file = targets.get(entry.path)
                if file is None or entry.fingerprint is None or not _is(file, self.volume / entry.path):
                    return None
                present.add(entry.path)
        return present

    def _fetch(self, file: Artifact, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        retrieve(self._store(file), file, target, replace=False)
        # As it was: a manifest covers what is not younger than itself.
        seconds = file.modified_at.timestamp()
        os.utime(target, (seconds, seconds))


def _check(path: str) -> None:
    """Raise NotRestored for a path that leads out of the volume: the API refuses those, and whoever wrote there isn't
    ours to trust."""
    if path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise NotRestored(f"an artifact of the checkpoint has the path {path!r}, which leads out of the volume")


def _is_partial(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(_PARTIAL[0]) and name.endswith(_PARTIAL[1])


def _is(file: Artifact, path: Path) -> bool:
    if path.stat().st_size != file.size:
        return False
    sha256 = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            sha256.update(piece)
    return sha256.hexdigest() == file.sha256


def _stores(own: StoreSettings, credentials: CredentialsSource, opened: ExitStack) -> Callable[[Artifact], Store]:
    """By bucket: an artifact may lie where the store's settings pointed to earlier."""
    stores: dict[tuple[str, str], S3Store] = {}

    def store_of(artifact: Artifact) -> Store:
        there = artifact.location
        if (there.bucket, there.region) not in stores:
            settings = msgspec.structs.replace(own, bucket=there.bucket, region=there.region or own.region)
            store = S3Store(settings, credentials)
            opened.callback(store.close)
            stores[there.bucket, there.region] = store
        return stores[there.bucket, there.region]

    return store_of
