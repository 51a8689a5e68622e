"""A copy of artifacts in a folder, for people and ordinary tools: `<dir>/<experiment>-<id>/<number>/<path>`.

Names come from whoever ran the experiments: no part of a path leads elsewhere, no link is followed, and what can't be
in a name is spelled `%XX`. A file appears whole and right or not at all. Of a path's versions the newest has its name;
of an earlier one the first digits of its digest stand before its suffix.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import UUID

import msgspec

from pinnace.file_names import safe, safe_path
from pinnace.records import Artifact
from pinnace_api.database import Database
from pinnace_api.maintenance import objects
from pinnace_api.maintenance.moving import Failure
from pinnace_api.maintenance.objects import Placed
from pinnace_api.refusals import Refused, Unavailable
from pinnace_api.storage.reading import Reading
from pinnace_api.storage.storage import Storage


class Exported(msgspec.Struct, kw_only=True):
    """What came of it. `present`: files that were there with the right content."""

    files: int = 0
    present: int = 0
    bytes: int = 0
    failures: list[Failure] = []


def export(
    database: Database,
    storage: Storage,
    folder: Path,
    *,
    experiment: UUID | None = None,
    iteration: UUID | None = None,
    versions: bool = False,
    progress: Callable[[Exported], None] = lambda _: None,
) -> Exported:
    """Copy the newest content of each path, or all `versions`. The same call again copies what is missing."""
    exported = Exported()
    for placed, is_newest in _chosen(objects.all_placed(database, experiment, iteration)):
        if not is_newest and not versions:
            continue
        artifact = placed.artifact
        target = folder.joinpath(*parts_of(placed, is_newest=is_newest))
        try:
            if _holds(target, artifact):
                exported.present += 1
            else:
                _copy(storage, artifact, folder, target)
                exported.files += 1
                exported.bytes += artifact.size
        except (Refused, OSError) as error:
            cause = error.detail if isinstance(error, Refused) else str(error)
            exported.failures.append(Failure(artifact=str(artifact.id), path=artifact.path, cause=cause))
        progress(exported)
    return exported


def parts_of(placed: Placed, *, is_newest: bool = True) -> tuple[str, ...]:
    """Where an artifact goes below the folder. Pure."""
    artifact = placed.artifact
    experiment = f"{safe(placed.experiment)}-{str(placed.experiment_id)[:8]}"
    return (experiment, str(placed.number), *safe_path(artifact.path, "" if is_newest else artifact.sha256))


def _chosen(all_of_them: Iterable[Placed]) -> Iterable[tuple[Placed, bool]]:
    """Each with whether it is the newest of its path; that is known at the end."""
    everything = list(all_of_them)
    newest: dict[tuple[UUID, str], Placed] = {}
    for placed in everything:
        artifact = placed.artifact
        place = artifact.iteration_id, artifact.path
        if place not in newest or _age(newest[place]) < _age(placed):
            newest[place] = placed
    for placed in everything:
        yield placed, newest[placed.artifact.iteration_id, placed.artifact.path] is placed


def _age(placed: Placed) -> tuple[object, ...]:
    return placed.since, placed.artifact.modified_at, placed.artifact.id


def _holds(target: Path, artifact: Artifact) -> bool:
    if target.is_symlink() or not target.is_file() or target.stat().st_size != artifact.size:
        return False
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256


def _copy(storage: Storage, artifact: Artifact, root: Path, target: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    folder = root
    for part in target.parent.relative_to(root).parts:
        folder /= part
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise Unavailable(f"{folder} is a link, and what is behind it is not written to")
    partial = target.with_name(f".pinnace-{secrets.token_hex(8)}.part")
    reading = Reading(storage.of(artifact.location), artifact)
    try:
        with partial.open("xb") as file:
            while block := reading.next():
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
