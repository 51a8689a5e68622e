"""Rescues: Jobs that ship what pods without a final report left on their iteration's claim. Pure.

One Job for each such pod, in its name, when the iteration's own Job is over and none of its pods lives: a claim that
can be mounted on one node at a time is never taken from a training, nor held up by another rescue. The Job tries some
times and for a day at most. One that has failed stays, which is how it is known; deleting it asks for another.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pinnace.ids import iteration_id
from pinnace.naming import RESCUES_LABEL, RESCUES_POD_ANNOTATION, SIDECAR_CONTAINER
from pinnace_operator import sidecar, volumes
from pinnace_operator.acceptance import Accepted
from pinnace_operator.deletion import is_deleted
from pinnace_operator.experiment import Experiment
from pinnace_operator.job import MANAGED_BY, MANAGED_BY_LABEL, MAX_NAME, job_name, labels, name_with, owner
from pinnace_operator.observed import Observed
from pinnace_operator.progress import IterationProgress
from pinnace_operator.proof import Abandoned
from pinnace_operator.settings import Platform

#: For all tries together, waiting for a node that is away included.
DEADLINE_S: Final = 24 * 3600
#: For one of them: a store that is away is waited for by the sidecar itself.
TRY_S: Final = 4 * 3600
TRIES: Final = 6
#: The sidecar's word for "nothing of that pod lies here".
_NOTHING_HERE: Final = 3
#: It can be broken off at any moment.
_GRACE_S: Final = 5

#: What of the template says where and as whom a pod may run, and not what it needs to train.
_KEPT: Final = ("serviceAccountName", "imagePullSecrets", "tolerations", "runtimeClassName")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRescue:
    pod_uid: str
    manifest: dict[str, Any]


def rescues(
    experiment: Experiment,
    iterations: Sequence[IterationProgress],
    observed: Observed,
    accepted: Accepted,
    platform: Platform,
) -> Iterator[CreateRescue]:
    """Those to begin now: one at a time for each iteration, and no more at once than iterations may run."""
    if not volumes.is_persistent(experiment):
        return
    running = {rescue.job.index for rescue in observed.rescues.values() if rescue.job.end is None}
    free = experiment.spec.parallelism - len(running)
    for iteration in iterations:
        if free <= 0:
            return
        if not _rests(experiment, iteration) or iteration.index in running:
            continue
        waiting = [pod for pod in iteration.abandoned if pod.uid not in observed.rescues]
        if waiting:
            free -= 1
            manifest = build_rescue(experiment, iteration.index, waiting[0], accepted, platform)
            yield CreateRescue(pod_uid=waiting[0].uid, manifest=manifest)


def _rests(experiment: Experiment, iteration: IterationProgress) -> bool:
    """Whether no pod of it lives or comes any more; of a deleted Experiment's, because its Job was halted."""
    halted = is_deleted(experiment) and iteration.job is not None and iteration.job.at_rest
    return (iteration.ended or halted) and all(pod.ended for pod in iteration.pods)


def rescue_name(experiment: Experiment, pod_uid: str) -> str:
    """The same for ever, and never that of another pod's."""
    tail = f"-rescue-{hashlib.sha256(f'{experiment.metadata.uid}/{pod_uid}'.encode()).hexdigest()[:16]}"
    return name_with(experiment.name, tail, MAX_NAME)


def build_rescue(
    experiment: Experiment, index: int, pod: Abandoned, accepted: Accepted, platform: Platform
) -> dict[str, Any]:
    ours = {**labels(experiment, index), RESCUES_LABEL: pod.uid}
    template = experiment.spec.template.spec
    settings = msgspec.structs.replace(
        sidecar.settings(experiment, iteration_id(experiment.id, index), platform),
        pod_uid=pod.uid,
        drain_timeout_seconds=TRY_S,
        health_port=0,
    )
    artifacts = volumes.artifacts_mount(experiment, pod.uid) | {"readOnly": True}
    mounts = [artifacts, volumes.buffer_mount(experiment, pod.uid)]
    container = sidecar.plain_container(SIDECAR_CONTAINER, settings, accepted, platform, mounts=mounts)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": rescue_name(experiment, pod.uid),
            "namespace": experiment.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, **ours},
            "ownerReferences": [owner(experiment)],
        },
        "spec": {
            "backoffLimit": TRIES - 1,
            "activeDeadlineSeconds": DEADLINE_S,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": SIDECAR_CONTAINER,
                            "operator": "In",
                            "values": [_NOTHING_HERE],
                        },
                    },
                ]
            },
            "template": {
                "metadata": {"labels": ours, "annotations": {RESCUES_POD_ANNOTATION: pod.name}},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": _GRACE_S,
                    **{field: template[field] for field in _KEPT if field in template},
                    "automountServiceAccountToken": False,
                    "securityContext": volumes.security_context(experiment),
                    "containers": [{**container, "args": ["rescue"]}],
                    "volumes": sidecar.volumes(experiment, accepted, job_name(experiment, index)),
                },
            },
        },
    }
