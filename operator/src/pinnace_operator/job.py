"""The Job of one iteration. Pure: values in, a manifest out.

Its pods are numbered (an Indexed Job), also where there is only one: that is how Kubernetes tells of each pod how many
came before it at its place, those included that its count of failures leaves out. Without that, a pod that was evicted
while nobody looked would be missed by nobody.
"""

import hashlib
import re
from typing import Any, Final

import msgspec

from pinnace import naming
from pinnace.ids import iteration_id
from pinnace_operator import failures, workers
from pinnace_operator.acceptance import Accepted, is_counted_in_pods
from pinnace_operator.experiment import Experiment
from pinnace_operator.pod import pod_spec
from pinnace_operator.search import Listed
from pinnace_operator.search.values import Combination
from pinnace_operator.settings import Platform

#: A pod is called like its Job and a number behind it, in a label of the DNS.
MAX_NAME: Final = 63 - len("-1023")

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "pinnace-operator"

#: On a Job that we suspended ourselves: only those are resumed by us, never one that a queue holds back.
SUSPENDED_ANNOTATION: Final = f"{naming.GROUP}/suspended"

#: The UIDs of the pods that it had then: they have to be proven like any others, counted or not.
SUSPENDED_PODS_ANNOTATION: Final = f"{naming.GROUP}/suspended-pods"

#: Those of them that still ran.
UNCOUNTED_PODS_ANNOTATION: Final = f"{naming.GROUP}/uncounted-pods"

#: On one that we ended for good, with the reason.
STOPPED_ANNOTATION: Final = f"{naming.GROUP}/stopped"

#: The iteration's parameters as JSON, where an optimiser chose them: a row that got lost is made again from it.
PARAMETERS_ANNOTATION: Final = f"{naming.GROUP}/parameters"

#: Labels of the template with this prefix are the Job's as well: that is where the queue looks for them.
QUEUE_LABEL_PREFIX: Final = "kueue.x-k8s.io/"


def job_name(experiment: Experiment, index: int) -> str:
    """The same for ever, and never that of another Experiment, not even of a deleted one of the same name."""
    return name_with(experiment.name, iteration_tail(experiment, index), MAX_NAME)


def iteration_tail(experiment: Experiment, index: int) -> str:
    """What tells an iteration's object from all others."""
    return f"-{hashlib.sha256(experiment.metadata.uid.encode()).hexdigest()[:8]}-{index}"


def name_with(head: str, tail: str, most: int) -> str:
    """`head`, as far as there is room for it and as a name may spell it, and then all of `tail`."""
    return re.sub(r"[^a-z0-9]+", "-", head)[: most - len(tail)].strip("-") + tail


def labels(experiment: Experiment, index: int) -> dict[str, str]:
    """The contract of pinnace.naming, on the Job and its pods."""
    return {
        naming.EXPERIMENT_LABEL: experiment.name[:63].rstrip("-."),
        naming.EXPERIMENT_ID_LABEL: experiment.metadata.uid,
        naming.ITERATION_LABEL: str(index),
        naming.ITERATION_ID_LABEL: str(iteration_id(experiment.id, index)),
    }


def owner(experiment: Experiment) -> dict[str, Any]:
    """Kubernetes removes what has this reference with the Experiment."""
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "name": experiment.name,
        "uid": experiment.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def build_job(
    experiment: Experiment, index: int, parameters: Combination, accepted: Accepted, platform: Platform
) -> dict[str, Any]:
    spec, template = experiment.spec, experiment.spec.template
    queueing = {k: v for k, v in template.metadata.labels.items() if k.startswith(QUEUE_LABEL_PREFIX)}
    deadline = {} if spec.active_deadline_seconds is None else {"activeDeadlineSeconds": spec.active_deadline_seconds}
    ours, name = labels(experiment, index), job_name(experiment, index)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": experiment.namespace,
            "labels": {**queueing, MANAGED_BY_LABEL: MANAGED_BY, **ours},
            **({"annotations": chosen} if (chosen := remembered(parameters, accepted)) else {}),
            "ownerReferences": [owner(experiment)],
        },
        "spec": {
            "completions": spec.workers,
            "parallelism": spec.workers,
            "completionMode": "Indexed",
            **_retries(experiment),
            **deadline,
            # The next pod is made only when the last one has shipped what it wrote and is gone.
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {
                    "labels": {**template.metadata.labels, **ours},
                    "annotations": dict(template.metadata.annotations),
                },
                "spec": pod_spec(experiment, index, name, accepted, platform, parameters=parameters),
            },
        },
    }


def remembered(parameters: Combination, accepted: Accepted) -> dict[str, str]:
    """The annotation that keeps what nobody could work out again; none where all is known from the start."""
    if isinstance(accepted.search, Listed):
        return {}
    return {PARAMETERS_ANNOTATION: msgspec.json.encode(parameters).decode()}


def build_service(experiment: Experiment, index: int, job: dict[str, Any]) -> dict[str, Any] | None:
    """What the workers of `job` find each other by; None where there is only one."""
    if experiment.spec.workers == 1:
        return None
    selector = {naming.ITERATION_ID_LABEL: labels(experiment, index)[naming.ITERATION_ID_LABEL]}
    return workers.service(job, selector)


def _retries(experiment: Experiment) -> dict[str, Any]:
    """Each worker has its own tries, because where one fails the others mostly fail with it; when one has none left,
    the iteration has failed."""
    spec = experiment.spec
    if is_counted_in_pods(experiment):
        return {
            "backoffLimitPerIndex": spec.backoff_limit,
            "maxFailedIndexes": 0,
            "podFailurePolicy": failures.policy(spec.pod_failure_policy),
        }
    return {"backoffLimit": spec.backoff_limit}
