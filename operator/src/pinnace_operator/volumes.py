"""Where a pod's artifacts and its sidecar's buffer lie: in folders that end with it, or on a claim that does not. Pure.

There is one claim for each iteration, called like its Job and owned by the Experiment. Each pod has a folder of its own
on it, called by its UID: no pod finds, overwrites or ships another's files, however many retries or workers there are,
and what a pod left is exactly what lies in its folder.
"""

from collections.abc import Mapping
from typing import Any, Final

from pinnace.naming import ARTIFACTS_VOLUME, BUFFER_VOLUME, ENV_POD_UID, GROUP
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EmptyDir

BUFFER_DIR: Final = "/buffer"

#: The group that the volume is given to where the template names none: most file systems are the superuser's at first.
GROUP_ID: Final = 65532

_ARTIFACTS: Final = "artifacts"
_BUFFER: Final = "buffer"
_OWN: Final = f"$({ENV_POD_UID})"


def is_persistent(experiment: Experiment) -> bool:
    """Whether what a pod leaves outlives it."""
    return experiment.spec.artifacts.volume.persistent_volume_claim is not None


def claim(experiment: Experiment, job: Mapping[str, Any]) -> dict[str, Any] | None:
    """The claim of the iteration that `job` is the manifest of; None where pods use folders of their node."""
    wanted = experiment.spec.artifacts.volume.persistent_volume_claim
    if wanted is None:
        return None
    ours = (GROUP, "app.kubernetes.io")
    labels = {name: value for name, value in job["metadata"]["labels"].items() if name.partition("/")[0] in ours}
    storage_class = {} if wanted.storage_class_name is None else {"storageClassName": wanted.storage_class_name}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        # The Job's, but for the labels of its queue: a claim is nothing to queue.
        "metadata": job["metadata"] | {"labels": labels},
        "spec": {
            "accessModes": [wanted.access_mode.value],
            "resources": {"requests": {"storage": wanted.size}},
            **storage_class,
        },
    }


def volumes(experiment: Experiment, job_name: str) -> list[dict[str, Any]]:
    artifacts = experiment.spec.artifacts
    if is_persistent(experiment):
        return [{"name": ARTIFACTS_VOLUME, "persistentVolumeClaim": {"claimName": job_name}}]
    folder = artifacts.volume.empty_dir or EmptyDir()
    return [
        {"name": ARTIFACTS_VOLUME, "emptyDir": {"sizeLimit": folder.size_limit}},
        {"name": BUFFER_VOLUME, "emptyDir": {"sizeLimit": artifacts.buffer.size_limit}},
    ]


def artifacts_mount(experiment: Experiment, pod_uid: str = "") -> dict[str, Any]:
    """Empty `pod_uid`: of the pod that the mount is in; its container has to have the `pod_uid_variable`."""
    mount = {"name": ARTIFACTS_VOLUME, "mountPath": experiment.spec.artifacts.mount_path}
    return mount | _folder(experiment, pod_uid, _ARTIFACTS)


def buffer_mount(experiment: Experiment, pod_uid: str = "") -> dict[str, Any]:
    """As `artifacts_mount`."""
    name = ARTIFACTS_VOLUME if is_persistent(experiment) else BUFFER_VOLUME
    return {"name": name, "mountPath": BUFFER_DIR} | _folder(experiment, pod_uid, _BUFFER)


def pod_uid_variable() -> dict[str, Any]:
    return {"name": ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}


def security_context(experiment: Experiment) -> dict[str, Any]:
    """The pod's, as the template has it, with a group that may write to the claim where the template names none."""
    given = experiment.spec.template.spec.get("securityContext") or {}
    if not isinstance(given, Mapping):
        # Left for Kubernetes to refuse, in the template.
        return {}
    if not is_persistent(experiment):
        return dict(given)
    return {"fsGroup": GROUP_ID, "fsGroupChangePolicy": "OnRootMismatch", **given}


def _folder(experiment: Experiment, pod_uid: str, name: str) -> dict[str, str]:
    if not is_persistent(experiment):
        return {}
    return {"subPath": f"{pod_uid}/{name}"} if pod_uid else {"subPathExpr": f"{_OWN}/{name}"}
