"""A source into an API: by calls that are harmless to repeat, each iteration's end as its last one.

So an import that was broken off is simply run again: what has ended is passed over, and what is there is not sent
again. What is in the API stays as it is; only what is missing is added. What can't be taken is told with its place.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from pinnace import ids
from pinnace.client import Client, Conflict, Invalid, NotFound
from pinnace.porting import registry
from pinnace.porting.imported import Imported, Step
from pinnace.porting.rows import ArtifactRow, DatasetRow, ExperimentRow, IterationRow, SetRow
from pinnace.porting.source import Entry, Problems, Source
from pinnace.records import (
    ENDED_STATES,
    Artifact,
    ArtifactPatch,
    DatasetUseWrite,
    DatasetWrite,
    ExperimentPatch,
    ExperimentStatus,
    ExperimentWrite,
    Iteration,
    IterationPatch,
    IterationState,
    IterationWrite,
    Lifecycle,
    MetricPoint,
    ProjectPatch,
    ProjectWrite,
)

_Sent = TypeVar("_Sent", bound=msgspec.Struct)
_MAX_POINTS: Final = 5_000


def import_project(
    client: Client,
    source: Source,
    problems: Problems,
    *,
    dry_run: bool = False,
    progress: Callable[[Step], None] = lambda _: None,
) -> Imported:
    """Bring the source into its project. `dry_run` reads everything and changes nothing.

    Raises ApiError, OSError: then the same call goes on where this one ended.
    """
    return _Import(client, source, problems, dry_run=dry_run, progress=progress).run()


class _Import:
    def __init__(
        self, client: Client, source: Source, problems: Problems, *, dry_run: bool, progress: Callable[[Step], None]
    ) -> None:
        self._client = client
        self._source = source
        self._problems = problems
        self._dry_run = dry_run
        self._progress = progress
        self._row = source.project()
        self.done = Imported(project=self._row.name, dry_run=dry_run, left_out=source.left_out)
        self._step = Step(0, 0)
        #: Experiments that are there as they should be.
        self._experiments: set[UUID] = set()
        #: Iterations that used an artifact which was not there yet, and those whose parent was not.
        self._waiting: list[Entry[IterationRow]] = []
        self._orphans: list[tuple[str, UUID, UUID]] = []

    def run(self) -> Imported:
        self._project()
        for experiment in self._source.experiments():
            with self._problems.of(experiment.place):
                self._experiment(experiment.value)
        for dataset in self._source.datasets():
            with self._problems.of(dataset.place):
                self._dataset(dataset.value)
        for iteration in self._source.iterations():
            with self._problems.of(iteration.place):
                self._iteration(iteration)
            self._advance(iterations=1)
        for iteration in self._waiting:
            with self._problems.of(iteration.place):
                self._end(iteration.value)
        for place, id_, parent in self._orphans:
            with self._problems.of(place):
                self._client.patch_iteration(id_, IterationPatch(parent_id=parent))
        registry.bring(self._client, self._source, self._problems, self.done)
        for experiment in self._source.experiments() if not self._dry_run else ():
            if experiment.value.id in self._experiments:
                with self._problems.of(experiment.place):
                    self._put_away(experiment.value)
        if self._row.lifecycle is not Lifecycle.ACTIVE and not self._dry_run:
            self._client.patch_project(self._row.name, ProjectPatch(lifecycle=self._row.lifecycle))
        self.done.problems = self._problems.count
        return self.done

    def _project(self) -> None:
        row = self._row
        try:
            self._client.project(row.name)
        except NotFound:
            if not self._dry_run:
                self._client.put_project(row.name, ProjectWrite(description=row.description, tags=row.tags))

    def _experiment(self, row: ExperimentRow) -> None:
        try:
            there = self._client.experiment(row.id)
        except NotFound:
            if not self._dry_run:
                write = ExperimentWrite(
                    project=self._row.name,
                    name=row.name,
                    namespace=row.namespace,
                    description=row.description,
                    tags=row.tags,
                )
                self._client.put_experiment(row.id, write)
            self.done.experiments += 1
        else:
            if there.project != self._row.name:
                raise Conflict(
                    f"experiment {row.id} is there, in project {there.project!r}",
                    hint="what comes from this API can't be brought into it once more under another name",
                )
        self._experiments.add(row.id)

    def _dataset(self, row: DatasetRow) -> None:
        id_ = ids.dataset_id(self._row.name, row.name, row.digest)
        try:
            self._client.dataset(id_)
        except NotFound:
            if not self._dry_run:
                self._client.put_dataset(id_, _same(DatasetWrite, row, project=self._row.name))
            self.done.datasets += 1

    # --- an iteration

    def _iteration(self, entry: Entry[IterationRow]) -> None:
        row = entry.value
        if row.experiment_id not in self._experiments:
            raise NotFound(f"experiment {row.experiment_id}, which it belongs to, was not taken")
        there = self._found(row)
        if there is not None and there.state in ENDED_STATES:
            self.done.present += 1
            self._adopt(entry, there)
            # An end locks metrics and not files: one that could not be read then may be readable now.
            self._artifacts(row, is_new=False)
            return
        if not self._dry_run:
            there = self._begin(entry, is_new=there is None)
        self._points(row)
        self._artifacts(row, is_new=there is None)
        if not self._dry_run and self._uses(row, everything=False):
            self._finish(row)
        elif not self._dry_run:
            self._waiting.append(entry)

    def _found(self, row: IterationRow) -> Iteration | None:
        try:
            there = self._client.iteration(row.id)
        except NotFound:
            self.done.iterations += 1
            return None
        if there.experiment_id != row.experiment_id:
            raise Conflict(f"iteration {row.id} is there, in experiment {there.experiment_id}")
        return there

    def _begin(self, entry: Entry[IterationRow], *, is_new: bool) -> Iteration | None:
        """None when it was not there."""
        row = entry.value
        is_pending = row.state is IterationState.PENDING or (row.state in ENDED_STATES and row.started_at is None)
        is_chosen = row.index is not None and ids.iteration_id(row.experiment_id, row.index) == row.id
        write = _same(
            IterationWrite,
            row,
            index=row.index if is_chosen else None,
            state=IterationState.PENDING if is_pending else IterationState.RUNNING,
            ended_at=None,
            parent_id=None,
        )
        stored = self._client.put_iteration(row.id, write)
        if row.index not in (None, stored.index):
            self.done.renumbered += is_new
        self._adopt(entry, stored)
        return None if is_new else stored

    def _adopt(self, entry: Entry[IterationRow], there: Iteration) -> None:
        """Parents may come after their children."""
        parent = entry.value.parent_id
        if parent is not None and there.parent_id is None and not self._dry_run:
            self._orphans.append((entry.place, there.id, parent))

    def _end(self, row: IterationRow) -> None:
        self._uses(row, everything=True)
        self._finish(row)

    def _finish(self, row: IterationRow) -> None:
        if row.state in ENDED_STATES:
            change = IterationPatch(state=row.state, lifecycle=row.lifecycle)
            if row.ended_at is not None:
                change = IterationPatch(state=row.state, ended_at=row.ended_at, lifecycle=row.lifecycle)
            self._client.patch_iteration(row.id, change)
            return
        if row.lifecycle is not Lifecycle.ACTIVE:
            self._client.patch_iteration(row.id, IterationPatch(lifecycle=row.lifecycle))
        if row.state is IterationState.LOST:
            # Without another sign of life it will be found out to be that.
            self._client.heartbeat(row.id, lease_seconds=1)

    def _points(self, row: IterationRow) -> None:
        lot: list[Entry[MetricPoint]] = []
        for entry in self._source.points(row):
            lot.append(entry)
            if len(lot) == _MAX_POINTS:
                self._send(row.id, lot)
                lot = []
        if lot:
            self._send(row.id, lot)

    def _send(self, iteration: UUID, lot: list[Entry[MetricPoint]]) -> None:
        if self._dry_run:
            self.done.points += len(lot)
            return
        try:
            self.done.points += self._client.put_metrics(iteration, [entry.value for entry in lot]).added
        except Invalid as error:
            if len(lot) == 1:
                self._problems(lot[0].place, str(error))
                return
            half = len(lot) // 2
            self._send(iteration, lot[:half])
            self._send(iteration, lot[half:])

    def _uses(self, row: IterationRow, *, everything: bool) -> bool:
        """Whether all could be said; False when an artifact is not there yet, unless `everything` is to be told."""
        for entry in self._source.uses(row):
            use = entry.value
            if not everything and use.artifact_id is not None and not self._has(use.artifact_id):
                return False
            dataset = ids.dataset_id(self._row.name, use.name, use.digest)
            with self._problems.of(entry.place):
                self._client.use_dataset(use.iteration_id, dataset, _same(DatasetUseWrite, use))
        return True

    def _has(self, artifact: UUID) -> bool:
        try:
            self._client.artifact(artifact)
        except NotFound:
            return False
        return True

    # --- artifacts

    def _artifacts(self, row: IterationRow, *, is_new: bool) -> None:
        there: _Artifacts | None = _Artifacts(()) if is_new else None
        for entry in self._source.artifacts(row):
            there = there or _Artifacts(self._client.iteration_artifacts(row.id))
            with self._problems.of(entry.place):
                self._artifact(entry.value, there)
            self._advance(size=entry.value.size)
        for each in self._source.sets(row) if not self._dry_run else ():
            with self._problems.of(each.place):
                self._set(each.value)

    def _artifact(self, row: ArtifactRow, there: "_Artifacts") -> None:
        if not row.file:
            raise FileNotFoundError("its bytes were lost when it was exported")
        if not row.sha256 and there.seems_to_have(row):
            return
        with _inside(self._source.folder, row.file).open("rb") as file:
            sha256 = row.sha256
            if not sha256 or self._dry_run:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
            if row.sha256 not in ("", sha256):
                raise OSError("its bytes are not those that were exported")
            stored = there.by_id.get(ids.artifact_id(row.iteration_id, row.path, sha256))
            if stored is None:
                self.done.artifacts += 1
                self.done.bytes += row.size
            if self._dry_run:
                return
            if stored is None:
                kind = row.content_type or ""
                stored = self._client.put_file(
                    row.iteration_id, row.path, file, size=row.size, sha256=sha256, content_type=kind
                )
            elif stored.description or stored.tags:
                return
        self._describe(stored, row)

    def _describe(self, stored: Artifact, row: ArtifactRow) -> None:
        kind = stored.content_type if row.content_type is None else row.content_type
        if (stored.content_type, stored.description, stored.tags) != (kind, row.description, row.tags):
            change = ArtifactPatch(content_type=kind, description=row.description, tags=dict(row.tags))
            self._client.patch_artifact(stored.id, change)

    def _set(self, row: SetRow) -> None:
        def id_of(named: tuple[str, str]) -> UUID:
            return ids.artifact_id(row.iteration_id, *named)

        manifest = self._client.artifact(id_of(row.manifest))
        self._client.put_artifacts(row.iteration_id, [manifest], {manifest.id: [id_of(each) for each in row.members]})

    # --- how

    def _put_away(self, row: ExperimentRow) -> None:
        if (row.status, row.lifecycle) == (ExperimentStatus.OPEN, Lifecycle.ACTIVE):
            return
        there = self._client.experiment(row.id)
        if row.status is not there.status:
            self._client.patch_experiment(row.id, ExperimentPatch(status=row.status))
        if row.lifecycle is not there.lifecycle:
            self._client.patch_experiment(row.id, ExperimentPatch(lifecycle=row.lifecycle))

    def _advance(self, *, iterations: int = 0, size: int = 0) -> None:
        self._step = Step(self._step.iterations + iterations, self._step.bytes + size)
        self._progress(self._step)


class _Artifacts:
    """Those that an iteration has in the API."""

    def __init__(self, artifacts: Iterable[Artifact]) -> None:
        self.by_id = {artifact.id: artifact for artifact in artifacts}
        self._sizes = {(artifact.path, artifact.size) for artifact in self.by_id.values()}

    def seems_to_have(self, row: ArtifactRow) -> bool:
        """Without reading its bytes."""
        return (row.path, row.size) in self._sizes


def _same(type_: type[_Sent], row: msgspec.Struct, **others: Any) -> _Sent:
    """What is sent for a row: the fields of the same name, and others."""
    names = set(row.__struct_fields__).difference(others)
    fields = {name: getattr(row, name) for name in type_.__struct_fields__ if name in names}
    return type_(**fields, **others)


def _inside(folder: Path, file: str) -> Path:
    """Where an artifact's bytes are. Raises OSError for what leads out of the folder."""
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"{file} leads out of the folder")
    return path
