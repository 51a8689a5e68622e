"""The Job of one iteration: the user's pod template, and what Pinnace adds to it. Pure: values in, a manifest out."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pinnace import naming
from pinnace.ids import iteration_id
from pinnace_operator import sidecar
from pinnace_operator.acceptance import Accepted, grace_seconds
from pinnace_operator.experiment import Experiment
from pinnace_operator.search import Combination, spelled, variable
from pinnace_operator.settings import Platform

#: The Job's name is a label of its pods.
MAX_NAME: Final = 63

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "pinnace-operator"

#: On a Job that we suspended ourselves: only those are resumed by us, never one that a queue holds back.
SUSPENDED_ANNOTATION: Final = f"{naming.GROUP}/suspended"

#: Labels of the template with this prefix are the Job's as well: that is where the queue looks for them.
QUEUE_LABEL_PREFIX: Final = "kueue.x-k8s.io/"


def job_name(experiment: Experiment, index: int) -> str:
    """The same for ever, and never that of another Experiment, not even of a deleted one of the same name."""
    tail = f"-{hashlib.sha256(experiment.metadata.uid.encode()).hexdigest()[:8]}-{index}"
    head = re.sub(r"[^a-z0-9]+", "-", experiment.name)[: MAX_NAME - len(tail)].strip("-")
    return head + tail


def labels(experiment: Experiment, index: int) -> dict[str, str]:
    """The contract of pinnace.naming, on the Job and its pods."""
    return {
        naming.EXPERIMENT_LABEL: experiment.name[:63].rstrip("-."),
        naming.EXPERIMENT_ID_LABEL: experiment.metadata.uid,
        naming.ITERATION_LABEL: str(index),
        naming.ITERATION_ID_LABEL: str(iteration_id(experiment.id, index)),
    }


def build_job(experiment: Experiment, index: int, accepted: Accepted, platform: Platform) -> dict[str, Any]:
    spec, template = experiment.spec, experiment.spec.template
    queueing = {k: v for k, v in template.metadata.labels.items() if k.startswith(QUEUE_LABEL_PREFIX)}
    deadline = {} if spec.active_deadline_seconds is None else {"activeDeadlineSeconds": spec.active_deadline_seconds}
    ours = labels(experiment, index)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(experiment, index),
            "namespace": experiment.namespace,
            "labels": {**queueing, MANAGED_BY_LABEL: MANAGED_BY, **ours},
            "ownerReferences": [
                {
                    "apiVersion": naming.API_VERSION,
                    "kind": naming.KIND,
                    "name": experiment.name,
                    "uid": experiment.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": spec.backoff_limit,
            **deadline,
            # The next pod is made only when the last one has shipped what it wrote and is gone.
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {
                    "labels": {**template.metadata.labels, **ours},
                    "annotations": dict(template.metadata.annotations),
                },
                "spec": _pod(experiment, index, accepted, platform),
            },
        },
    }


def _pod(experiment: Experiment, index: int, accepted: Accepted, platform: Platform) -> dict[str, Any]:
    pod = experiment.spec.template.spec
    iteration = iteration_id(experiment.id, index)
    environment = _environment(experiment, index, accepted.combinations[index])
    mount = {"name": naming.ARTIFACTS_VOLUME, "mountPath": experiment.spec.artifacts.mount_path}

    def fitted(container: Mapping[str, Any]) -> dict[str, Any]:
        # Ours come first, so that the user's variables can refer to them.
        return {
            **container,
            "env": [*environment, *(container.get("env") or ())],
            "volumeMounts": [*(container.get("volumeMounts") or ()), mount],
        }

    ours = sidecar.container(experiment, iteration, accepted, platform)
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace_seconds(experiment),
        **pod,
        # First of all, so that it sees what init containers of the user's write.
        "initContainers": [ours, *(fitted(container) for container in pod.get("initContainers") or ())],
        "containers": [fitted(container) for container in pod["containers"]],
        "volumes": [*(pod.get("volumes") or ()), *sidecar.volumes(experiment, accepted)],
    }


def _environment(experiment: Experiment, index: int, parameters: Combination) -> list[dict[str, str]]:
    values = {
        naming.ENV_EXPERIMENT: experiment.name,
        naming.ENV_ITERATION: str(index),
        naming.ENV_ITERATION_ID: str(iteration_id(experiment.id, index)),
        naming.ENV_PROJECT: experiment.project,
        naming.ENV_ARTIFACTS_DIR: experiment.spec.artifacts.mount_path,
        naming.ENV_PARAMS: msgspec.json.encode(parameters).decode(),
        **{variable(name): spelled(value) for name, value in parameters.items()},
    }
    if (system := experiment.spec.metrics.system).enabled:
        folder = experiment.spec.artifacts.mount_path
        values[naming.ENV_SYSTEM_METRICS_FILE] = f"{folder}/{naming.SYSTEM_METRICS_NAME}"
        values[naming.ENV_SYSTEM_METRICS_SECONDS] = str(system.interval_seconds)
    return [{"name": name, "value": sidecar.literal(value)} for name, value in values.items()]
