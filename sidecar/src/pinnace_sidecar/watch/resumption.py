"""Which iteration a watched folder is of: kept beside the buffer, so that a watch that was killed goes on with it.

One process at a time watches a folder; an exclusive lock on a file of the buffer says so, and ends with its process.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import msgspec

from pinnace import ids
from pinnace.client import ApiError, Client, NotFound
from pinnace.records import ENDED_STATES, ExperimentWrite, IterationPatch, IterationState, IterationWrite
from pinnace.settings import SettingsError

_NAME: Final = "watch.json"


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What is being watched, and as what. `is_own`: the watch made the iteration, and ends it."""

    folder: str
    project: str
    experiment: str
    iteration_id: UUID
    #: In the place of a pod's: tells one watch from another in the identity of metric points.
    watch_id: str
    is_own: bool
    #: The bucket that files go to; empty: the API keeps them; None: an earlier version did not say.
    bucket: str | None = None

    def buffer_in(self, buffer: Path) -> Path:
        """Where the sidecar of this iteration has its journal and its copies."""
        return buffer / str(self.iteration_id)


def buffer_of(folder: Path, environ: Mapping[str, str]) -> Path:
    """Where a person's watch of `folder` keeps its buffer when nothing else is said."""
    state = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "pinnace" / "watch" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]


@contextmanager
def locked(buffer: Path) -> Iterator[None]:
    """While nobody else watches with this buffer. Raises SettingsError when somebody does."""
    buffer.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (buffer / "lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError("another pinnace watch is at work on this folder", hint="end it first") from None
        yield


def begin(
    buffer: Path, folder: Path, *, project: str, experiment: str, iteration: UUID | None, bucket: str, client: Client
) -> Watched:
    """Go on with what the buffer remembers, or begin anew. Raises SettingsError and ApiError.

    What is to be made is written down first: after a crash the same iteration is made, never a second one.
    """
    remembered = watched = _remembered(buffer)
    if watched is not None and watched.is_own and _has_ended(client, watched.iteration_id):
        _forget(buffer, watched)  # it was killed between its last two steps
        watched = None
    if watched is None:
        watched = Watched(
            folder=str(folder),
            project=project,
            experiment=experiment,
            iteration_id=iteration or uuid4(),
            watch_id=str(uuid4()),
            is_own=iteration is None,
            bucket=bucket,
        )
    elif (
        (watched.folder, watched.project, watched.experiment) != (str(folder), project, experiment)
        or iteration not in (None, watched.iteration_id)
        or watched.bucket not in (None, bucket)
    ):
        raise SettingsError(
            f"the buffer {buffer} holds an unfinished watch of {watched.folder} for {watched.project}/"
            f"{watched.experiment}, iteration {watched.iteration_id}, into {watched.bucket or 'the API'}",
            hint="finish it with these options, or name another --buffer",
        )
    if watched.is_own:
        _remember(buffer, watched)
        try:
            _make(client, watched)
        except ApiError as error:
            if remembered is None and not error.transient:
                _forget(buffer, watched)  # nothing was made, and a name that is refused will always be
            raise
    else:
        if _has_ended(client, watched.iteration_id, missing_ok=False):
            raise SettingsError(f"iteration {watched.iteration_id} has ended and takes nothing more")
        _remember(buffer, watched)
    return watched


def finish(buffer: Path, watched: Watched, client: Client) -> None:
    """All is recorded: end the iteration if it is ours, and forget the watch. Safe to call twice."""
    if watched.is_own:
        ended = IterationPatch(state=IterationState.SUCCEEDED, ended_at=datetime.now(UTC))
        client.patch_iteration(watched.iteration_id, ended)
    _forget(buffer, watched)


def _make(client: Client, watched: Watched) -> None:
    known = next(iter(client.experiments(project=watched.project, name=watched.experiment, limit=1)), None)
    if known is None:
        try:
            client.project(watched.project)
        except NotFound:
            client.put_project(watched.project)
        # Two watches that begin at once make the same one.
        chosen = ids.experiment_id(watched.project, watched.experiment)
        known = client.put_experiment(chosen, ExperimentWrite(project=watched.project, name=watched.experiment))
    client.put_iteration(watched.iteration_id, IterationWrite(experiment_id=known.id, state=IterationState.RUNNING))


def _has_ended(client: Client, iteration: UUID, *, missing_ok: bool = True) -> bool:
    try:
        return client.iteration(iteration).state in ENDED_STATES
    except NotFound:
        if not missing_ok:
            raise
        return False


def _forget(buffer: Path, watched: Watched) -> None:
    shutil.rmtree(watched.buffer_in(buffer), ignore_errors=True)
    (buffer / _NAME).unlink(missing_ok=True)


def _remembered(buffer: Path) -> Watched | None:
    try:
        return msgspec.json.decode((buffer / _NAME).read_bytes(), type=Watched)
    except FileNotFoundError:
        return None


def _remember(buffer: Path, watched: Watched) -> None:
    partial = buffer / f"{_NAME}.partial"
    with partial.open("wb") as file:
        file.write(msgspec.json.encode(watched))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(buffer / _NAME)
