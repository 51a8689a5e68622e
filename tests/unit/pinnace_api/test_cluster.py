"""Kubernetes' answers, read as the API needs them."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from kubernetes import client

from pinnace.naming import ITERATION_ID_LABEL, RESCUES_LABEL, RESCUES_POD_ANNOTATION, TOKEN_AUDIENCE
from pinnace.records import WriterEnd
from pinnace_api.cluster import KubernetesReviewer, PodObject, writer_end
from pinnace_api.identity import Pod, ServiceAccount
from pinnace_api.refusals import Unavailable

RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-01-31T12:00:00Z"}}
WAITING: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff"}}


def ended(code: int, signal: int = 0) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "signal": signal, "reason": "Whatever"}}


def pod(*states: dict[str, Any], containers: int = 0, leaving: bool = False, last: Any = None) -> PodObject:
    whole = {
        "metadata": {"uid": "one", "deletionTimestamp": "2026-01-31T12:00:00Z" if leaving else ""},
        "spec": {"containers": [{"name": f"c{number}"} for number in range(containers or len(states))]},
        "status": {"containerStatuses": [{"state": state, "lastState": last or {}} for state in states]},
    }
    return msgspec.convert(whole, PodObject)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (pod(ended(0)), WriterEnd.CLEAN),
        (pod(ended(0), ended(0)), WriterEnd.CLEAN),
        (pod(ended(0), ended(1)), WriterEnd.FAILED),
        (pod(ended(0, signal=9)), WriterEnd.FAILED),
        (pod(ended(137)), WriterEnd.FAILED),
        (pod(ended(1), RUNNING), WriterEnd.RUNNING),
        (pod(ended(0), containers=2), WriterEnd.RUNNING),
        (pod(containers=1), WriterEnd.RUNNING),
        (pod(WAITING, last=ended(1)), WriterEnd.RUNNING),
        (pod(WAITING, last=ended(1), leaving=True), WriterEnd.FAILED),
        (pod(WAITING, last=ended(0), leaving=True), WriterEnd.CLEAN),
        (pod(WAITING, leaving=True), WriterEnd.CLEAN),
        (pod(RUNNING, leaving=True), WriterEnd.UNKNOWN),
        (pod(ended(0), RUNNING, leaving=True), WriterEnd.UNKNOWN),
        (pod(RUNNING), WriterEnd.RUNNING),
        (PodObject(), WriterEnd.RUNNING),
    ],
)
def test_writers_have_ended_when_every_container_has(subject: PodObject, expected: WriterEnd) -> None:
    assert writer_end(subject) is expected


class Kubernetes:
    """A server that answers with what it was told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.answer = 200, {}
        self.asked: list[tuple[str, Any]] = []
        kubernetes = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length", "0"))
                kubernetes.asked.append((self.path, json.loads(self.rfile.read(length) or b"null")))
                body = json.dumps(kubernetes.answer).encode()
                self.send_response(kubernetes.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    answer: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def kubernetes() -> Iterator[Kubernetes]:
    fake = Kubernetes()
    thread = threading.Thread(target=fake.server.serve_forever, args=(0.01,))
    thread.start()
    yield fake
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


@pytest.fixture
def reviewer(kubernetes: Kubernetes) -> Iterator[KubernetesReviewer]:
    configuration = client.Configuration()
    configuration.host = kubernetes.url
    configuration.retries = 0
    api: Any = client.ApiClient(configuration)
    yield KubernetesReviewer(api)
    api.rest_client.pool_manager.clear()


def review(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}, "status": status}


GOOD = {
    "authenticated": True,
    "audiences": [TOKEN_AUDIENCE],
    "user": {
        "username": "system:serviceaccount:ml:default",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["pod-one"],
            "authentication.kubernetes.io/pod-uid": ["one"],
        },
    },
}


def test_a_token_is_reviewed_for_our_audience(kubernetes: Kubernetes, reviewer: KubernetesReviewer) -> None:
    kubernetes.status, kubernetes.answer = 201, review(**GOOD)
    account = reviewer.review("a.b.c")
    assert account == ServiceAccount(subject="system:serviceaccount:ml:default", pod_name="pod-one", pod_uid="one")
    assert account.namespace == "ml"
    path, body = kubernetes.asked[0]
    assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert body["spec"] == {"audiences": [TOKEN_AUDIENCE], "token": "a.b.c"}


