"""Reads a file store of MLflow, as its versions 1 to 3 have written it.

    EXPERIMENT/meta.yaml, tags/KEY, datasets/ID/meta.yaml
    EXPERIMENT/RUN/meta.yaml, params/KEY, metrics/KEY, tags/KEY, artifacts/PATH, inputs/ID/meta.yaml
    EXPERIMENT/models/m-ID/meta.yaml, artifacts/PATH          since 3: what log_model writes
    models/NAME/meta.yaml, tags/KEY, version-N/meta.yaml, version-N/tags/KEY
    .trash/                                                   deleted experiments

An experiment keeps its name, and so joins one of that name. Everything else has an id derived from its own.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

from pinnace import ids
from pinnace.extras import required
from pinnace.porting import mlflow_values as values
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
from pinnace.porting.source import Entry, Problems, Totals, UnreadableSource
from pinnace.records import DatasetRole, MetricPoint

_META: Final = "meta.yaml"
_NO_RUNS: Final = frozenset({"tags", "datasets", "traces", "models"})
_DEFAULT: Final = "0"
_MAX_TEXT: Final = 4096
_MAX_NOTE: Final = 16_384
_MAX_NAME: Final = 250


class _Run(NamedTuple):
    """`started` in ms, as text: what it is sorted by."""

    started: str
    id: str
    folder: Path
    iteration_id: UUID


class _Experiment(NamedTuple):
    created: str
    folder: Path
    row: ExperimentRow
    runs: tuple[_Run, ...]


class FileStore:
    """A Source. Parameters stay texts with `texts`. Raises UnreadableSource, MissingExtra.

    Memory depends on the number of runs, some hundred bytes each.
    """

    def __init__(self, folder: Path, problems: Problems, *, project: str, texts: bool = False) -> None:
        self.folder = folder
        self._yaml = required("yaml", "mlflow")
        self._problems = problems
        self._project = ProjectRow(name=project)
        self._texts = texts
        self._told: set[Path] = set()
        #: Runs and experiments that were deleted there.
        self.left_out = 0
        #: By run: what they are called among its artifacts, and where they lie.
        self._logged: dict[str, list[tuple[str, Path]]] = {}
        #: By a logged model's id: what it is called among the artifacts of its run.
        self._models: dict[str, str] = {}
        try:
            found = [
                self._experiment(path) for path in sorted(folder.glob(f"*/{_META}")) if path.parent.name != "models"
            ]
            self.left_out += len(list(folder.glob(f".trash/*/{_META}")))
        except OSError as error:
            raise UnreadableSource(f"{folder} can't be read: {error.strerror}") from error
        if not found:
            raise UnreadableSource(
                f"{folder} is no file store of MLflow", hint="it holds a folder with meta.yaml for each experiment"
            )
        self._experiments = sorted(experiment for experiment in found if experiment is not None)
        self._runs = {run.iteration_id: run for experiment in self._experiments for run in experiment.runs}
        self._by_run = {run.id: run.iteration_id for run in self._runs.values()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def totals(self) -> Totals:
        sizes = (path.lstat().st_size for run in self._runs.values() for _, path in self._artifact_files(run))
        return Totals(len(self._runs), sum(sizes))

    def project(self) -> ProjectRow:
        return self._project

    def experiments(self) -> Iterator[Entry[ExperimentRow]]:
        for experiment in self._experiments:
            yield Entry(str(experiment.folder / _META), experiment.row)

    def datasets(self) -> Iterator[Entry[DatasetRow]]:
        seen: set[tuple[str, str]] = set()
        for experiment in self._experiments:
            for path in sorted(experiment.folder.glob(f"datasets/*/{_META}")):
                info = self._meta(path)
                named = str((info or {}).get("name")), str((info or {}).get("digest"))
                if info is None or named in seen:
                    continue
                seen.add(named)
                features = {name: info[name] for name in ("source_type", "schema", "profile") if info.get(name)}
                source = str(info.get("source") or "")
                yield Entry(
                    str(path), DatasetRow(name=named[0], digest=named[1], source=source[:_MAX_TEXT], features=features)
                )

    def iterations(self) -> Iterator[Entry[IterationRow]]:
        for experiment in self._experiments:
            for run in experiment.runs:
                path = run.folder / _META
                info = self._meta(path)
                if info is None:
                    continue
                try:
                    yield Entry(str(path), self._iteration(experiment.row.id, run, info))
                except ValueError as error:
                    self._tell(path, str(error))

    def points(self, iteration: IterationRow) -> Iterator[Entry[MetricPoint]]:
        for key, path in _files(self._runs[iteration.id].folder / "metrics"):
            offset = 0
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    place = f"{path}:{number}"
                    try:
                        yield Entry(place, values.point(key, line.decode(), offset))
                    except ValueError as error:
                        self._problems(place, f"this is no point: {error}")
                    offset += len(line)

    def artifacts(self, iteration: IterationRow) -> Iterator[Entry[ArtifactRow]]:
        run = self._runs[iteration.id]
        info = self._meta(run.folder / _META) or {}
        uri = str(info.get("artifact_uri") or "")
        if urlsplit(uri).scheme not in ("", "file"):
            self._tell(run.folder / _META, f"its artifacts lie at {uri}, which is not read; copy them to artifacts/")
        for path, file in self._artifact_files(run):
            if file.is_symlink():
                self._tell(file, "this is a link, and is not followed")
                continue
            size = file.lstat().st_size
            relative = file.relative_to(self.folder).as_posix()
            yield Entry(str(file), ArtifactRow(iteration_id=iteration.id, path=path, size=size, file=relative))

    def sets(self, iteration: IterationRow) -> Iterator[Entry[SetRow]]:
        del iteration
        yield from ()

    def uses(self, iteration: IterationRow) -> Iterator[Entry[UseRow]]:
        run = self._runs[iteration.id]
        for path in sorted(run.folder.glob(f"inputs/*/{_META}")):
            info = self._meta(path)
            if info is None or info.get("source_type") != "DATASET":
                continue
            source = run.folder.parent / "datasets" / Path(str(info.get("source_id"))).name / _META
            dataset = self._meta(source)
            if dataset is not None:
                context = str((info.get("tags") or {}).get("mlflow.data.context", ""))
                yield Entry(
                    str(path),
                    UseRow(
                        iteration_id=iteration.id,
                        name=str(dataset.get("name")),
                        digest=str(dataset.get("digest")),
                        role=DatasetRole.CONSUMED,
                        context=context[:100],
                    ),
                )

    def models(self) -> Iterator[Entry[ModelRow]]:
        for path in sorted(self.folder.glob(f"models/*/{_META}")):
            info = self._meta(path)
            if info is None:
                continue
            name = str(info.get("name"))
            row = ModelRow(
                name=values.model_name(name),
                description=str(info.get("description") or "")[:_MAX_TEXT],
                tags=values.named(name, self._texts_in(path.parent / "tags")),
                aliases={
                    alias.lower(): int(number)
                    for alias, number in (info.get("aliases") or {}).items()
                    if str(number).isdecimal()
                },
            )
            yield Entry(str(path), row)

    def versions(self) -> Iterator[Entry[VersionRow]]:
        for model in sorted(self.folder.glob(f"models/*/{_META}")):
            found = ((path, self._meta(path) or {}) for path in model.parent.glob(f"version-*/{_META}"))
            numbered = ((str(info.get("version")), path, info) for path, info in found)
            there = [(int(number), path, info) for number, path, info in numbered if number.isdecimal()]
            for number, path, info in sorted(there, key=lambda each: each[0]):
                stage = values.stage(info.get("current_stage"))
                if stage is None:
                    continue
                run = str(info.get("run_id") or "")
                if run not in self._by_run:
                    self._tell(path, f"its run {run or '(none)'} is not here")
                    continue
                name = values.model_name(str(info.get("name")))
                source = self._models.get(str(info.get("model_id"))) or _source_of(info)
                tags = values.named(source, self._texts_in(path.parent / "tags"))
                row = VersionRow(
                    id=uuid5(ids.model_id(self._project.name, name), f"mlflow:{number}"),
                    model=name,
                    number=number,
                    iteration_id=self._by_run[run],
                    artifact=self._file_of(self._runs[self._by_run[run]], source),
                    stage=stage,
                    description=str(info.get("description") or "")[:_MAX_TEXT],
                    tags=tags,
                )
                yield Entry(str(path), row)

    # --- how

    def _experiment(self, path: Path) -> _Experiment | None:
        info = self._meta(path)
        if info is None:
            return None
        if info.get("lifecycle_stage") == "deleted":
            self.left_out += 1
            return None
        name = str(info.get("name") or path.parent.name)
        tags, others = values.tags(self._texts_in(path.parent / "tags"))
        row = ExperimentRow(
            id=ids.experiment_id(self._project.name, name),
            name=name,
            description=others.get("mlflow.note.content", "")[:_MAX_TEXT],
            tags=tags,
        )
        runs = tuple(sorted(self._runs_in(path.parent, row.id)))
        if not runs and path.parent.name == _DEFAULT:
            return None
        self._keep_logged(path.parent)
        return _Experiment(str(info.get("creation_time") or ""), path.parent, row, runs)

    def _runs_in(self, experiment: Path, id_: UUID) -> Iterator[_Run]:
        for path in experiment.glob(f"*/{_META}"):
            if path.parent.name in _NO_RUNS:
                continue
            info = self._meta(path)
            if info is None:
                continue
            if info.get("lifecycle_stage") == "deleted":
                self.left_out += 1
                continue
            run = str(info.get("run_id") or info.get("run_uuid") or path.parent.name)
            yield _Run(str(info.get("start_time") or ""), run, path.parent, uuid5(id_, f"mlflow:{run}"))

    def _iteration(self, experiment: UUID, run: _Run, info: dict[str, Any]) -> IterationRow:
        tags, others = values.tags(self._texts_in(run.folder / "tags"))
        as_it_was = str if self._texts else values.parameter
        return IterationRow(
            id=run.iteration_id,
            experiment_id=experiment,
            name=str(others.get("mlflow.runName") or info.get("run_name") or "")[:_MAX_NAME],
            state=values.state(info.get("status")),
            started_at=values.moment(info.get("start_time")),
            ended_at=values.moment(info.get("end_time")),
            parameters={key: as_it_was(text) for key, text in self._texts_in(run.folder / "params").items()},
            notes=others.get("mlflow.note.content", "")[:_MAX_NOTE],
            parent_id=self._by_run.get(others.get("mlflow.parentRunId", "")),
            tags=tags,
            environment=values.environment(info, others),
        )

    def _artifact_files(self, run: _Run) -> Iterator[tuple[str, Path]]:
        """Its own, and those of the models that it has logged."""
        yield from _files(run.folder / "artifacts")
        for inside, model in self._logged.get(run.id, ()):
            for name, file in _files(model / "artifacts"):
                yield f"{inside}/{name}", file

    def _keep_logged(self, experiment: Path) -> None:
        """Since MLflow 3 a model that a run logs lies beside the runs."""
        for path in sorted(experiment.glob(f"models/*/{_META}")):
            info = self._meta(path) or {}
            if info.get("lifecycle_stage") != "deleted":
                inside = f"models/{values.model_name(str(info.get('name')))}/{path.parent.name}"
                self._models[path.parent.name] = inside
                self._logged.setdefault(str(info.get("source_run_id")), []).append((inside, path.parent))

    def _file_of(self, run: _Run, source: str) -> tuple[str, str] | None:
        """The artifact that a version is, where it is one file of its run."""
        for path, file in self._artifact_files(run):
            if path == source and not file.is_symlink():
                with file.open("rb") as content:
                    return path, hashlib.file_digest(content, "sha256").hexdigest()
        return None

    def _texts_in(self, folder: Path) -> dict[str, str]:
        """By key; each is a file."""
        found: dict[str, str] = {}
        for key, path in _files(folder):
            try:
                found[key] = path.read_bytes().decode()
            except (OSError, UnicodeDecodeError) as error:
                self._tell(path, f"it can't be read: {error}")
        return found

    def _meta(self, path: Path) -> dict[str, Any] | None:
        try:
            info = self._yaml.load(path.read_bytes(), getattr(self._yaml, "CSafeLoader", self._yaml.SafeLoader))
        except (OSError, ValueError, self._yaml.YAMLError) as error:
            self._tell(path, f"it can't be read: {error}")
            return None
        if not isinstance(info, dict):
            self._tell(path, "it holds no fields")
            return None
        return info

    def _tell(self, path: Path, reason: str) -> None:
        """Once, however often it is looked at."""
        if path not in self._told:
            self._told.add(path)
            self._problems(str(path), reason)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below, by their path in it; none where there is no such folder. Links are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path


def _source_of(info: dict[str, Any]) -> str:
    """Where a version's files are: a path among the artifacts of its run, if they are there."""
    source = str(info.get("source") or "")
    _, artifacts, path = unquote(urlsplit(source).path).partition("/artifacts/")
    return path if artifacts else source
