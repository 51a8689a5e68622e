"""A small model of the world that the operator works in: an API server, a Job controller, pods and the metadata API.

It implements the operator's ports, so the whole of a look runs on it unchanged. `Truth` is what really happened to the
files, kept apart from what anybody reports.
"""

import copy
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from pinnace.client import Conflict, NotFound, Unreachable
from pinnace.digests import manifest_sha256
from pinnace.naming import INJECT_LABEL, RESCUES_LABEL
from pinnace.records import (
    MAX_CURVE_ITERATIONS,
    Curve,
    ExperimentWrite,
    FileState,
    Iteration,
    IterationPatch,
    IterationState,
    IterationWrite,
    Manifest,
    MetricSummary,
    PodReport,
    PodStanding,
    Problem,
    Shown,
)
from pinnace.records import (
    Experiment as ExperimentRow,
)
from pinnace.settings import StoreSettings
from pinnace_operator.acceptance import accept
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.cluster_objects import pod_view
from pinnace_operator.engines.kinds import changed, suspension
from pinnace_operator.engines.views import work_view
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.experiment_status import ConditionType, Status
from pinnace_operator.job import build_job, labels
from pinnace_operator.ports import ClusterError, GoneError, NamespaceEndsError, RejectedError, UnavailableError
from pinnace_operator.reconcile import Memory, Reconciliation
from pinnace_operator.settings import Platform

UID = "3f0c7b1e-8f5c-4f39-9a53-0d8f0a3c9b11"
START = datetime(2026, 1, 1, tzinfo=UTC)
_FILES = UUID(int=7)

PLATFORM = Platform(
    sidecar_image="pinnace/sidecar:test",
    sidecar_image_pull_policy="IfNotPresent",
    sidecar_resources={"requests": {"cpu": "50m"}},
    sidecar_api_url="http://api.test:8080",
    store_credentials_secret="pinnace-store",
    default_store=StoreSettings(endpoint="http://minio.test:9000", bucket="experiments"),
    poll_seconds=5,
    engines=frozenset(EngineKind) - {EngineKind.JOB},
    injects=True,
)