@pytest.mark.parametrize(
    "status",
    [
        {"authenticated": False, "error": "expired"},
        {},
        {**GOOD, "audiences": []},
        {**GOOD, "audiences": ["https://kubernetes.default.svc"]},
    ],
)
def test_nobody_is_vouched_for_without_our_audience(
    kubernetes: Kubernetes, reviewer: KubernetesReviewer, status: dict[str, Any]
) -> None:
    kubernetes.status, kubernetes.answer = 201, review(**status)
    assert reviewer.review("a.b.c") is None


def test_what_can_not_be_a_token_is_not_sent(kubernetes: Kubernetes, reviewer: KubernetesReviewer) -> None:
    assert reviewer.review("no-jwt") is None
    assert kubernetes.asked == []


@pytest.mark.parametrize(
    ("label", "expected"), [("0c7b8a9e-1111-4222-8333-444455556666", True), ("", False), ("no-uuid", False)]
)
def test_a_pod_names_its_iteration_by_label(
    kubernetes: Kubernetes, reviewer: KubernetesReviewer, label: str, expected: bool
) -> None:
    kubernetes.answer = {
        "metadata": {"name": "pod-one", "uid": "one", "labels": {ITERATION_ID_LABEL: label}},
        "spec": {"containers": [{"name": "train"}]},
        "status": {
            "containerStatuses": [
                {
                    "name": "train",
                    "image": "i",
                    "imageID": "i",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": {"exitCode": 0}},
                }
            ]
        },
    }
    found = reviewer.pod("ml", "pod-one")
    assert found == Pod(uid="one", iteration=UUID(label) if expected else None, writers=WriterEnd.CLEAN)
    assert kubernetes.asked[0][0] == "/api/v1/namespaces/ml/pods/pod-one"


@pytest.mark.parametrize(("phase", "ended"), [("Running", False), ("Pending", False), ("Failed", True)])
def test_a_pod_says_whether_it_has_ended_and_whose_files_it_rescues(
    kubernetes: Kubernetes, reviewer: KubernetesReviewer, phase: str, ended: bool
) -> None:
    kubernetes.answer = {
        "metadata": {
            "uid": "two",
            "labels": {RESCUES_LABEL: "one"},
            "annotations": {RESCUES_POD_ANNOTATION: "pod-one"},
        },
        "status": {"phase": phase},
    }
    found = reviewer.pod("ml", "pod-two")
    assert found is not None
    assert (found.ended, found.rescues, found.rescues_name) == (ended, "one", "pod-one")


@pytest.mark.parametrize(("phase", "expected"), [("Failed", WriterEnd.FAILED), ("Succeeded", WriterEnd.CLEAN)])
@pytest.mark.parametrize("statuses", [[], [{"name": "train", "state": {"waiting": {"reason": "ContainerCreating"}}}]])
def test_writers_of_a_pod_that_has_ended_write_no_more_whatever_is_known_of_them(
    phase: str, expected: WriterEnd, statuses: list[dict[str, object]]
) -> None:
    pod = {"spec": {"containers": [{}]}, "status": {"phase": phase, "containerStatuses": statuses}}
    assert writer_end(msgspec.convert(pod, PodObject)) is expected


def test_a_pod_that_is_gone_is_none(kubernetes: Kubernetes, reviewer: KubernetesReviewer) -> None:
    kubernetes.status = 404
    assert reviewer.pod("ml", uuid4().hex) is None


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_kubernetes_that_refuses_is_unavailable(
    kubernetes: Kubernetes, reviewer: KubernetesReviewer, status: int
) -> None:
    kubernetes.status = status
    with pytest.raises(Unavailable):
        reviewer.review("a.b.c")
    with pytest.raises(Unavailable):
        reviewer.pod("ml", "pod-one")


def test_a_kubernetes_that_is_away_is_unavailable() -> None:
    configuration = client.Configuration()
    configuration.host = "http://127.0.0.1:1"
    configuration.retries = 0
    with pytest.raises(Unavailable):
        KubernetesReviewer(client.ApiClient(configuration)).review("a.b.c")
