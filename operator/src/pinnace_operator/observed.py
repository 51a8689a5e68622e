"""What is seen of an Experiment's Jobs and pods, and of its rows in the metadata API: small values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pinnace.records import ExperimentWrite, Iteration, PodReport, PodStanding
from pinnace_operator.experiment_spec import EngineKind, PodFailurePolicy
from pinnace_operator.search.stopping import Comparison
from pinnace_operator.search.values import Combination
from pinnace_operator.stores import Offers


class JobEnd(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class PodEnd(StrEnum):
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why something does not go on, as a condition says it: one word, and a sentence with what to do."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    uid: str
    name: str
    index: int
    version: int = 0
    #: Which object it really is; other engines than Job don't count their pods.
    engine: EngineKind = EngineKind.JOB
    #: It is to have no pods.
    suspended: bool = False
    #: By us, not by a queue.
    suspended_by_us: bool = False
    #: UIDs of pods that had started when we suspended it, now and before.
    suspended_pods: frozenset[str] = frozenset()
    #: Of those that still ran then, unless they ended in time to be counted: none of its counts has them.
    uncounted_pods: frozenset[str] = frozenset()
    #: Why we ended it for good; empty: we did not. That it came to its end by it is not its own `end`.
    stopped: str = ""
    #: Its controller has seen that it is to have no pods, and makes none.
    at_rest: bool = False
    #: What an optimiser chose for it.
    parameters: Combination = field(default_factory=dict)
    #: A queue decides when it runs.
    queued: bool = False
    #: Its time, which runs.
    deadline_seconds: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: None: not ended, or ended by us.
    end: JobEnd | None = None
    #: Why it failed, in Kubernetes' words.
    message: str = ""
    #: By the Job controller's count, whether or not they still exist; not those whose failure its rules leave out.
    pods_succeeded: int = 0
    pods_failed: int = 0
    pods_active: int = 0
    failure_policy: PodFailurePolicy | None = None
    #: How long after its end it goes away by itself, in seconds; None: never.
    ttl_seconds: int | None = None
    #: The UID of the pod whose files it ships; empty: it trains.
    rescues: str = ""

    @property
    def pods_ended(self) -> int:
        return self.pods_succeeded + self.pods_failed

    @property
    def is_halted(self) -> bool:
        """It was stopped, and nobody has undone that."""
        return bool(self.stopped) and self.suspended

    @property
    def over(self) -> bool:
        """It has ended, or was stopped and has nothing left to end."""
        return self.end is not None or (bool(self.stopped) and self.at_rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    uid: str
    name: str
    index: int
    version: int = 0
    created_at: datetime | None = None
    #: Another owner's, with the sidecar put in by the webhook; no Job of ours counts it. Not an engine's.
    injected: bool = False
    #: Some container has run, so there may be files.
    started: bool = False
    #: A container of the training itself has run.
    trained: bool = False
    #: All containers have ended, or the pod is gone.
    ended: bool = False
    #: Its Job counts its end: it ended, or was told to, before a suspension had the Job let go of it.
    counted: bool = False
    #: The sidecar's termination message; None when there is none, or it can't be read.
    report: PodReport | None = None
    #: Why it does not start or run.
    trouble: Trouble | None = None
    #: It is being set up, and nothing tells why it might hang.
    setting_up: bool = False
    #: How its training failed; empty when it has not.
    failure: str = ""
    #: Of the training's containers, by name, as they were resolved to digests.
    images: Mapping[str, str] = field(default_factory=dict)
    #: Which of the iteration's workers it is.
    worker: int = 0
    #: How many pods of this worker's failed before it that the Job does not count.
    ignored_before: int = 0
    #: None: not known, for instance because it went away unseen.
    end: PodEnd | None = None
    #: By container.
    exit_codes: Mapping[str, int] = field(default_factory=dict)
    #: Type and status.
    conditions: frozenset[tuple[str, str]] = frozenset()
    #: As of a Job.
    rescues: str = ""

    def gone(self) -> "PodView":
        return replace(self, ended=True, trouble=None, setting_up=False)

    def vanished(self) -> "PodView":
        """Gone, and nobody saw how far it came: if it had not ended, it may have begun."""
        return replace(self.gone(), started=self.started or not self.ended)

    def after(self, before: "PodView | None") -> "PodView":
        """What ran has run: a kubelet that turns a pod down after its own restart takes away what was said of it. And
        a Job that has counted a pod lets go of it."""
        if before is None:
            return self
        return replace(self, started=self.started or before.started, counted=self.counted or before.counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """The Job that ships what a pod left on its claim, and the pods of that Job."""

    job: JobView
    pods: Sequence[PodView] = ()

    @property
    def reports(self) -> list[PodReport]:
        """What it said in the name of the pod that it stands for."""
        return [pod.report for pod in self.pods if pod.report is not None]

    @property
    def trouble(self) -> str:
        """Why it does not run."""
        return next((pod.trouble.message for pod in self.pods if pod.trouble is not None and not pod.ended), "")

    @property
    def failure(self) -> str:
        """Why it failed, as its last try said, else in Kubernetes' words."""
        ends = [pod.failure for pod in sorted(self.pods, key=lambda pod: pod.version) if pod.failure]
        return "; ".join(filter(None, (*ends[-1:], self.job.message)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the metadata API holds."""

    iterations: Mapping[int, Iteration] = field(default_factory=dict)
    standings: Sequence[PodStanding] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A Job that could not be made."""

    trouble: Trouble
    #: The generation of the Experiment whose Job it was.
    generation: int
    #: When to try again; None: not before the spec changes.
    retry_at: datetime | None
    attempts: int = 1
    #: The cluster knows no such kind of object.
    engine_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world around one Experiment at one moment."""

    jobs: Mapping[int, JobView] = field(default_factory=dict)
    #: Those that were seen and are gone, as they were last.
    past_jobs: Mapping[int, JobView] = field(default_factory=dict)
    pods: Sequence[PodView] = ()
    #: None: the API did not answer; `api_trouble` says why.
    rows: Rows | None = None
    api_trouble: Trouble | None = None
    #: The row of the Experiment as it was last written; None: not by this process.
    experiment_row: ExperimentWrite | None = None
    refusal: Refusal | None = None
    #: By the UID of the pod that they are about.
    rescues: Mapping[str, Rescue] = field(default_factory=dict)
    #: When this process last wrote the status; None: not yet.
    written_at: datetime | None = None
    #: Whether the namespace is being deleted, so that nothing can be made in it; None: nobody has tried.
    namespace_ends: bool | None = None
    #: Whether this process has put its row into the trash.
    is_trashed: bool = False
    #: None: the operator serves no ArtifactStores.
    offers: Offers | None = None
    #: What of pods' images was recorded by this process, by iteration.
    images: Mapping[UUID, Mapping[str, str]] = field(default_factory=dict)
    #: How iterations that may be hopeless compare with others.
    comparison: Comparison = field(default_factory=Comparison)
