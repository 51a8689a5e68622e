"""The Cluster of ports.py on a real API server."""

from collections.abc import Collection
from typing import Any, Final

from pinnace.artifact_stores import ARTIFACT_STORE_PLURAL
from pinnace.naming import API_VERSION, EXPERIMENT_ID_LABEL, GROUP, KIND, PLURAL, VERSION
from pinnace_operator.job import STOPPED_ANNOTATION, SUSPENDED_ANNOTATION, SUSPENDED_PODS_ANNOTATION
from pinnace_operator.kubernetes_api import JSON, KubernetesApi
from pinnace_operator.ports import RefusedError, RejectedError

#: Who suspends and resumes is another manager than who made the Job: to apply is to say all that one wants, and
#: whoever says only `suspend` must not take the rest away.
SUSPEND_MANAGER: Final = "pinnace-operator-suspend"
EXPIRY_MANAGER: Final = "pinnace-operator-expiry"

#: The API server's word for a change of a Job's template.
_IMMUTABLE: Final = "field is immutable"


class KubernetesCluster(KubernetesApi):
    """Safe to use from several threads at once."""

    def jobs(self, namespace: str, experiment_id: str) -> tuple[list[dict[str, Any]], int]:
        return self._list(_of(f"/apis/batch/v1/namespaces/{namespace}/jobs", experiment_id))

    def pods(self, namespace: str, experiment_id: str) -> tuple[list[dict[str, Any]], int]:
        return self._list(_of(f"/api/v1/namespaces/{namespace}/pods", experiment_id))

    def artifact_stores(self) -> tuple[list[dict[str, Any]], int]:
        return self._list(f"/apis/{GROUP}/{VERSION}/{ARTIFACT_STORE_PLURAL}")

    def namespaces(self) -> tuple[list[dict[str, Any]], int]:
        return self._list("/api/v1/namespaces")

    def apply_job(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return self._apply(_job_path(manifest["metadata"]["namespace"], manifest["metadata"]["name"]), manifest)
        except RejectedError as error:
            # It exists with another template, made by another version of the operator: that one goes on.
            if _IMMUTABLE not in str(error):
                raise
            return None

    def create_claim(self, manifest: dict[str, Any]) -> None:
        # Not applied: what was asked for once is not changed by an edit, and the right to create is enough.
        self._create(f"/api/v1/namespaces/{manifest['metadata']['namespace']}/persistentvolumeclaims", manifest)

    def suspend_job(
        self, namespace: str, name: str, uid: str, *, suspend: bool, pods: Collection[str] = (), for_good: str = ""
    ) -> None:
        annotations = {SUSPENDED_ANNOTATION: "true"} if suspend else {}
        if pods:
            annotations[SUSPENDED_PODS_ANNOTATION] = " ".join(sorted(pods))
        if for_good:
            annotations[STOPPED_ANNOTATION] = for_good
        manifest = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": uid,
                "annotations": annotations,
            },
            "spec": {"suspend": suspend},
        }
        self._apply(_job_path(namespace, name), manifest, manager=SUSPEND_MANAGER)

    def expire_job(self, namespace: str, name: str, uid: str, *, seconds: int) -> None:
        manifest = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "spec": {"ttlSecondsAfterFinished": seconds},
        }
        self._apply(_job_path(namespace, name), manifest, manager=EXPIRY_MANAGER)

    def create_service(self, manifest: dict[str, Any]) -> None:
        self._create(f"/api/v1/namespaces/{manifest['metadata']['namespace']}/services", manifest)

    def apply_status(self, namespace: str, name: str, uid: str, status: dict[str, Any]) -> int:
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "status": status,
        }
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}/status"
        return int(self._apply(path, manifest)["metadata"]["resourceVersion"])

    def create_event(self, manifest: dict[str, Any]) -> None:
        self._create(f"/apis/events.k8s.io/v1/namespaces/{manifest['metadata']['namespace']}/events", manifest)

    def _list(self, path: str) -> tuple[list[dict[str, Any]], int]:
        answer = self._call("GET", path)
        return answer["items"], int(answer["metadata"]["resourceVersion"])

    def _create(self, path: str, manifest: dict[str, Any]) -> None:
        try:
            self._call("POST", path, manifest, JSON)
        except RefusedError as error:
            if error.reason != "AlreadyExists":
                raise


def _of(path: str, experiment_id: str) -> str:
    return f"{path}?labelSelector={EXPERIMENT_ID_LABEL}%3D{experiment_id}"


def _job_path(namespace: str, name: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
