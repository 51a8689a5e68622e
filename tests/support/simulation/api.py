"""The metadata API with its real rules (support.fake_api) and an unreliable way there."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar
from uuid import UUID

from pinnace.client import ApiError, NotFound, Unavailable, Unreachable
from pinnace.records import (
    Artifact,
    ContentQuery,
    IterationPatch,
    MetricPoint,
    MetricReceipt,
    PodReport,
    PodStanding,
    RecordedContent,
    WriterStatus,
)
from support.fake_api import FakeApi
from support.simulation.machine import Machine

_T = TypeVar("_T")


@dataclass(slots=True)
class ApiFaults:
    """How probable each misbehaviour is, per request."""

    before: float = 0.0
    after: float = 0.0
    late: float = 0.0


class SimulatedApi:
    """`told` and `reported` are called before a request has its effect."""

    def __init__(
        self,
        machine: Machine,
        told: Callable[[Sequence[Artifact]], None],
        reported: Callable[[PodReport, float], None],
    ) -> None:
        self._machine = machine
        self._told = told
        self._reported = reported
        self.truth = FakeApi()
        self.faults = ApiFaults()
        #: From when on the iteration is there.
        self.exists_from = 0.0

    def put_artifacts(
        self, iteration_id: UUID, artifacts: Sequence[Artifact], sets: Mapping[UUID, Collection[UUID]] | None = None, /
    ) -> tuple[Artifact, ...]:
        def put() -> tuple[Artifact, ...]:
            self._told(artifacts)
            return self.truth.put_artifacts(iteration_id, artifacts, sets)

        return self._call(f"put {len(artifacts)} rows", put)

    def recorded_contents(self, iteration_id: UUID, query: ContentQuery, /) -> tuple[RecordedContent, ...]:
        return self._call("recorded?", lambda: self.truth.recorded_contents(iteration_id, query), late=False)

    def put_metrics(self, iteration_id: UUID, points: Sequence[MetricPoint], /) -> MetricReceipt:
        return self._call(f"put {len(points)} points", lambda: self.truth.put_metrics(iteration_id, points))

    def patch_iteration(self, iteration_id: UUID, change: IterationPatch, /) -> None:
        self._call("patch iteration", lambda: self.truth.patch_iteration(iteration_id, change))

    def put_pod_report(self, report: PodReport, /) -> PodStanding:
        said_at = self._machine.elapsed

        def put() -> PodStanding:
            self._reported(report, said_at)
            return self.truth.put_pod_report(report)

        return self._call(f"put report {report.sequence}{' FINAL' if report.final else ''} {report.files}", put)

    def pod_artifacts(self, iteration_id: UUID, pod_uid: str, /) -> Iterable[Artifact]:
        return self._call("rows?", lambda: tuple(self.truth.pod_artifacts(iteration_id, pod_uid)), late=False)

    def writers(self, iteration_id: UUID, pod_uid: str, /) -> WriterStatus:
        return self._call("writers?", lambda: self.truth.writers(iteration_id, pod_uid), late=False)

    def _call(self, what: str, do: Callable[[], _T], *, late: bool = True) -> _T:
        machine, faults = self._machine, self.faults
        machine.seam("api", what)
        if machine.chance(faults.before):
            self._fail("nothing done")
        if machine.elapsed < self.exists_from:
            machine.note("  404")
            raise NotFound("no such iteration", status=404, code="iteration-not-found")
        if late and machine.chance(faults.late):
            machine.later(machine.rng.expovariate(0.2), f"late {what}", lambda: self._do_late(what, do))
            self._fail("to be done later")
        result = do()
        if machine.chance(faults.after):
            self._fail("done")
        machine.seam("  answered")
        return result

    def _do_late(self, what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except ApiError as error:
            self._machine.note("late", what, "comes to nothing:", error)
        else:
            self._machine.note("late", what, "is done")

    def _fail(self, what: str) -> NoReturn:
        self._machine.note(f"  no answer ({what})")
        if self._machine.chance(0.5):
            raise Unreachable("no answer")
        error = Unavailable("not now", status=503)
        error.retry_after = self._machine.rng.choice([None, 1.0, 5.0])
        raise error
