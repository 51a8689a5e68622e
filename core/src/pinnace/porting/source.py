"""A project that can be brought into an API, wherever it is read from."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from pinnace.client import Conflict, Forbidden, Invalid, NotFound
from pinnace.errors import PinnaceError
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
from pinnace.records import MetricPoint

_T = TypeVar("_T")


class UnreadableSource(PinnaceError):
    """The folder is not what it should be, or can't be read."""


class Entry(NamedTuple, Generic[_T]):
    """Something that was read, and where: `FILE:LINE` or `FILE`."""

    place: str
    value: _T


class Problems:
    """Is told what can't be taken, and where it stands; everything else goes on."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self.count = 0

    def __call__(self, place: str, reason: str) -> None:
        self.count += 1
        self._tell(place, reason)

    @contextmanager
    def of(self, place: str) -> Iterator[None]:
        """What is refused or can't be read in the block is told of `place`, and the block ends there."""
        try:
            yield
        except (Conflict, Forbidden, Invalid, NotFound) as error:
            self(place, str(error))
        except OSError as error:
            self(place, f"it can't be read: {error.strerror or error}")


class Totals(NamedTuple):
    """How much there is, for somebody who waits."""

    iterations: int
    bytes: int


class Source(AbstractContextManager["Source"], Protocol):
    """Each method may be called again, and begins anew. What can't be understood is told to its `Problems` once.

    Memory does not depend on the number of points and artifacts of one iteration. OSError for a file that can't be
    read in the middle.
    """

    @property
    def folder(self) -> Path:
        """What an artifact's `file` is relative to."""

    @property
    def left_out(self) -> int:
        """How many runs and experiments were deleted there."""

    def totals(self) -> Totals: ...

    def project(self) -> ProjectRow: ...

    def experiments(self) -> Iterator[Entry[ExperimentRow]]:
        """In the order in which they are to be created."""

    def datasets(self) -> Iterator[Entry[DatasetRow]]: ...

    def iterations(self) -> Iterator[Entry[IterationRow]]:
        """By experiment, in the order of their numbers."""

    def points(self, iteration: IterationRow) -> Iterator[Entry[MetricPoint]]: ...

    def artifacts(self, iteration: IterationRow) -> Iterator[Entry[ArtifactRow]]: ...

    def sets(self, iteration: IterationRow) -> Iterator[Entry[SetRow]]: ...

    def uses(self, iteration: IterationRow) -> Iterator[Entry[UseRow]]: ...

    def models(self) -> Iterator[Entry[ModelRow]]: ...

    def versions(self) -> Iterator[Entry[VersionRow]]: ...
