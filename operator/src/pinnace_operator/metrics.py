"""The operator's figures for Prometheus."""

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pinnace_operator.admission.review import Outcome as Admission
from pinnace_operator.attendance import Attendance, Looker
from pinnace_operator.experiment import Experiment
from pinnace_operator.perform import Outcome
from pinnace_operator.reconcile import Memory
from pinnace_operator.watches import Watches

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """In a registry of their own. Safe to use from several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._looks = Histogram(
            "pinnace_operator_look_seconds",
            "Time that a look at an Experiment takes",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            "pinnace_operator_errors",
            "Looks that ran into something, by what: a condition's reason, ClusterUnavailable, or Defect",
            ("kind",),
            registry=self.registry,
        )
        self._admissions = Counter(
            "pinnace_operator_admissions",
            "Questions of the API server's to a webhook, by what came of them: allowed, refused or failed",
            ("hook", "outcome"),
            registry=self.registry,
        )
        self._admission_seconds = Histogram(
            "pinnace_operator_admission_seconds",
            "Time that an answer of a webhook takes",
            ("hook",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._jobs = Counter("pinnace_operator_jobs_created", "Jobs created", registry=self.registry)

    def note(self, outcome: Outcome) -> None:
        """Count what came of a round."""
        self._jobs.inc(len(outcome.jobs))
        if outcome.unavailable:
            self._errors.labels("ClusterUnavailable").inc()
        if outcome.refusal is not None:
            self._errors.labels(outcome.refusal.trouble.reason).inc()
        if outcome.api_trouble is not None:
            self._errors.labels(outcome.api_trouble.reason).inc()

    def note_admission(self, path: str, outcome: Admission, seconds: float) -> None:
        """Count what a webhook answered."""
        hook = path.removeprefix("/")
        self._admissions.labels(hook, outcome.value).inc()
        self._admission_seconds.labels(hook).observe(seconds)

    def measured(self, looker: Looker) -> Looker:
        """`looker` with each look timed."""
        return _Measured(looker, self._looks, self._errors)

    def watch(self, attendance: Attendance, watches: Watches, is_leader: Callable[[], bool]) -> None:
        """Tell of these, too."""
        experiments = Gauge(
            "pinnace_operator_experiments", "Experiments that are attended: unfinished ones", registry=self.registry
        )
        experiments.set_function(lambda: len(attendance))
        oldest = Gauge(
            "pinnace_operator_oldest_unshipped_seconds",
            "Age of the oldest file of any Experiment that is not in the store yet",
            registry=self.registry,
        )
        oldest.set_function(attendance.oldest_unshipped_seconds)
        leader = Gauge("pinnace_operator_leader", "1 when this process holds the Lease", registry=self.registry)
        leader.set_function(is_leader)
        event = Gauge(
            "pinnace_operator_last_watch_event_timestamp_seconds",
            "When a watch last showed something or was connected",
            registry=self.registry,
        )
        event.set_function(lambda: watches.last_event_at)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Measured:
    def __init__(self, looker: Looker, looks: Histogram, errors: Counter) -> None:
        self._looker, self._looks, self._errors = looker, looks, errors

    def look(self, experiment: Experiment, memory: Memory) -> float | None:
        begun = time.perf_counter()
        try:
            return self._looker.look(experiment, memory)
        except Exception:
            self._errors.labels("Defect").inc()
            raise
        finally:
            self._looks.observe(time.perf_counter() - begun)
