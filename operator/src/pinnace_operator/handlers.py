"""Where kopf's events come in: each is passed on to the attendance, which decides when to look.

Only `on.event` handlers are used, so kopf writes nothing to any object: no annotation, no finalizer. What the operator
knows stands in the status and in the cluster, never in kopf.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import kopf

from pinnace.artifact_stores import ARTIFACT_STORE_PLURAL
from pinnace.naming import EXPERIMENT_ID_LABEL, GROUP, PLURAL, VERSION
from pinnace_operator.attendance import Attendance
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.connection import Login
from pinnace_operator.engines.kinds import JOB, Resource, resource_of
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.watches import SILENCE_S, WATCH_S, Watches

#: A loop that has not turned for so long is stuck.
LOOP_STUCK_S: Final = 60.0


#: Between two events of one object, for its worker to be kept.
IDLE_S: Final = 0.2


class NoDiffs(kopf.DiffBaseStorage):
    """Handlers of events need no differences, for which kopf would copy each object twice at each event."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """There is nothing."""

    def store(self, **_: Any) -> None:
        """Nothing is kept."""


class Pulse:
    """Beats in the loop, and is felt from another thread."""

    def __init__(self) -> None:
        self._last: float | None = None

    def age(self) -> float:
        """In seconds; 0 before the loop runs."""
        last = self._last
        return 0.0 if last is None else time.monotonic() - last

    async def beat(self) -> None:
        never = asyncio.Event()
        while True:
            self._last = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await never.wait()


def build_registry(
    attendance: Attendance,
    login: Login,
    catalogue: Catalogue | None = None,
    *,
    selector: str = "",
    engines: Iterable[EngineKind] = (),
    watches: Watches | None = None,
    pulse: Pulse | None = None,
    beside: Iterable[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> kopf.OperatorRegistry:
    """A registry of its own, so that several operators can live in one process (tests do).

    Of other engines than Job only `engines` are watched. One whose CRD is not there when we start is not, and does not
    hold up the others. `beside` runs as long as the watches do.
    """
    registry = kopf.OperatorRegistry()
    seen = watches or Watches()
    resources = [JOB, *map(resource_of, engines)]
    felt = pulse or Pulse()
    beating: list[asyncio.Task[None]] = []

    @kopf.on.login(registry=registry, id="login")
    async def connect(**_: Any) -> kopf.AiohttpSession:
        return seen.session(login())

    @kopf.on.startup(registry=registry, id="start")
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings, selector, resources)
        beating.extend(asyncio.create_task(run()) for run in (felt.beat, *beside))

    @kopf.on.cleanup(registry=registry, id="stop")
    async def stop(**_: Any) -> None:
        for task in beating:
            task.cancel()
        await asyncio.gather(*beating, return_exceptions=True)
        await attendance.close()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="experiment")
    async def experiment(event: kopf.RawEvent, **_: Any) -> None:
        seen.saw_event()
        attendance.see_experiment(dict(event["object"]), deleted=event["type"] == "DELETED")

    async def job(event: kopf.RawEvent, **_: Any) -> None:
        seen.saw_event()
        attendance.see_job(dict(event["object"]), deleted=event["type"] == "DELETED")

    for resource in resources:
        kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)(job)

    @kopf.on.event("v1", "pods", registry=registry, id="pod")
    async def pod(event: kopf.RawEvent, **_: Any) -> None:
        seen.saw_event()
        attendance.see_pod(dict(event["object"]), deleted=event["type"] == "DELETED")

    if catalogue is not None:
        _watch_stores(registry, catalogue, attendance, seen)
    return registry


def _watch_stores(registry: kopf.OperatorRegistry, catalogue: Catalogue, attendance: Attendance, seen: Watches) -> None:
    @kopf.on.event(GROUP, VERSION, ARTIFACT_STORE_PLURAL, registry=registry, id="artifact-store")
    async def artifact_store(event: kopf.RawEvent, name: str, **_: Any) -> None:
        seen.saw_event()
        if catalogue.see_store(dict(event["object"]), deleted=event["type"] == "DELETED"):
            attendance.see_store(name)

    @kopf.on.event("v1", "namespaces", registry=registry, id="namespace")
    async def namespace(event: kopf.RawEvent, name: str, **_: Any) -> None:
        seen.saw_event()
        if catalogue.see_namespace(dict(event["object"]), deleted=event["type"] == "DELETED"):
            attendance.see_namespace(name)


def configure(settings: kopf.OperatorSettings, selector: str = "", resources: Iterable[Resource] = (JOB,)) -> None:
    """What kopf leaves open, each with its reason."""
    # A watch without time-outs can go silent for ever (a lost connection behind a load balancer).
    settings.watching.server_timeout = WATCH_S
    settings.watching.client_timeout = WATCH_S + 30
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = SILENCE_S
    settings.watching.reconnect_backoff = 1.0
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    # An API server that is away is waited for, some twenty minutes; after that a restart is the better try.
    settings.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, 21, *([30] * 40))
    # Only what carries our label is worth the traffic and the memory.
    for resource in resources:
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = EXPERIMENT_ID_LABEL
    settings.watching.label_selectors["v1", "pods"] = EXPERIMENT_ID_LABEL
    if selector:
        settings.watching.label_selectors[GROUP, VERSION, PLURAL] = selector
    # Events are ours, see events.py.
    settings.posting.enabled = False
    # Neither namespaces nor CRDs are watched: that would need rights on the whole cluster.
    settings.scanning.disabled = True
    # Never written, because there are only on.event handlers; named, so that nothing could collide.
    settings.persistence.finalizer = f"{GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"operator.{GROUP}")
    settings.persistence.diffbase_storage = NoDiffs()
    # Until then a worker, which holds the last body of its object, waits for the next event.
    settings.queueing.idle_timeout = IDLE_S
    settings.peering.standalone = True
