"""What the watches have shown of one Experiment's Jobs and pods, kept so that looking costs no request.

Watches lose things now and then (a deletion while the connection was down), so a full list corrects the picture when an
Experiment is first looked at and every `RELIST` after that. Whatever comes late or twice is told by its version.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from pinnace_operator.observed import JobView, PodView, Rescue

RELIST: Final = timedelta(minutes=10)

_ViewT = TypeVar("_ViewT", JobView, PodView)


@dataclass(slots=True)
class Sightings:
    """Safe to use from the watching loop and a working thread at once. What is gone is remembered."""

    listed_at: datetime | None = None
    _jobs: dict[str, JobView] = field(default_factory=dict)
    _past_jobs: dict[int, JobView] = field(default_factory=dict)
    _pods: dict[str, PodView] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def see_job(self, job: JobView, *, deleted: bool = False) -> None:
        with self._lock:
            known = self._jobs.get(job.uid)
            if known is not None and known.version > job.version:
                return
            if deleted:
                self._jobs.pop(job.uid, None)
                self._past_jobs[job.index] = job
            else:
                self._jobs[job.uid] = job

    def see_pod(self, pod: PodView, *, deleted: bool = False) -> None:
        with self._lock:
            known = self._pods.get(pod.uid)
            if known is None or known.version <= pod.version:
                seen = pod.after(known)
                self._pods[pod.uid] = seen.gone() if deleted else seen

    def replace(self, jobs: Iterable[JobView], jobs_version: int, pods: Iterable[PodView], pods_version: int) -> None:
        """Take a full list for the truth, except for what is newer than the list."""
        with self._lock:
            newer = {uid: job for uid, job in self._jobs.items() if job.version > jobs_version}
            there = _newest(self._jobs, jobs) | newer
            self._past_jobs |= {job.index: job for uid, job in self._jobs.items() if uid not in there}
            self._jobs = there
            listed = _newest(self._pods, [pod.after(self._pods.get(pod.uid)) for pod in pods])
            missing = {
                uid: pod if pod.version > pods_version else pod.vanished()
                for uid, pod in self._pods.items()
                if uid not in listed
            }
            self._pods = missing | listed

    def is_due(self, now: datetime) -> bool:
        """Whether it is time for a full list."""
        return self.listed_at is None or now - self.listed_at > RELIST

    def jobs(self) -> dict[int, JobView]:
        """By iteration index; the youngest where a Job was made again."""
        with self._lock:
            trainings = [job for job in self._jobs.values() if not job.rescues]
        return {job.index: job for job in sorted(trainings, key=lambda job: job.version)}

    def past_jobs(self) -> dict[int, JobView]:
        """Those that are gone, by iteration index, the last of each."""
        with self._lock:
            return dict(self._past_jobs)

    def pods(self) -> tuple[PodView, ...]:
        with self._lock:
            return tuple(pod for pod in self._pods.values() if not pod.rescues)

    def rescues(self) -> dict[str, Rescue]:
        """By the UID of the pod that they are about."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.rescues]
            pods = [pod for pod in self._pods.values() if pod.rescues]
        jobs.sort(key=lambda job: job.version)
        return {
            job.rescues: Rescue(job=job, pods=tuple(pod for pod in pods if pod.rescues == job.rescues)) for job in jobs
        }


def _newest(known: Mapping[str, _ViewT], listed: Iterable[_ViewT]) -> dict[str, _ViewT]:
    """The listed ones by UID, each in its newest version."""
    return {
        view.uid: known[view.uid] if view.uid in known and known[view.uid].version > view.version else view
        for view in listed
    }
