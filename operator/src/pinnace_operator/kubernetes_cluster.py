"""The Cluster of ports.py on a real API server."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import quote

from pinnace.artifact_stores import ARTIFACT_STORE_PLURAL
from pinnace.naming import API_VERSION, EXPERIMENT_ID_LABEL, GROUP, KIND, PLURAL, VERSION
from pinnace_operator.engines.kinds import Resource, resource_of, suspension
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.job import (
    STOPPED_ANNOTATION,
    SUSPENDED_ANNOTATION,
    SUSPENDED_PODS_ANNOTATION,
    UNCOUNTED_PODS_ANNOTATION,
)
from pinnace_operator.kubernetes_api import FIELD_MANAGER, JSON, KubernetesApi
from pinnace_operator.ports import ClusterError, GoneError, NamespaceEndsError, RefusedError, RejectedError

#: Who suspends and resumes is another manager than who made the Job, and tells of changes only: where a spec is atomic
#: (a Workflow's is, in the definition that Argo installs), whoever applied no more than `suspend` would take all of the
#: rest away.
SUSPEND_MANAGER: Final = "pinnace-operator-suspend"
EXPIRY_MANAGER: Final = "pinnace-operator-expiry"

#: Nor must whoever writes the status take the finalizer away.
FINALIZER_MANAGER: Final = "pinnace-operator-finalizer"

#: Nor must whoever ends a Job take more from it.
END_MANAGER: Final = "pinnace-operator-end"

#: Experiments in one answer.
_PAGE: Final = 500

_JSON_PATCH: Final = "application/json-patch+json"
_MERGE_PATCH: Final = "application/merge-patch+json"

#: Unknown fields are refused and not dropped, as they are where a manifest is applied.
_STRICT: Final = f"fieldManager={FIELD_MANAGER}&fieldValidation=Strict"

#: The API server's word for a change of a Job's template.
_IMMUTABLE: Final = "field is immutable"


class KubernetesCluster(KubernetesApi):
    """Safe to use from several threads at once."""

    def jobs(
        self, namespace: str, experiment_id: str, engine: EngineKind = EngineKind.JOB
    ) -> tuple[list[dict[str, Any]], int]:
        return self._list(_of(_path(engine, namespace), experiment_id))

    def pods(self, namespace: str, experiment_id: str) -> tuple[list[dict[str, Any]], int]:
        return self._list(_of(f"/api/v1/namespaces/{namespace}/pods", experiment_id))

    def serves(self, resource: Resource) -> bool:
        """Whether the cluster knows such objects, as far as it tells."""
        try:
            answer = self._call("GET", f"/apis/{resource.api_version}")
        except ClusterError:
            return False
        return any(one["name"] == resource.plural for one in answer["resources"])

    def artifact_stores(self) -> tuple[list[dict[str, Any]], int]:
        return self._list(f"/apis/{GROUP}/{VERSION}/{ARTIFACT_STORE_PLURAL}")

    def namespaces(self) -> tuple[list[dict[str, Any]], int]:
        return self._list("/api/v1/namespaces")

    def apply_job(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        meta, engine = manifest["metadata"], EngineKind(manifest["kind"])
        if engine is not EngineKind.JOB:
            return self._create(f"{_path(engine, meta['namespace'])}?{_STRICT}", manifest)
        try:
            return self._apply(_path(engine, meta["namespace"], meta["name"]), manifest)
        except RejectedError as error:
            # It exists with another template, made by another version of the operator: that one goes on.
            if _IMMUTABLE not in str(error):
                raise
            return None

    def create_claim(self, manifest: dict[str, Any]) -> None:
        # Not applied: what was asked for once is not changed by an edit, and the right to create is enough.
        self._create(f"/api/v1/namespaces/{manifest['metadata']['namespace']}/persistentvolumeclaims", manifest)

    def suspend_job(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        suspend: bool,
        engine: EngineKind = EngineKind.JOB,
        pods: Collection[str] = (),
        uncounted: Collection[str] = (),
        for_good: str = "",
    ) -> None:
        change = {
            "metadata": {
                "uid": uid,
                "annotations": {
                    SUSPENDED_ANNOTATION: "true" if suspend else None,
                    STOPPED_ANNOTATION: for_good or None,
                    **_noted(pods, uncounted),
                },
            },
            "spec": suspension(engine, suspend=suspend, for_good=bool(for_good)),
        }
        self._change(namespace, name, engine, change)

    def note_pods(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        engine: EngineKind = EngineKind.JOB,
        pods: Collection[str],
        uncounted: Collection[str],
    ) -> None:
        self._change(namespace, name, engine, {"metadata": {"uid": uid, "annotations": _noted(pods, uncounted)}})

    def expire_job(self, namespace: str, name: str, uid: str, *, seconds: int) -> None:
        self._say(namespace, name, uid, {"ttlSecondsAfterFinished": seconds}, EXPIRY_MANAGER)

    def end_job(self, namespace: str, name: str, uid: str, *, seconds: int) -> None:
        # The time of a suspended one does not run.
        self._say(namespace, name, uid, {"activeDeadlineSeconds": seconds, "suspend": False}, END_MANAGER)

    def create_service(self, manifest: dict[str, Any]) -> None:
        self._create(f"/api/v1/namespaces/{manifest['metadata']['namespace']}/services", manifest)

    def apply_status(self, namespace: str, name: str, uid: str, status: dict[str, Any]) -> int:
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "status": status,
        }
        path = f"{_experiment_path(namespace, name)}/status"
        return int(self._apply(path, manifest)["metadata"]["resourceVersion"])

    def hold_experiment(self, namespace: str, name: str, uid: str, finalizer: str) -> int:
        manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "finalizers": [finalizer]},
        }
        answer = self._apply(_experiment_path(namespace, name), manifest, manager=FINALIZER_MANAGER)
        return int(answer["metadata"]["resourceVersion"])

    def release_experiment(self, namespace: str, name: str, uid: str, finalizers: Sequence[str], finalizer: str) -> int:
        # Not by applying nothing: that would leave it there when somebody else has applied it as well.
        place = f"/metadata/finalizers/{finalizers.index(finalizer)}"
        changes = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": place, "value": finalizer},
            {"op": "remove", "path": place},
        ]
        path = f"{_experiment_path(namespace, name)}?fieldManager={FINALIZER_MANAGER}"
        answer = self._call("PATCH", path, changes, _JSON_PATCH)
        return int(answer["metadata"]["resourceVersion"])

    def experiments(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """Those of the namespace, or of all (empty), that the selector (empty: any) picks; only their metadata."""
        place = f"/namespaces/{namespace}" if namespace else ""
        path, found, more = f"/apis/{GROUP}/{VERSION}{place}/{PLURAL}", list[dict[str, Any]](), ""
        while True:
            query = f"limit={_PAGE}&labelSelector={quote(selector, safe='')}&continue={quote(more, safe='')}"
            try:
                answer = self._call("GET", f"{path}?{query}")
            except GoneError:
                # There is no such resource, so there are no Experiments.
                return found
            found += [{"metadata": item["metadata"]} for item in answer["items"]]
            more = answer["metadata"].get("continue", "")
            if not more:
                return found

    def namespace_ends(self, namespace: str) -> bool:
        """Whether it is being deleted, as far as we may know. Changes nothing."""
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events?dryRun=All"
        probe = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"generateName": "probe-"}}
        try:
            self._call("POST", path, probe, JSON)
        except NamespaceEndsError:
            return True
        except ClusterError:
            return False
        return False

    def lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return self._call("GET", f"{_leases_path(namespace)}/{name}")
        except GoneError:
            return None

    def put_lease(self, manifest: dict[str, Any]) -> dict[str, Any]:
        path, name = _leases_path(manifest["metadata"]["namespace"]), manifest["metadata"]["name"]
        if "resourceVersion" in manifest["metadata"]:
            return self._send("PUT", f"{path}/{name}", manifest, JSON)
        return self._send("POST", path, manifest, JSON)

    def create_event(self, manifest: dict[str, Any]) -> None:
        self._create(f"/apis/events.k8s.io/v1/namespaces/{manifest['metadata']['namespace']}/events", manifest)

    def _say(self, namespace: str, name: str, uid: str, spec: dict[str, Any], manager: str) -> None:
        """This, and nothing else, about this very Job."""
        manifest = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "spec": spec,
        }
        self._apply(_path(EngineKind.JOB, namespace, name), manifest, manager=manager)

    def _change(self, namespace: str, name: str, engine: EngineKind, change: dict[str, Any]) -> None:
        path = f"{_path(engine, namespace, name)}?fieldManager={SUSPEND_MANAGER}"
        self._call("PATCH", path, change, _MERGE_PATCH)

    def _list(self, path: str) -> tuple[list[dict[str, Any]], int]:
        answer = self._call("GET", path)
        return answer["items"], int(answer["metadata"]["resourceVersion"])

    def _create(self, path: str, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """As it was made; None: it was there already."""
        try:
            return self._call("POST", path, manifest, JSON)
        except RefusedError as error:
            if error.reason != "AlreadyExists":
                raise
            return None


def _leases_path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def _experiment_path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"


def _of(path: str, experiment_id: str) -> str:
    return f"{path}?labelSelector={EXPERIMENT_ID_LABEL}%3D{experiment_id}"


def _path(engine: EngineKind, namespace: str, name: str = "") -> str:
    resource = resource_of(engine)
    path = f"/apis/{resource.api_version}/namespaces/{namespace}/{resource.plural}"
    return f"{path}/{name}" if name else path


def _noted(pods: Collection[str], uncounted: Collection[str]) -> dict[str, str | None]:
    return {
        SUSPENDED_PODS_ANNOTATION: " ".join(sorted(pods)) or None,
        UNCOUNTED_PODS_ANNOTATION: " ".join(sorted(uncounted)) or None,
    }
