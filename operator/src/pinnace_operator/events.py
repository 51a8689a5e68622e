"""Kubernetes Events: one for each transition of a condition, never one for a file."""

import hashlib
from datetime import datetime
from typing import Any, Final

from pinnace.naming import API_VERSION, KIND
from pinnace_operator.experiment import Condition, ConditionStatus, Experiment

CONTROLLER: Final = "pinnace.dev/operator"

#: The API server's own limit.
MAX_NOTE: Final = 1024


def build_event(experiment: Experiment, condition: Condition, instance: str, now: datetime) -> dict[str, Any]:
    """An Event that says what `condition` now says. The same transition gives the same name, so it is told once."""
    transition = f"{experiment.metadata.uid}/{condition.type}/{condition.status}/{condition.reason}/{now.isoformat()}"
    digest = hashlib.sha256(transition.encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{experiment.name[:230]}.{digest}", "namespace": experiment.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": f"{condition.type}{condition.status}",
        "reason": condition.reason[:128],
        "type": "Normal" if _is_good(condition) else "Warning",
        "note": f"{condition.type}={condition.status}: {condition.message}"[:MAX_NOTE],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": experiment.name,
            "namespace": experiment.namespace,
            "uid": experiment.metadata.uid,
        },
    }


#: Reasons of a condition that is False, and no cause for worry.
_CALM: Final = frozenset({"Finished", "Starting", "Queued", "Suspended", "Suspending", "InProgress", "Draining"})


def _is_good(condition: Condition) -> bool:
    return condition.status is not ConditionStatus.FALSE or condition.reason in _CALM
