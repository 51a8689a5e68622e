"""The pods of one iteration: the user's template, and what Pinnace adds to it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pinnace import naming
from pinnace.ids import iteration_id
from pinnace_operator import restore, sidecar, volumes, workers
from pinnace_operator.acceptance import Accepted, grace_seconds
from pinnace_operator.experiment import Experiment
from pinnace_operator.search.values import Combination, spelled, variable
from pinnace_operator.settings import Platform


def pod_spec(
    experiment: Experiment, index: int, job: str, accepted: Accepted, platform: Platform, *, parameters: Combination
) -> dict[str, Any]:
    """The PodSpec for iteration `index`, whose Job is called `job`."""
    security = volumes.security_context(experiment)
    subdomain = {"subdomain": workers.service_name(job)} if experiment.spec.workers > 1 else {}
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace_seconds(experiment),
        **experiment.spec.template.spec,
        **subdomain,
        **({"securityContext": security} if security else {}),
    }
    variables = workers.variables(experiment, job)
    return fitted(pod, experiment, index, accepted, platform, job=job, parameters=parameters, variables=variables)


def fitted(
    pod: Mapping[str, Any],
    experiment: Experiment,
    index: int,
    accepted: Accepted,
    platform: Platform,
    *,
    job: str,
    parameters: Combination,
    variables: Iterable[dict[str, Any]] = (),
    injected: bool = False,
) -> dict[str, Any]:
    """A pod's spec with the sidecar of iteration `index`, whoever it is of; its containers get `variables`, too.

    Safe to repeat: what is there by name is left as it is.
    """
    environment = [*_environment(experiment, index, parameters), *variables]
    mount = volumes.artifacts_mount(experiment)

    def with_ours(container: Mapping[str, Any]) -> dict[str, Any]:
        # Ours come first, so that the user's variables can refer to them.
        env, mounts = container.get("env") or (), container.get("volumeMounts") or ()
        return {
            **container,
            "env": [*_missing(environment, env), *env],
            "volumeMounts": [*mounts, *_missing([mount], mounts)],
        }

    iteration = iteration_id(experiment.id, index)
    # The sidecar before all others, so that it sees what init containers of the user's write.
    ours = [
        *restore.containers(experiment, iteration, accepted, platform),
        sidecar.container(experiment, iteration, accepted, platform, injected=injected),
    ]
    names = {container["name"] for container in ours}
    before, there = pod.get("initContainers") or (), pod.get("volumes") or ()
    return {
        **pod,
        "initContainers": [
            *_missing(ours, before),
            *(container if container.get("name") in names else with_ours(container) for container in before),
        ],
        "containers": [with_ours(container) for container in pod["containers"]],
        "volumes": [*there, *_missing(sidecar.volumes(experiment, accepted, job), there)],
    }


def _missing(ours: Iterable[dict[str, Any]], there: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = {item.get("name") for item in there}
    return [item for item in ours if item["name"] not in names]


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