def manifest(name: str = "sweep", *, pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An Experiment as the API server would hand it out; `spec` in the CRD's own spelling."""
    template = {"spec": {"containers": [{"name": "train", "image": "training:1"}], **(pod or {})}}
    return {
        "apiVersion": "pinnace.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "team-a", "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": {"template": template, **spec},
    }


def experiment(name: str = "sweep", *, pod: dict[str, Any] | None = None, **spec: Any) -> Experiment:
    return Experiment.from_manifest(manifest(name, pod=pod, **spec))


def job_of(body: Experiment, index: int = 0, platform: Platform = PLATFORM) -> dict[str, Any]:
    """The Job of an iteration whose parameters are known from the start."""
    accepted = accept(body, platform)
    return build_job(body, index, accepted.search.parameters_of(index, {}) or {}, accepted, platform)


@dataclass
class Truth:
    """One pod's files, as they really are."""

    written: list[UUID] = field(default_factory=list)
    recorded: list[UUID] = field(default_factory=list)


def _manifest_of(ids: list[UUID]) -> Manifest:
    return Manifest(count=len(ids), sha256=manifest_sha256(ids))


_GUEST: Final = "guest"

_TRACKED: Final = "batch.kubernetes.io/job-tracking"


def _note(job: dict[str, Any], pods: Collection[str], uncounted: Collection[str]) -> None:
    annotations = job["metadata"].setdefault("annotations", {})
    annotations["pinnace.dev/suspended-pods"] = " ".join(pods)
    annotations["pinnace.dev/uncounted-pods"] = " ".join(uncounted)


class Crash(BaseException):
    """The operator's process ended between two requests."""


NOTHING = _manifest_of([])


class World:
    """Time moves only by `pass_time`. Every change of an object gives it a new version, as in etcd."""

    def __init__(self, body: dict[str, Any], platform: Platform = PLATFORM, catalogue: Catalogue | None = None) -> None:
        self.body = body
        self.stores_by_name: dict[str, dict[str, Any]] = {}
        self.labels: dict[str, str] = {}
        self.now = START
        self.jobs_by_name: dict[str, dict[str, Any]] = {}
        self.claims: dict[str, dict[str, Any]] = {}
        #: What must never happen, as it happened.
        self.wrongs: list[str] = []
        self.pods_by_name: dict[str, dict[str, Any]] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.truth: dict[str, Truth] = {}
        self._iterations: dict[str, UUID] = {}
        self._names: dict[str, str] = {}
        self.rows: dict[UUID, Iteration] = {}
        self.environments: dict[UUID, dict[str, Any]] = {}
        self.experiment_rows: dict[UUID, ExperimentWrite] = {}
        self.standings: dict[str, PodStanding] = {}
        self.events: list[dict[str, Any]] = []
        self.api_is_up = True
        self.cluster_is_up = True
        #: What iterations measured of the objective: steps and values.
        self.points: dict[UUID, list[tuple[int, float]]] = {}
        self.curve_requests = 0
        self.job_error: ClusterError | None = None
        self.hold_error: ClusterError | None = None
        self.writes: list[str] = []
        #: The operator's process ends (Crash) when it sends another request after so many; None: it lives on.
        self.crash_after: int | None = None
        self.most_active = 0
        #: The Experiment's row lies in the trash.
        self.trashed = False
        self.namespace_ends = False
        #: The Experiment is not there any more; since when.
        self.gone_at: datetime | None = None
        self._version = 1
        #: Jobs' workers that succeeded.
        self._completed: set[tuple[str, int]] = set()
        #: By Job and worker: failures that the Job does not count.
        self._ignored: dict[tuple[str, int], int] = {}
        self.reconciliation = Reconciliation(
            cluster=self,
            api=WorldApi(self),
            platform=platform,
            now=lambda: self.now,
            instance="test",
            catalogue=catalogue,
        )
        self.memory = Memory()

    # --- what the test does

    def look(self) -> float | None:
        """One look, after everything that changed was delivered by the watches."""
        if self.gone_at is not None:
            return None
        for job in self.jobs_by_name.values():
            self.memory.sightings.see_job(work_view(job))
        for pod in self.pods_by_name.values():
            self.memory.sightings.see_pod(pod_view(pod))
        return self.reconciliation.look(Experiment.from_manifest(self.body), self.memory)

    def settle(self, limit: int = 20) -> None:
        """Look until a look writes nothing."""
        for _ in range(limit):
            before = len(self.writes)
            self.look()
            if len(self.writes) == before:
                return
        raise AssertionError(f"still writing after {limit} looks: {self.writes[-6:]}")

    def restart_operator(self) -> None:
        self.memory = Memory()

    def delete(self, *, cascade: str = "") -> None:
        """As `kubectl delete` does; it is gone at once when nothing holds it."""
        self.body = copy.deepcopy(self.body)
        self.body["metadata"].setdefault("deletionTimestamp", _text(self.now))
        if cascade:
            self.body["metadata"].setdefault("finalizers", []).append(cascade)
        self._change(self.body)

    def annotate(self, name: str, value: str) -> None:
        self.body = copy.deepcopy(self.body)
        self.body["metadata"].setdefault("annotations", {})[name] = value
        self.touch(self.body)

    def remove_finalizer(self) -> None:
        """By hand."""
        self.body = copy.deepcopy(self.body)
        self.body["metadata"]["finalizers"] = []
        self._change(self.body)

    def end_job_in_time(self, index: int) -> None:
        """The Job controller sees that the time of a Job is over; its pods are ended by the test."""
        job = self.job(index)
        job["status"]["active"] = 0
        job["status"]["conditions"] = [{"type": "Failed", "status": "True", "lastTransitionTime": _text(self.now)}]
        self.touch(job)

    def reasons(self) -> list[str]:
        """Of the Events, in order."""
        return [event["reason"] for event in self.events]

    @property
    def finalizers(self) -> list[str]:
        found: list[str] = self.body["metadata"].get("finalizers", [])
        return found

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def edit(self, **spec: Any) -> None:
        self.body = copy.deepcopy(self.body)
        self.body["spec"].update(spec)
        self.body["metadata"]["generation"] += 1
        self.touch(self.body)

    def offer(self, name: str, **spec: Any) -> None:
        """Put an ArtifactStore there, or change it; the watch shows it."""
        access = {"source": "STS", "sts": {"secretRef": {"name": "admin-key"}}}
        store = {
            "metadata": {"name": name},
            "spec": {"bucket": name, "namespaces": ["team-a"], "credentials": access, **spec},
        }
        self.stores_by_name[name] = store
        self.touch(store)
        self._show(store)

    def withdraw(self, name: str) -> None:
        """Delete an ArtifactStore."""
        store = self.stores_by_name.pop(name)
        self.touch(store)
        self._show(store, deleted=True)

    def label_namespace(self, **labels: str) -> None:
        self.labels = labels
        [namespace] = self.namespaces()[0]
        self.touch(namespace)
        assert self.reconciliation.catalogue is not None
        self.reconciliation.catalogue.see_namespace(namespace)

    @property
    def status(self) -> Status:
        return Experiment.from_manifest(self.body).status

    def condition(self, type_: ConditionType) -> tuple[str, str]:
        found = self.status.condition(type_)
        return (found.status.value, found.reason) if found else ("", "")

    def message(self, type_: ConditionType) -> str:
        found = self.status.condition(type_)
        return found.message if found else ""

    def job(self, index: int) -> dict[str, Any]:
        return next(j for j in self.trainings if j["metadata"]["labels"]["pinnace.dev/iteration"] == str(index))

    @property
    def trainings(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs_by_name.values() if RESCUES_LABEL not in job["metadata"]["labels"]]

    @property
    def rescues(self) -> dict[str, dict[str, Any]]:
        """The Jobs that ship what a pod left, by the UID of that pod."""
        labelled = [(job["metadata"]["labels"].get(RESCUES_LABEL), job) for job in self.jobs_by_name.values()]
        return {uid: job for uid, job in labelled if uid}

    @property
    def open_rescues(self) -> list[str]:
        return sorted(uid for uid, job in self.rescues.items() if not job["status"].get("conditions"))

    def open_jobs(self) -> list[int]:
        """Indexes of Jobs that have neither ended nor are suspended or stopped."""
        return sorted(
            int(job["metadata"]["labels"]["pinnace.dev/iteration"])
            for job in self.trainings
            if not _ends(job) and not job["spec"].get("suspend") and job["spec"].get("completions") != 0
        )

    def vacancies(self) -> list[tuple[int, int]]:
        """Index and worker of each pod that a Job controller would now make."""
        held = {
            (self._index_of(uid), self._worker_of(uid))
            for uid, pod in self.pods_by_name.items()
            if pod["status"]["phase"] == "Running" and not self._is_injected(uid)
        }
        held |= {
            (index, worker)
            for index in self.open_jobs()
            for uid, worker in self._completed
            if uid == self.job(index)["metadata"]["uid"]
        }
        wanted = [(index, worker) for index in self.open_jobs() for worker in range(self._workers(index))]
        return [place for place in wanted if place not in held]

    def start_pod(self, index: int, worker: int = 0) -> str:
        """The Job controller makes a pod and the kubelet starts it; its UID."""
        job = self.job(index)
        annotations = {
            "batch.kubernetes.io/job-completion-index": str(worker),
            "batch.kubernetes.io/job-index-ignored-failure-count": str(
                self._ignored.get((job["metadata"]["uid"], worker), 0)
            ),
        }
        uid = self._start_pod(job["metadata"]["name"], job["spec"]["template"]["metadata"]["labels"], annotations)
        job["status"]["active"] = job["status"].get("active", 0) + 1
        job["status"].setdefault("startTime", _text(self.now))
        self.touch(job)
        return uid

    def is_halted(self, index: int) -> bool:
        """It makes no pods, and those that it has are asked to end."""
        spec = self.job(index)["spec"]
        return bool(spec.get("suspend")) or spec.get("completions") == 0

    def is_draining(self, pod_uid: str) -> bool:
        """Its Job has let go of it, whatever became of the Job since."""
        return "deletionTimestamp" in self.pods_by_name[pod_uid]["metadata"]

    def hold(self, index: int) -> None:
        """A queue does not let a Job run, or not any longer: its pods are asked to end."""
        job = self.job(index)
        job["spec"]["suspend"] = True
        job["status"]["conditions"] = [{"type": "Suspended", "status": "True"}]
        self._take_pods(job)
        self.touch(job)

    def _take_pods(self, job: dict[str, Any]) -> None:
        """Its controller lets go of its pods and deletes them, which takes its time."""
        status = job["status"]
        status["terminating"] = status.get("terminating", 0) + status.get("active", 0)
        status["active"] = 0
        for pod in self.pods_by_name.values():
            meta = pod["metadata"]
            if meta["name"].startswith(f"{job['metadata']['name']}-p") and pod["status"]["phase"] == "Running":
                meta["finalizers"], meta["deletionTimestamp"] = [], _text(self.now)
                self.touch(pod)

    def let_in(self, index: int) -> None:
        """A queue lets a Job run."""
        job = self.job(index)
        job["spec"]["suspend"] = False
        if not _ends(job):
            job["status"]["conditions"] = [{"type": "Suspended", "status": "False"}]
        self.touch(job)

    def inject_pod(self, index: int) -> str:
        """Somebody else makes a pod, the webhook puts the sidecar in, and the kubelet starts it; its UID."""
        ours = labels(Experiment.from_manifest(self.body), index)
        return self._start_pod(_GUEST, ours | {INJECT_LABEL: "true"}, {})

    def _start_pod(self, name: str, pod_labels: dict[str, str], annotations: dict[str, str]) -> str:
        number = len(self.truth)
        uid = str(uuid5(_FILES, f"pod-{number}"))
        self.pods_by_name[uid] = {
            "metadata": {
                "name": f"{name}-p{number}",
                "namespace": "team-a",
                "uid": uid,
                "creationTimestamp": _text(self.now),
                "labels": dict(pod_labels),
                "annotations": annotations,
                "finalizers": [] if name == _GUEST else [_TRACKED],
                "resourceVersion": "0",
            },
            "status": {
                "phase": "Running",
                "initContainerStatuses": [{"name": "pinnace-sidecar", "state": {"running": {}}}],
                "containerStatuses": [{"name": "train", "state": {"running": {}}}],
            },
        }
        self.touch(self.pods_by_name[uid])
        self.truth[uid] = Truth()
        self._names[uid] = self.pods_by_name[uid]["metadata"]["name"]
        self._iterations[uid] = UUID(self.pods_by_name[uid]["metadata"]["labels"]["pinnace.dev/iteration-id"])
        return uid

    def write_file(self, pod_uid: str) -> None:
        self.truth[pod_uid].written.append(uuid5(_FILES, f"file-{sum(len(t.written) for t in self.truth.values())}"))

    def ship(self, pod_uid: str, problem: Problem | None = None) -> None:
        """The sidecar records what was written, if the API is there, and reports."""
        truth = self.truth[pod_uid]
        if self.api_is_up and problem is None:
            truth.recorded = list(truth.written)
        if self.api_is_up and self._iteration_of(pod_uid) in self.rows:
            self._report(pod_uid, final=False, problem=problem)

    def end_pod(
        self, pod_uid: str, *, exit_code: int = 0, last: bool = True, proven: bool = True, disrupted: bool = False
    ) -> None:
        """The training ends, the sidecar drains (`proven`) or is killed before; `last`: a failure ends the Job.

        `disrupted`: the pod was evicted, so that its failure does not count.
        """
        self._end_containers(pod_uid, exit_code=exit_code, proven=proven, disrupted=disrupted)
        if self._is_injected(pod_uid):
            return
        job = self._job_of(pod_uid)
        status = job["status"]
        status["active"] = max(status.get("active", 0) - 1, 0)
        place = (job["metadata"]["uid"], self._worker_of(pod_uid))
        if not exit_code:
            self._completed.add(place)
        if disrupted:
            assert exit_code, "only a failure can be left out of the count"
            self._ignored[place] = self._ignored.get(place, 0) + 1
            self.touch(job)
            return
        key = "failed" if exit_code else "succeeded"
        status[key] = status.get(key, 0) + 1
        if (last and exit_code) or status.get("succeeded", 0) == job["spec"]["completions"]:
            kind = "Failed" if exit_code else "Complete"
            condition = {"type": kind, "status": "True", "lastTransitionTime": _text(self.now)}
            if exit_code:
                condition |= {
                    "reason": "BackoffLimitExceeded",
                    "message": "Job has reached the specified backoff limit",
                }
            else:
                status["completionTime"] = _text(self.now)
            status["conditions"] = [condition]
        self.touch(job)

    def drain_pod(self, pod_uid: str, *, proven: bool = True) -> None:
        """A pod of a suspended Job ends by SIGTERM, ships what is left (`proven`), and is gone; nothing counts it."""
        self._end_containers(pod_uid, exit_code=143, proven=proven)
        job = self._job_of(pod_uid)
        job["status"]["terminating"] = max(job["status"].get("terminating", 0) - 1, 0)
        self._complete(job)
        self.touch(job)
        pod = self.pods_by_name.pop(pod_uid)
        self.memory.sightings.see_pod(pod_view(pod), deleted=True)

    def _end_containers(self, pod_uid: str, *, exit_code: int, proven: bool, disrupted: bool = False) -> None:
        pod, truth = self.pods_by_name[pod_uid], self.truth[pod_uid]
        message = ""
        if proven and self.api_is_up and self._iteration_of(pod_uid) in self.rows:
            truth.recorded = list(truth.written)
            message = msgspec.json.encode(self._report(pod_uid, final=True)).decode()
        pod["status"] = {
            "phase": "Failed" if exit_code else "Succeeded",
            "conditions": [{"type": "DisruptionTarget", "status": "True"}] if disrupted else [],
            "initContainerStatuses": [
                {
                    "name": "pinnace-sidecar",
                    "state": {"terminated": {"exitCode": 0 if message else 137, "message": message}},
                }
            ],
            "containerStatuses": [
                {
                    "name": "train",
                    "state": {"terminated": {"exitCode": exit_code, "reason": "Error" if exit_code else ""}},
                }
            ],
        }
        self.touch(pod)

    def lose_pod(self, pod_uid: str) -> None:
        """It is deleted, and no watch tells of it."""
        del self.pods_by_name[pod_uid]

    def expire_jobs(self) -> list[int]:
        """What the TTL controller would delete by now, is deleted."""
        expired = []
        for index in sorted(self._index(job) for job in self.trainings):
            job = self.job(index)
            ttl = job["spec"].get("ttlSecondsAfterFinished")
            ends = [datetime.fromisoformat(c["lastTransitionTime"]) for c in _ends(job)]
            if ttl is not None and ends and ends[0] + timedelta(seconds=ttl) <= self.now:
                self.delete_job(index)
                expired.append(index)
        return expired

    def rescue(self, pod_uid: str, *, works: bool = True, report: bool = True) -> None:
        """The rescue of what `pod_uid` left ends; without the API it can't work. `report`: its last words are seen."""
        job, truth, iteration = self.rescues[pod_uid], self.truth[pod_uid], self._iterations[pod_uid]
        works = works and self.api_is_up and iteration in self.rows
        said = "StoreUnreachable: nobody answers"
        if works:
            truth.recorded = list(truth.written)
            said = msgspec.json.encode(self._report(pod_uid, final=True)).decode()
        self.start_rescue(pod_uid)
        pod = self.pods_by_name[f"rescue of {pod_uid}"]
        ended = {"exitCode": 0 if works else 1, "message": said if report else ""}
        pod["status"] = {
            "phase": "Succeeded" if works else "Failed",
            "containerStatuses": [{"name": "pinnace-sidecar", "state": {"terminated": ended}}],
        }
        self.touch(pod)
        condition = {"type": "Complete" if works else "Failed", "status": "True", "lastTransitionTime": _text(self.now)}
        job["status"]["conditions"] = [condition | ({} if works else {"reason": "BackoffLimitExceeded"})]
        self.touch(job)

    def start_rescue(self, pod_uid: str, *, phase: str = "Running", **status: Any) -> None:
        """The pod of a rescue."""
        template = self.rescues[pod_uid]["spec"]["template"]["metadata"]
        self.pods_by_name[f"rescue of {pod_uid}"] = pod = {
            "metadata": {
                "name": f"rescue-of-{pod_uid}",
                "uid": str(uuid5(_FILES, f"rescue of {pod_uid}")),
                "labels": dict(template["labels"]),
                "annotations": dict(template["annotations"]),
                "resourceVersion": "0",
            },
            "status": {
                "phase": phase,
                "containerStatuses": [{"name": "pinnace-sidecar", "state": {"running": {}}}],
                **status,
            },
        }
        self.touch(pod)

    def delete_rescue(self, pod_uid: str) -> None:
        """By hand, which asks for another one."""
        job = self.rescues[pod_uid]
        del self.jobs_by_name[job["metadata"]["name"]]
        self.memory.sightings.see_job(work_view(job), deleted=True)
        if (pod := self.pods_by_name.pop(f"rescue of {pod_uid}", None)) is not None:
            self.memory.sightings.see_pod(pod_view(pod), deleted=True)

    def delete_pod(self, pod_uid: str) -> None:
        """By force or with its node, before the eyes of the operator."""
        pod = self.pods_by_name.pop(pod_uid)
        self.memory.sightings.see_pod(pod_view(pod), deleted=True)

    def delete_job(self, index: int) -> None:
        """With its pods, by hand or by a time to live."""
        job = self.job(index)
        name = job["metadata"]["name"]
        del self.jobs_by_name[name]
        self.memory.sightings.see_job(work_view(job), deleted=True)
        for uid, pod in list(self.pods_by_name.items()):
            labels = pod["metadata"]["labels"]
            mine = labels["pinnace.dev/iteration"] == str(index) and RESCUES_LABEL not in labels
            if mine and not self._is_injected(uid):
                del self.pods_by_name[uid]
                self.memory.sightings.see_pod(pod_view(pod), deleted=True)

    @property
    def everything_is_ashore(self) -> bool:
        return all(sorted(truth.written) == sorted(truth.recorded) for truth in self.truth.values())

    @property
    def experiment(self) -> Experiment:
        return Experiment.from_manifest(self.body)

    def index_of(self, pod_uid: str) -> int:
        return int(self.pods_by_name[pod_uid]["metadata"]["labels"]["pinnace.dev/iteration"])

    # --- the Cluster of the operator's ports

    def jobs(
        self, namespace: str, experiment_id: str, engine: EngineKind = EngineKind.JOB
    ) -> tuple[list[dict[str, Any]], int]:
        self._need_cluster()
        return copy.deepcopy(list(self.jobs_by_name.values())), self._version

    def pods(self, namespace: str, experiment_id: str) -> tuple[list[dict[str, Any]], int]:
        self._need_cluster()
        return copy.deepcopy(list(self.pods_by_name.values())), self._version

    def artifact_stores(self) -> tuple[list[dict[str, Any]], int]:
        self._need_cluster()
        return list(self.stores_by_name.values()), self._version

    def namespaces(self) -> tuple[list[dict[str, Any]], int]:
        return [{"metadata": {"name": "team-a", "labels": self.labels, "resourceVersion": "1"}}], self._version

    def apply_job(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        self._need_cluster()
        self.record(f"job {manifest['metadata']['name']}")
        if self.job_error is not None:
            raise self.job_error
        name = manifest["metadata"]["name"]
        if name not in self.jobs_by_name:
            self._check_rescue(manifest)
            job = copy.deepcopy(manifest)
            job["metadata"]["uid"] = str(uuid5(_FILES, f"job-{self._version}"))
            job["metadata"]["creationTimestamp"] = _text(self.now)
            job["status"] = {}
            self.jobs_by_name[name] = job
            self.touch(job)
        self.most_active = max(self.most_active, len(self.open_jobs()))
        return copy.deepcopy(self.jobs_by_name[name])

    def _check_rescue(self, manifest: dict[str, Any]) -> None:
        """A claim may be taken only from an iteration none of whose pods lives, and for one thing at a time."""
        labels = manifest["metadata"]["labels"]
        if RESCUES_LABEL not in labels:
            return
        index = labels["pinnace.dev/iteration"]
        pods = [p for p in self.pods_by_name.values() if p["metadata"]["labels"]["pinnace.dev/iteration"] == index]
        if any(pod["status"]["phase"] not in ("Succeeded", "Failed") for pod in pods):
            self.wrongs.append(f"a rescue of iteration {index} beside a living pod")
        if any(self.rescues[uid]["metadata"]["labels"]["pinnace.dev/iteration"] == index for uid in self.open_rescues):
            self.wrongs.append(f"two rescues of iteration {index} at once")
        if self.standings.get(labels[RESCUES_LABEL]) is not None:
            report = self.standings[labels[RESCUES_LABEL]].report
            if report is not None and report.final and self.api_is_up:
                self.wrongs.append("a rescue of a pod that has said its last word")

    def create_claim(self, manifest: dict[str, Any]) -> None:
        self._need_cluster()
        self.writes.append(f"claim {manifest['metadata']['name']}")
        self.claims.setdefault(manifest["metadata"]["name"], copy.deepcopy(manifest))

    def suspend_job(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        suspend: bool,
        engine: EngineKind = EngineKind.JOB,
        pods: Collection[str] = (),
        uncounted: Collection[str] = (),
        for_good: str = "",
    ) -> None:
        self._need_cluster()
        self.record(f"suspend {name} {suspend}{' for good' if for_good else ''}")
        job = self.jobs_by_name.get(name)
        if job is None or job["metadata"]["uid"] != uid:
            raise GoneError("no such Job")
        # A second round of one look may not have been shown yet what the first one did; to do it again changes nothing.
        if not suspend and work_view(job).suspended:
            assert "pinnace.dev/suspended" in job["metadata"].get("annotations", {}), "a queue's Job is the queue's"
        if any(label.startswith("kueue.x-k8s.io/") for label in job["metadata"]["labels"]):
            assert for_good, "a queue would resume at once what we suspend"
        job["spec"] = changed(job["spec"], (), suspension(engine, suspend=suspend, for_good=bool(for_good)))
        own = {"pinnace.dev/suspended", "pinnace.dev/stopped"}
        kept = {k: v for k, v in job["metadata"].get("annotations", {}).items() if k not in own}
        ours = {"pinnace.dev/suspended": "true"} if suspend else {}
        job["metadata"]["annotations"] = kept | ours | ({"pinnace.dev/stopped": for_good} if for_good else {})
        _note(job, pods, uncounted)
        if not any(condition["type"] != "Suspended" for condition in job["status"].get("conditions", ())):
            if "suspend" in job["spec"]:
                job["status"]["conditions"] = [{"type": "Suspended", "status": str(job["spec"]["suspend"])}]
            if suspend:
                self._take_pods(job)
            self._complete(job)
        self.touch(job)
        self.most_active = max(self.most_active, len(self.open_jobs()))

    def note_pods(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        engine: EngineKind = EngineKind.JOB,
        pods: Collection[str],
        uncounted: Collection[str],
    ) -> None:
        self._need_cluster()
        self.record(f"note {name}")
        job = self.jobs_by_name.get(name)
        if job is None or job["metadata"]["uid"] != uid:
            raise GoneError("no such Job")
        _note(job, pods, uncounted)
        self.touch(job)

    def _complete(self, job: dict[str, Any]) -> None:
        """What the Job controller makes of one that needs no pods, once the last of them has ended."""
        status = job["status"]
        if job["spec"].get("completions") == 0 and not status.get("terminating") and not _ends(job):
            status |= {"succeeded": 0, "completionTime": _text(self.now)}
            complete = {"type": "Complete", "status": "True", "lastTransitionTime": _text(self.now)}
            status["conditions"] = [*status.get("conditions", ()), complete]

    def end_job(self, namespace: str, name: str, uid: str, *, seconds: int) -> None:
        self._need_cluster()
        self.record(f"end {name}")
        job = self.jobs_by_name.get(name)
        if job is None or job["metadata"]["uid"] != uid:
            raise GoneError("no such Job")
        assert self.namespace_ends
        job["spec"] |= {"activeDeadlineSeconds": seconds, "suspend": False}
        job["status"]["conditions"] = _ends(job)
        self.touch(job)

    def expire_job(self, namespace: str, name: str, uid: str, *, seconds: int) -> None:
        self._need_cluster()
        self.writes.append(f"expire {name} {seconds}")
        job = self.jobs_by_name.get(name)
        if job is None or job["metadata"]["uid"] != uid:
            raise GoneError("no such Job")
        assert _ends(job), "only a Job that has ended may expire"
        job["spec"]["ttlSecondsAfterFinished"] = seconds
        self.touch(job)

    def create_service(self, manifest: dict[str, Any]) -> None:
        self._need_cluster()
        self.writes.append(f"service {manifest['metadata']['name']}")
        self.services.setdefault(manifest["metadata"]["name"], copy.deepcopy(manifest))

    def apply_status(self, namespace: str, name: str, uid: str, status: dict[str, Any]) -> int:
        self._need_cluster()
        self.record("status")
        self.body = copy.deepcopy(self.body)
        self.body["status"] = copy.deepcopy(status)
        self.touch(self.body)
        return self._version

    def hold_experiment(self, namespace: str, name: str, uid: str, finalizer: str) -> int:
        self._need_cluster()
        self.record("hold")
        if self.hold_error is not None:
            raise self.hold_error
        assert self.gone_at is None
        if "deletionTimestamp" in self.body["metadata"]:
            raise RejectedError("no new finalizers can be added if the object is being deleted")
        self.body = copy.deepcopy(self.body)
        held = self.body["metadata"].setdefault("finalizers", [])
        if finalizer not in held:
            held.append(finalizer)
            self.touch(self.body)
        return self._version

    def release_experiment(self, namespace: str, name: str, uid: str, finalizers: Sequence[str], finalizer: str) -> int:
        self._need_cluster()
        self.record("release")
        if self.gone_at is not None:
            raise GoneError("no such Experiment")
        if list(finalizers) != self.finalizers:
            raise RejectedError("the test operation failed")
        self.body = copy.deepcopy(self.body)
        self.body["metadata"]["finalizers"] = [name for name in finalizers if name != finalizer]
        self._change(self.body)
        return self._version

    def create_event(self, manifest: dict[str, Any]) -> None:
        self._need_cluster()
        if self.namespace_ends:
            raise NamespaceEndsError("forbidden, because it is being terminated")
        if manifest["metadata"]["name"] not in {event["metadata"]["name"] for event in self.events}:
            self.events.append(manifest)

    # --- inside

    def _show(self, store: dict[str, Any], *, deleted: bool = False) -> None:
        assert self.reconciliation.catalogue is not None
        self.reconciliation.catalogue.see_store(store, deleted=deleted)

    def count_request(self) -> None:
        if self.crash_after is not None:
            if self.crash_after == 0:
                raise Crash
            self.crash_after -= 1

    def _need_cluster(self) -> None:
        self.count_request()
        if not self.cluster_is_up:
            raise UnavailableError("the API server does not answer")

    def record(self, what: str) -> None:
        self.writes.append(what)

    def _change(self, body: dict[str, Any]) -> None:
        self.touch(body)
        # Kubernetes itself removes its own finalizers in the end.
        held = [name for name in self.finalizers if "/" in name]
        if "deletionTimestamp" in body["metadata"] and not held:
            self.gone_at = self.gone_at or self.now

    def touch(self, body: dict[str, Any]) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)

    def _iteration_of(self, pod_uid: str) -> UUID:
        return self._iterations[pod_uid]

    def _is_injected(self, pod_uid: str) -> bool:
        # Pods of the world's own are called by their Jobs, whether or not they are still there.
        return self._names[pod_uid].startswith(_GUEST)

    def _job_of(self, pod_uid: str) -> dict[str, Any]:
        return self.job(self._index_of(pod_uid))

    def _index_of(self, pod_uid: str) -> int:
        return self._index(self.pods_by_name[pod_uid])

    def _index(self, body: dict[str, Any]) -> int:
        return int(body["metadata"]["labels"]["pinnace.dev/iteration"])

    def _worker_of(self, pod_uid: str) -> int:
        return int(self.pods_by_name[pod_uid]["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])

    def _workers(self, index: int) -> int:
        completions: int = self.job(index)["spec"]["completions"]
        return completions

    def _report(self, pod_uid: str, *, final: bool, problem: Problem | None = None) -> PodReport:
        truth = self.truth[pod_uid]
        waiting = len(truth.written) - len(truth.recorded)
        before = self.standings.get(pod_uid)
        report = PodReport(
            iteration_id=self._iteration_of(pod_uid),
            pod_uid=pod_uid,
            sequence=before.report.sequence + 1 if before and before.report else 1,
            final=final,
            injected=self._is_injected(pod_uid),
            files={FileState.RECORDED: len(truth.recorded), FileState.BUFFERED: waiting},
            bytes_recorded=10 * len(truth.recorded),
            manifest=_manifest_of(truth.recorded),
            problems=(problem,) if problem else (),
        )
        self.standings[pod_uid] = PodStanding(
            iteration_id=report.iteration_id,
            pod_uid=pod_uid,
            name=self._names[pod_uid],
            report=report,
            recorded=_manifest_of(truth.recorded),
            bytes_recorded=report.bytes_recorded,
            reported_at=self.now,
        )
        return report


class WorldApi:
    """The metadata API of a World, with the API's own rule that a state never goes back."""

    def __init__(self, world: World) -> None:
        self._world = world

    def put_experiment(self, experiment_id: UUID, experiment: ExperimentWrite) -> ExperimentRow:
        self._need_api()
        self._world.record("experiment row")
        self._world.experiment_rows[experiment_id] = experiment
        return ExperimentRow(
            id=experiment_id,
            project=experiment.project,
            name=experiment.name,
            namespace=experiment.namespace,
            description=experiment.description,
            tags=experiment.tags,
            created_at=self._world.now,
        )

    def patch_iteration(self, iteration_id: UUID, change: IterationPatch) -> Iteration:
        self._need_api()
        if iteration_id not in self._world.rows:
            raise NotFound("no such iteration", status=404, code="iteration-not-found")
        assert isinstance(change.environment, dict)
        self._world.record(f"environment {sorted(change.environment)}")
        self._world.environments.setdefault(iteration_id, {}).update(change.environment)
        return self._world.rows[iteration_id]

    def put_iteration(self, iteration_id: UUID, iteration: IterationWrite) -> Iteration:
        self._need_api()
        if iteration.experiment_id not in self._world.experiment_rows:
            raise NotFound("no such experiment", status=404, code="experiment-not-found")
        self._world.record(f"iteration row {iteration.index} {iteration.state}")
        assert iteration.index is not None
        before = self._world.rows.get(iteration_id)
        assert before is None or before.parameters == iteration.parameters, "parameters are set once"
        if before is not None and list(IterationState).index(iteration.state) < list(IterationState).index(
            before.state
        ):
            raise Conflict("the state would go backwards", status=409, code="conflict")
        row = Iteration(
            id=iteration_id,
            experiment_id=iteration.experiment_id,
            index=iteration.index,
            parameters=iteration.parameters,
            state=iteration.state,
            started_at=iteration.started_at,
            ended_at=iteration.ended_at,
            metrics=before.metrics if before else {},
        )
        if before is None:
            self._world.environments[iteration_id] = dict(iteration.environment)
        self._world.rows[iteration_id] = row
        return row

    def trash_experiment(self, experiment_id: UUID) -> None:
        self._need_api()
        self._world.record("trash")
        if experiment_id not in self._world.experiment_rows:
            raise NotFound("no such experiment", status=404, code="experiment-not-found")
        self._world.trashed = True

    def iterations(self, experiment_id: UUID, *, lifecycle: Shown) -> Iterator[Iteration]:
        assert lifecycle is Shown.ALL, "the operator must see what people have put away"
        self._need_api()
        if experiment_id not in self._world.experiment_rows:
            raise NotFound("no such experiment", status=404, code="experiment-not-found")
        return iter(sorted(self._world.rows.values(), key=lambda row: row.index))

    def pods(self, experiment_id: UUID) -> Iterator[PodStanding]:
        self._need_api()
        return iter(list(self._world.standings.values()))

    def curves(
        self, iterations: Iterable[UUID], keys: Iterable[str], *, points: int, to_step: int
    ) -> tuple[Curve, ...]:
        self._need_api()
        [key] = keys
        ids = list(iterations)
        assert len(ids) <= MAX_CURVE_ITERATIONS
        self._world.curve_requests += 1
        return tuple(self._curve(id_, key, to_step) for id_ in ids)

    def _curve(self, iteration_id: UUID, key: str, to_step: int) -> Curve:
        points = [point for point in self._world.points.get(iteration_id, []) if point[0] <= to_step]
        return Curve(
            iteration_id=iteration_id,
            key=key,
            count=len(points),
            steps=tuple(step for step, _ in points),
            values=tuple(value for _, value in points),
        )

    def _need_api(self) -> None:
        self._world.count_request()
        if not self._world.api_is_up:
            raise Unreachable("GET http://api.test: connection refused")


def _ends(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The conditions that say that the Job has ended."""
    return [each for each in job["status"].get("conditions", ()) if each["type"] in ("Complete", "Failed")]


def measure(world: World, index: int, metric: str, low: float, high: float) -> None:
    """Let iteration `index` have measured `metric` between `low` and `high`."""
    [id_] = [row.id for row in world.rows.values() if row.index == index]
    summary = MetricSummary(last=high, last_step=1, min=low, max=high, count=2)
    world.rows[id_] = msgspec.structs.replace(world.rows[id_], metrics={metric: summary})


def measure_at(world: World, index: int, metric: str, step: int, value: float) -> None:
    """Let iteration `index` have measured `metric` at `step`, beside what it measured before."""
    [id_] = [row.id for row in world.rows.values() if row.index == index]
    points = world.points.setdefault(id_, [])
    points.append((step, value))
    points.sort()
    values = [value for _, value in points]
    summary = MetricSummary(
        last=values[-1], last_step=points[-1][0], min=min(values), max=max(values), count=len(points)
    )
    world.rows[id_] = msgspec.structs.replace(world.rows[id_], metrics={metric: summary})


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
