"""Kubernetes Events: one for each transition that tells something, one or two for a deletion, none for a file."""

import hashlib
from datetime import datetime
from typing import Any, Final

from pinnace.naming import API_VERSION, KIND
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import Condition, ConditionStatus

CONTROLLER: Final = "pinnace.dev/operator"

#: The API server's own limit.
MAX_NOTE: Final = 1024


def build_event(experiment: Experiment, condition: Condition, instance: str, now: datetime) -> dict[str, Any]:
    """An Event that says what `condition` now says. The same transition gives the same name, so it is told once."""
    return _event(
        experiment,
        what=f"{condition.type}/{condition.status}/{condition.reason}/{now.isoformat()}",
        action=f"{condition.type}{condition.status}",
        reason=condition.reason,
        note=f"{condition.type}={condition.status}: {condition.message}",
        is_good=_is_good(condition),
        instance=instance,
        now=now,
    )


def is_worth_an_event(condition: Condition, before: Condition | None) -> bool:
    """Not what another condition's Event says at the same time: each is a request, and a line to read.

    `before` is the same condition as it was.
    """
    if before is None or before.status is ConditionStatus.UNKNOWN:
        return condition.reason not in _BEGINNINGS
    return condition.reason != FINISHED


def build_announcement(
    experiment: Experiment, reason: str, message: str, instance: str, now: datetime, *, is_good: bool
) -> dict[str, Any]:
    """An Event about the end of an Experiment: one for each reason, whoever says it and however often."""
    return _event(
        experiment,
        what=reason,
        action="Delete",
        reason=reason,
        note=message,
        is_good=is_good,
        instance=instance,
        now=now,
    )


def _event(
    experiment: Experiment,
    *,
    what: str,
    action: str,
    reason: str,
    note: str,
    is_good: bool,
    instance: str,
    now: datetime,
) -> dict[str, Any]:
    digest = hashlib.sha256(f"{experiment.metadata.uid}/{what}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{experiment.name[:230].rstrip('-.')}.{digest}", "namespace": experiment.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": action,
        "reason": reason[:128],
        "type": "Normal" if is_good else "Warning",
        "note": note[:MAX_NOTE],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": experiment.name,
            "namespace": experiment.namespace,
            "uid": experiment.metadata.uid,
        },
    }


#: Accepted tells that it begins. Later they are news: that a pod went away, or that files are shipped again.
_BEGINNINGS: Final = frozenset({"Starting", "InProgress"})

#: Of Running: Succeeded tells the end.
FINISHED: Final = "Finished"

#: Reasons of a condition that is False, and no cause for worry.
_CALM: Final = frozenset({"Finished", "Starting", "Queued", "Suspended", "Suspending", "InProgress", "Draining"})


def _is_good(condition: Condition) -> bool:
    return condition.status is not ConditionStatus.FALSE or condition.reason in _CALM
