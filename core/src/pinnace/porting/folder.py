"""Reads an export of ours."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Generic, NamedTuple, Self, TypeVar
from uuid import UUID

import msgspec

from pinnace.porting import layout
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
from pinnace.porting.source import Entry, Problems, Totals, UnreadableSource
from pinnace.records import MetricPoint
from pinnace.records.record import Record

_T = TypeVar("_T", bound=msgspec.Struct)
_HINT = "export it again into the same folder: what is there is not fetched twice"


class ExportFolder:
    """A Source. Opening it reads every file of rows once, to compare its digest and to find each iteration's part.

    `name` is what the project is to be called. Raises UnreadableSource for what is no export, or not a whole one.
    """

    def __init__(self, folder: Path, problems: Problems, *, name: str | None = None) -> None:
        self.folder = folder
        #: What lies in the trash is not exported.
        self.left_out = 0
        self._problems = problems
        self._manifest = _read(folder / layout.MANIFEST, Manifest, f"{folder} holds no whole export")
        if self._manifest.format != layout.FORMAT:
            raise UnreadableSource(
                f"{folder} has the format {self._manifest.format}, and this version reads {layout.FORMAT}",
                hint="take the version of pinnace that wrote it, or a later one",
            )
        project = _read(folder / layout.PROJECT, ProjectRow, f"{folder} holds no whole export")
        self._project = msgspec.structs.replace(project, name=name or project.name)
        with ExitStack() as stack:
            self._experiments = stack.enter_context(self._table(layout.EXPERIMENTS, ExperimentRow))
            self._datasets = stack.enter_context(self._table(layout.DATASETS, DatasetRow))
            self._iterations = stack.enter_context(self._table(layout.ITERATIONS, IterationRow))
            self._models = stack.enter_context(self._table(layout.MODELS, ModelRow))
            self._versions = stack.enter_context(self._table(layout.VERSIONS, VersionRow))
            self._points = stack.enter_context(self._table(layout.POINTS, PointRow))
            self._artifacts = stack.enter_context(self._table(layout.ARTIFACTS, ArtifactRow))
            self._sets = stack.enter_context(self._table(layout.SETS, SetRow))
            self._uses = stack.enter_context(self._table(layout.USES, UseRow))
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def totals(self) -> Totals:
        return Totals(self._iterations.rows, self._manifest.artifact_bytes)

    def project(self) -> ProjectRow:
        return self._project

    def experiments(self) -> Iterator[Entry[ExperimentRow]]:
        return self._experiments.all()

    def datasets(self) -> Iterator[Entry[DatasetRow]]:
        return self._datasets.all()

    def iterations(self) -> Iterator[Entry[IterationRow]]:
        return self._iterations.all()

    def models(self) -> Iterator[Entry[ModelRow]]:
        return self._models.all()

    def versions(self) -> Iterator[Entry[VersionRow]]:
        return self._versions.all()

    def points(self, iteration: IterationRow) -> Iterator[Entry[MetricPoint]]:
        for place, row in self._points.of(iteration.id):
            fields = {field: getattr(row, field) for field in MetricPoint.__struct_fields__}
            yield Entry(place, MetricPoint(**fields))

    def artifacts(self, iteration: IterationRow) -> Iterator[Entry[ArtifactRow]]:
        return self._artifacts.of(iteration.id)

    def sets(self, iteration: IterationRow) -> Iterator[Entry[SetRow]]:
        return self._sets.of(iteration.id)

    def uses(self, iteration: IterationRow) -> Iterator[Entry[UseRow]]:
        return self._uses.of(iteration.id)

    def _table(self, name: str, type_: type[_T]) -> "_Table[_T]":
        try:
            table = _Table(self.folder / name, type_, self._problems)
        except OSError as error:
            raise UnreadableSource(f"{self.folder / name} can't be read: {error.strerror}", hint=_HINT) from error
        entry = self._manifest.tables.get(name)
        if entry is None or table.sha256 != entry.sha256:
            self._problems(str(self.folder / name), "this is not what was written; what can be read of it is taken")
        return table


class _Key(Record, frozen=True, kw_only=True):
    iteration_id: UUID | None = None


class _Part(NamedTuple):
    """Consecutive lines of one iteration: where they begin, the number of the first, and how many."""

    offset: int
    line: int
    rows: int


class _Table(Generic[_T]):
    """A file of rows. Each line that is none is told once, when the file is opened or its part is first read."""

    def __init__(self, path: Path, type_: type[_T], problems: Problems) -> None:
        self._path = path
        self._decoder = msgspec.json.Decoder(type_)
        self._problems = problems
        self._told: set[int] = set()
        self._parts: dict[UUID | None, list[_Part]] = {}
        self.rows = 0
        self._file = path.open("rb")
        try:
            self.sha256 = self._scan()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def all(self) -> Iterator[Entry[_T]]:
        """Every row. Other rows may be read meanwhile."""
        with self._path.open("rb") as file:
            yield from self._lines(file, _Part(0, 1, self.rows))

    def of(self, iteration: UUID) -> Iterator[Entry[_T]]:
        """Those of one iteration, one such reading at a time."""
        for part in self._parts.get(iteration, ()):
            self._file.seek(part.offset)
            yield from self._lines(self._file, part)

    def _lines(self, file: BinaryIO, part: _Part) -> Iterator[Entry[_T]]:
        for number in range(part.line, part.line + part.rows):
            line = file.readline()
            try:
                row = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                self._tell(number, error)
            else:
                yield Entry(f"{self._path}:{number}", row)

    def _scan(self) -> str:
        digest = hashlib.sha256()
        decoder = msgspec.json.Decoder(_Key)
        before: UUID | None = None
        offset = 0
        for line in self._file:
            digest.update(line)
            self.rows += 1
            try:
                key = decoder.decode(line).iteration_id
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                self._tell(self.rows, error)
                key = None
            if key is not None:
                parts = self._parts.setdefault(key, [])
                if key == before:
                    last = parts.pop()
                    parts.append(last._replace(rows=last.rows + 1))
                else:
                    parts.append(_Part(offset, self.rows, 1))
            before = key
            offset += len(line)
        return digest.hexdigest()

    def _tell(self, number: int, error: Exception) -> None:
        if number not in self._told:
            self._told.add(number)
            self._problems(f"{self._path}:{number}", f"this is no such row: {error}")


def _read(path: Path, type_: type[_T], otherwise: str) -> _T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except OSError as error:
        raise UnreadableSource(f"{otherwise}: {path.name}: {error.strerror}", hint=_HINT) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnreadableSource(f"{otherwise}: {path.name}: {error}", hint=_HINT) from error
