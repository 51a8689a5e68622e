"""The API server that tests start by themselves is a real one, and leaves nothing running."""

import json

import pytest

from cluster.kubectl import apply, get, items, kubectl
from support.control_plane import ControlPlane
from support.eventually import eventually

pytestmark = pytest.mark.usefixtures("plane")


def test_a_job_gets_its_pod_and_every_request_is_in_the_audit_log(plane: ControlPlane) -> None:
    container = {"name": "main", "image": "example"}
    pod = {"restartPolicy": "Never", "containers": [container]}
    kubectl("create", "namespace", "jobs")
    apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"}, "spec": {"template": {"spec": pod}}},
        namespace="jobs",
    )
    [made] = eventually(lambda: items("pods", "jobs"), timeout=30, what="the Job's pod")
    assert made["status"]["phase"] == "Pending"
    requests = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
    assert any(request["objectRef"].get("name") == "one" for request in requests if "objectRef" in request)


def test_a_namespace_that_is_deleted_goes_away() -> None:
    kubectl("create", "namespace", "short")
    kubectl("delete", "namespace", "short", "--timeout=60s")
    assert get("namespace", "short") is None
