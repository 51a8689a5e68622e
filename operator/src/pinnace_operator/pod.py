"""The pods of one iteration: the user's template, and what Pinnace adds to it. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pinnace import naming
from pinnace.ids import iteration_id
from pinnace_operator import restore, sidecar, volumes, workers
from pinnace_operator.acceptance import Accepted, grace_seconds
from pinnace_operator.experiment import Experiment
from pinnace_operator.search import Combination, spelled, variable
from pinnace_operator.settings import Platform


def pod_spec(experiment: Experiment, index: int, job: str, accepted: Accepted, platform: Platform) -> dict[str, Any]:
    """The PodSpec for iteration `index`, whose Job is called `job`."""
    pod = experiment.spec.template.spec
    iteration = iteration_id(experiment.id, index)
    environment = [
        *_environment(experiment, index, accepted.combinations[index]),
        *workers.variables(experiment, job),
    ]
    mount = volumes.artifacts_mount(experiment)
    security = volumes.security_context(experiment)

    def fitted(container: Mapping[str, Any]) -> dict[str, Any]:
        # Ours come first, so that the user's variables can refer to them.
        return {
            **container,
            "env": [*environment, *(container.get("env") or ())],
            "volumeMounts": [*(container.get("volumeMounts") or ()), mount],
        }

    ours = sidecar.container(experiment, iteration, accepted, platform)
    subdomain = {"subdomain": workers.service_name(job)} if experiment.spec.workers > 1 else {}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace_seconds(experiment),
        **pod,
        **subdomain,
        **({"securityContext": security} if security else {}),
        # The sidecar before all others, so that it sees what init containers of the user's write.
        "initContainers": [
            *restore.containers(experiment, iteration, accepted, platform),
            ours,
            *(fitted(container) for container in pod.get("initContainers") or ()),
        ],
        "containers": [fitted(container) for container in pod["containers"]],
        "volumes": [*(pod.get("volumes") or ()), *sidecar.volumes(experiment, accepted, job)],
    }


def _environment(experiment: Experiment, index: int, parameters: Combination) -> list[dict[str, Any]]:
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
    of_pod = [volumes.pod_uid_variable()] if volumes.is_persistent(experiment) else []
    return [*of_pod, *({"name": name, "value": sidecar.literal(value)} for name, value in values.items())]
