"""Where kopf's events come in: each is passed on to the attendance, which decides when to look.

Only `on.event` handlers are used, so kopf writes nothing to any object: no annotation, no finalizer. What the operator
knows stands in the status and in the cluster, never in kopf.
"""

from typing import Any, Final

import kopf

from pinnace.artifact_stores import ARTIFACT_STORE_PLURAL
from pinnace.naming import EXPERIMENT_ID_LABEL, GROUP, PLURAL, VERSION
from pinnace_operator.attendance import Attendance
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.reconcile import Reconciliation

#: The API server ends a watch after so long; it is resumed where it was.
WATCH_S: Final = 300

#: A watch is taken for dead when nothing arrives for so long. The server sends a bookmark every minute or so.
SILENCE_S: Final = 90


def build_registry(reconciliation: Reconciliation) -> kopf.OperatorRegistry:
    """A registry of its own, so that several operators can live in one process (tests do)."""
    registry = kopf.OperatorRegistry()
    attendance = Attendance(reconciliation)

    @kopf.on.login(registry=registry, id="login")
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**kwargs)

    @kopf.on.startup(registry=registry, id="start")
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)

    @kopf.on.cleanup(registry=registry, id="stop")
    async def stop(**_: Any) -> None:
        await attendance.close()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="experiment")
    async def experiment(event: kopf.RawEvent, **_: Any) -> None:
        attendance.see_experiment(dict(event["object"]), deleted=event["type"] == "DELETED")

    @kopf.on.event("batch", "v1", "jobs", registry=registry, id="job")
    async def job(event: kopf.RawEvent, **_: Any) -> None:
        attendance.see_job(dict(event["object"]), deleted=event["type"] == "DELETED")

    @kopf.on.event("v1", "pods", registry=registry, id="pod")
    async def pod(event: kopf.RawEvent, **_: Any) -> None:
        attendance.see_pod(dict(event["object"]), deleted=event["type"] == "DELETED")

    if reconciliation.catalogue is not None:
        _watch_stores(registry, reconciliation.catalogue, attendance)

    @kopf.on.probe(registry=registry, id="attended")
    async def attended(**_: Any) -> int:
        hanging = attendance.stuck()
        if hanging:
            raise kopf.PermanentError(f"looks at {hanging} hang")
        return len(attendance)

    return registry


def _watch_stores(registry: kopf.OperatorRegistry, catalogue: Catalogue, attendance: Attendance) -> None:
    @kopf.on.event(GROUP, VERSION, ARTIFACT_STORE_PLURAL, registry=registry, id="artifact-store")
    async def artifact_store(event: kopf.RawEvent, name: str, **_: Any) -> None:
        if catalogue.see_store(dict(event["object"]), deleted=event["type"] == "DELETED"):
            attendance.see_store(name)

    @kopf.on.event("v1", "namespaces", registry=registry, id="namespace")
    async def namespace(event: kopf.RawEvent, name: str, **_: Any) -> None:
        if catalogue.see_namespace(dict(event["object"]), deleted=event["type"] == "DELETED"):
            attendance.see_namespace(name)


def configure(settings: kopf.OperatorSettings) -> None:
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
    settings.watching.label_selectors["batch", "v1", "jobs"] = EXPERIMENT_ID_LABEL
    settings.watching.label_selectors["v1", "pods"] = EXPERIMENT_ID_LABEL
    # Events are ours: one for each transition of a condition.
    settings.posting.enabled = False
    # Neither namespaces nor CRDs are watched: that would need rights on the whole cluster.
    settings.scanning.disabled = True
    # Never written, because there are only on.event handlers; named, so that nothing could collide.
    settings.persistence.finalizer = f"{GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"operator.{GROUP}")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"operator.{GROUP}")
    settings.peering.standalone = True
