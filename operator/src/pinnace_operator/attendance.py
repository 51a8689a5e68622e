"""Who is looked at, and when: one look at a time for each Experiment, woken by events or by its own timer.

Events that arrive during a look, or shortly after one, are answered by a single further look. An Experiment that is
finished and proven costs nothing: no task, no memory, no request.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pinnace.naming import EXPERIMENT_ID_LABEL
from pinnace_operator.cluster_objects import pod_view
from pinnace_operator.engines.views import work_view
from pinnace_operator.experiment import Experiment
from pinnace_operator.manifest import MalformedError
from pinnace_operator.observe import parsed
from pinnace_operator.reconcile import Memory
from pinnace_operator.stores import may_use

#: Looks that run at the same time, each in a thread.
WORKERS: Final = 8

#: From the end of a look to the next one of the same Experiment, at least.
BREATH_S: Final = 0.5

#: A look that failed in a way that nobody foresaw is repeated after so long.
MISHAP_PAUSE_S: Final = 30.0

#: Every request has a time-out, so a look that takes longer than this hangs.
STUCK_S: Final = 600.0

_log = logging.getLogger(__name__)


class Looker(Protocol):
    """A Reconciliation, or what stands for one."""

    def look(self, experiment: Experiment, memory: Memory) -> float | None: ...


@dataclass(slots=True)
class _Attended:
    experiment: Experiment
    memory: Memory = field(default_factory=Memory)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Attendance:
    """To be used from one event loop at a time and closed before the next, but for what says otherwise.

    `breath` in seconds, see BREATH_S.
    """

    def __init__(self, reconciliation: Looker, *, breath: float = BREATH_S) -> None:
        self._reconciliation = reconciliation
        self._breath = breath
        self._attended: dict[str, _Attended] = {}
        self._workers = asyncio.Semaphore(WORKERS)
        self._never = asyncio.Event()
        self._looking_since: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._attended)

    def see_experiment(self, manifest: dict[str, Any], *, deleted: bool = False) -> None:
        try:
            experiment = Experiment.from_manifest(manifest)
        except MalformedError as error:
            _log.warning("experiment.malformed error=%s", error)
            return
        uid = experiment.metadata.uid
        if deleted:
            self._forget(uid)
            return
        attended = self._attended.get(uid)
        if attended is None:
            attended = self._attended[uid] = _Attended(experiment)
            attended.task = asyncio.create_task(self._attend(uid, attended), name=f"attend {experiment.name}")
        elif experiment.metadata.version >= attended.experiment.metadata.version:
            attended.experiment = experiment
        attended.woken.set()

    def see_job(self, manifest: dict[str, Any], *, deleted: bool = False) -> None:
        """A Job, or the object of another engine."""
        attended = self._owner(manifest)
        if attended is not None:
            for job in parsed([manifest], work_view):
                attended.memory.sightings.see_job(job, deleted=deleted)
            attended.woken.set()

    def see_pod(self, manifest: dict[str, Any], *, deleted: bool = False) -> None:
        attended = self._owner(manifest)
        if attended is not None:
            for pod in parsed([manifest], pod_view):
                attended.memory.sightings.see_pod(pod, deleted=deleted)
            attended.woken.set()

    def see_store(self, name: str) -> None:
        """The ArtifactStore has changed, or whom it is offered to: look at all whom that may concern."""
        for attended in self._attended.values():
            if may_use(attended.experiment.spec.artifacts.store, name):
                attended.woken.set()

    def see_namespace(self, name: str) -> None:
        """Its labels have changed."""
        for attended in self._attended.values():
            if attended.experiment.namespace == name:
                attended.woken.set()

    def stuck(self) -> list[str]:
        """The UIDs of Experiments whose look hangs: reason to be restarted. May be asked by any thread."""
        now = time.monotonic()
        return [uid for uid, since in list(self._looking_since.items()) if now - since > STUCK_S]

    def oldest_unshipped_seconds(self) -> int:
        """Of all that are attended, as their statuses say."""
        statuses = [attended.memory.status or attended.experiment.status for attended in list(self._attended.values())]
        return max((status.artifacts.oldest_unshipped_seconds for status in statuses), default=0)

    async def close(self) -> None:
        """Stop attending. Looks under way are finished by their threads; nothing depends on their end."""
        tasks = [attended.task for attended in self._attended.values() if attended.task is not None]
        self._attended.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The next loop may be another one.
        self._workers, self._never = asyncio.Semaphore(WORKERS), asyncio.Event()

    def _owner(self, manifest: dict[str, Any]) -> _Attended | None:
        """Of another namespace nobody has a say here, whatever labels they write: watches see all of them."""
        meta = manifest["metadata"]
        attended = self._attended.get(meta.get("labels", {}).get(EXPERIMENT_ID_LABEL, ""))
        ours = attended is not None and attended.experiment.namespace == meta.get("namespace", "")
        return attended if ours else None

    def _forget(self, uid: str) -> None:
        attended = self._attended.pop(uid, None)
        if attended is not None and attended.task is not None:
            attended.task.cancel()

    async def _attend(self, uid: str, attended: _Attended) -> None:
        pause: float | None = 0.0
        while True:
            await _wait(attended.woken, pause)
            attended.woken.clear()
            pause = await self._look(uid, attended)
            settled = attended.memory.current(attended.experiment).settled
            if settled and pause is None and not attended.woken.is_set():
                del self._attended[uid]
                return
            await _wait(self._never, self._breath)

    async def _look(self, uid: str, attended: _Attended) -> float | None:
        async with self._workers:
            self._looking_since[uid] = time.monotonic()
            try:
                return await asyncio.to_thread(self._reconciliation.look, attended.experiment, attended.memory)
            except Exception:  # noqa: BLE001 - a defect in one Experiment's look must not end the others'
                _log.exception("look.failed name=%s", attended.experiment.name)
                return MISHAP_PAUSE_S
            finally:
                del self._looking_since[uid]


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    """Until `event` is set or the time is over; None: no limit."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
