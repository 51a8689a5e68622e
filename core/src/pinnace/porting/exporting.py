"""A project into a folder (see layout.py): from lists of the API, a page at a time, and the bytes of its artifacts.

What lies in the trash stays behind. The same call again fetches no bytes that are there. Rows are spelled and ordered
by what they say, never by when this API got them, so the export of an imported project equals the one it came from.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from pinnace.client import ApiError, Client, Conflict
from pinnace.file_names import safe, safe_path
from pinnace.porting import layout, writing
from pinnace.porting.imported import Step
from pinnace.porting.layout import Manifest, PointRow
from pinnace.porting.rows import (
    ArtifactRow,
    DatasetRow,
    ExperimentRow,
    IterationRow,
    ModelRow,
    ProjectRow,
    SetRow,
    UseRow,
    VersionRow,
)
from pinnace.porting.source import Problems
from pinnace.porting.writing import Table, WrongBytes
from pinnace.records import Artifact, Experiment, Iteration, Lifecycle, Project, Shown
from pinnace.records.record import Record


class Exported(Record, frozen=True, kw_only=True):
    """What came of it. `present`: artifacts whose bytes were there already."""

    project: str
    folder: str
    experiments: int
    iterations: int
    points: int
    artifacts: int
    present: int
    bytes: int
    problems: int


def export_project(
    client: Client, project: str, folder: Path, problems: Problems, progress: Callable[[Step], None] = lambda _: None
) -> Exported:
    """Write the project. Raises ApiError, OSError: then the same call goes on where this one ended."""
    whole = client.project(project)
    if whole.lifecycle is Lifecycle.TRASHED:
        raise Conflict(f"project {project!r} is in the trash", code="trashed", hint="take it back first")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / layout.MANIFEST).unlink(missing_ok=True)
    writing.replace(folder / layout.PROJECT, msgspec.json.format(_encoded(_row(ProjectRow, whole))) + b"\n")
    with ExitStack() as stack:
        tables = {name: stack.enter_context(Table(folder / name)) for name in layout.TABLES}
        export = _Export(client, whole, folder, tables=tables, problems=problems, progress=progress)
        export.run()
    entries = {name: table.entry for name, table in tables.items()}
    manifest = Manifest(
        project=project,
        tables=entries,
        artifacts=export.present + export.fetched,
        artifact_bytes=export.bytes,
        problems=problems.count,
    )
    writing.replace(folder / layout.MANIFEST, msgspec.json.format(_encoded(manifest)) + b"\n")
    return Exported(
        project=project,
        folder=str(folder),
        experiments=entries[layout.EXPERIMENTS].rows,
        iterations=entries[layout.ITERATIONS].rows,
        points=entries[layout.POINTS].rows,
        artifacts=manifest.artifacts,
        present=export.present,
        bytes=export.bytes,
        problems=problems.count,
    )


class _Export:
    def __init__(
        self,
        client: Client,
        project: Project,
        folder: Path,
        *,
        tables: dict[str, Table],
        problems: Problems,
        progress: Callable[[Step], None],
    ) -> None:
        self._client = client
        self._project = project
        self._folder = folder
        self._tables = tables
        self._problems = problems
        self._progress = progress
        self._iterations = 0
        self.present = self.fetched = self.bytes = 0

    def run(self) -> None:
        client, name = self._client, self._project.name
        self._origin("project", name, self._project, "created_at", "created_by")
        for dataset in sorted(client.datasets(project=name), key=lambda each: (each.name, each.digest)):
            self._add(layout.DATASETS, _row(DatasetRow, dataset))
            self._origin("dataset", dataset.id, dataset, "created_at", "created_by")
        # The list has the newest first.
        for experiment in reversed(list(client.experiments(project=name, lifecycle=Shown.ALL))):
            if experiment.lifecycle is not Lifecycle.TRASHED:
                self._experiment(experiment)
        for model in client.models(project=name, lifecycle=Shown.ALL):
            if model.lifecycle is not Lifecycle.TRASHED:
                self._add(layout.MODELS, _row(ModelRow, model))
                self._origin("model", model.id, model, "created_at", "created_by")
                self._versions(model.name)

    def _experiment(self, experiment: Experiment) -> None:
        self._add(layout.EXPERIMENTS, _row(ExperimentRow, experiment))
        self._origin("experiment", experiment.id, experiment, "created_at", "created_by", "ended_at")
        for iteration in self._client.iterations(experiment.id, lifecycle=Shown.ALL):
            if iteration.lifecycle is not Lifecycle.TRASHED:
                self._iteration(experiment, iteration)
                self._iterations += 1
                self._step()

    def _iteration(self, experiment: Experiment, iteration: Iteration) -> None:
        client, id_ = self._client, iteration.id
        parent = iteration.parent_id
        if parent is not None and client.iteration(parent).lifecycle is Lifecycle.TRASHED:
            parent = None
        row = _row(IterationRow, iteration, parent_id=parent, environment=client.environment(id_))
        self._add(layout.ITERATIONS, row)
        self._origin("iteration", id_, iteration, "created_at", "created_by", "heartbeat_at")
        for point in client.metrics(id_) if iteration.metrics else ():
            self._add(layout.POINTS, _row(PointRow, point, iteration_id=id_))
        for use in client.iteration_datasets(id_):
            dataset = use.dataset
            self._add(layout.USES, _row(UseRow, use, name=dataset.name, digest=dataset.digest))
            self._origin("use", dataset.id, use, "iteration_id", "used_at")
        newest = {artifact.path: artifact.id for artifact in client.iteration_artifacts(id_)}
        if newest:
            self._artifacts(experiment, iteration, newest)

    def _artifacts(self, experiment: Experiment, iteration: Iteration, newest: Mapping[str, UUID]) -> None:
        client, id_ = self._client, iteration.id
        place = Path(layout.BYTES, f"{safe(experiment.name)}-{str(experiment.id)[:8]}", str(iteration.index))
        for artifact in client.iteration_artifacts(id_):
            self._artifact(artifact, place, is_newest=newest.get(artifact.path) == artifact.id)
        for each in client.artifact_sets(id_):
            members = client.artifact_set_members(each.manifest.id)
            named = sorted((member.path, member.sha256) for member in members)
            manifest = each.manifest.path, each.manifest.sha256
            self._add(layout.SETS, SetRow(iteration_id=id_, manifest=manifest, members=tuple(named)))

    def _versions(self, model: str) -> None:
        client, name = self._client, self._project.name
        versions = client.model_versions(name, model, lifecycle=Shown.ALL)
        for version in sorted(versions, key=lambda each: each.number):
            if version.lifecycle is Lifecycle.TRASHED:
                continue
            artifact = None
            if version.artifact_id is not None:
                found = client.artifact(version.artifact_id)
                artifact = found.path, found.sha256
            self._add(layout.VERSIONS, _row(VersionRow, version, artifact=artifact))
            self._origin("version", version.id, version, "created_at", "created_by")
        for transition in client.model_transitions(name, model):
            self._origin("transition", transition.version_id, transition, "before", "after", "at", "by", "comment")

    # --- artifacts

    def _artifact(self, artifact: Artifact, place: Path, *, is_newest: bool) -> None:
        parts = safe_path(artifact.path, "" if is_newest else artifact.sha256)
        file = ""
        # A path may be a file's now and have been a folder's before.
        for target in (place.joinpath(*parts), place / f"%{artifact.id}"):
            try:
                self._fetch(artifact, target)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
            except (ApiError, WrongBytes) as error:
                if isinstance(error, ApiError) and (error.transient or error.status == 401):
                    raise
                self._problems(f"artifact {artifact.id} ({artifact.path})", str(error))
            else:
                file = target.as_posix()
            break
        else:
            self._problems(f"artifact {artifact.id} ({artifact.path})", "something else has its name in the folder")
        self._add(layout.ARTIFACTS, _row(ArtifactRow, artifact, file=file))
        said = "recorded_at", "created_by", "modified_at", "suspect", "pod_uid", "crc32c", "location"
        self._origin("artifact", artifact.id, artifact, *said)

    def _fetch(self, artifact: Artifact, target: Path) -> None:
        path = self._folder
        for part in target.parent.parts:
            path /= part
            path.mkdir(exist_ok=True)
            if path.is_symlink():
                raise NotADirectoryError(f"{path} is a link, and what is behind it is not written to")
        path /= target.name
        if path.is_dir():
            raise IsADirectoryError(str(path))
        if writing.holds(path, artifact):
            self.present += 1
            self.bytes += artifact.size
        else:
            begun = self.bytes
            try:
                writing.fetch(self._client, artifact, path, self._advance)
            except BaseException:
                self.bytes = begun
                raise
            self.fetched += 1
        self._step()

    def _advance(self, count: int) -> None:
        self.bytes += count
        self._step()

    # --- how

    def _step(self) -> None:
        self._progress(Step(self._iterations, self.bytes))

    def _add(self, table: str, row: Record) -> None:
        self._tables[table].add(row)

    def _origin(self, kind: str, id_: UUID | str, record: msgspec.Struct, *fields: str) -> None:
        said = {field: getattr(record, field) for field in fields}
        self._tables[layout.ORIGIN].add({"kind": kind, "id": id_} | said)


def _row(type_: type[Any], record: msgspec.Struct, **others: Any) -> Any:
    """A row with the record's fields of the same name."""
    fields = {field: getattr(record, field) for field in type_.__struct_fields__ if field not in others}
    return type_(**fields, **others)


def _encoded(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value, order="sorted")
