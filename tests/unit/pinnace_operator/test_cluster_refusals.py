"""What each answer of an API server means to the operator."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import kopf
import pytest

from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.ports import GoneError, RefusedError, RejectedError, UnavailableError


class Answering:
    """An API server that gives one answer to everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append(
                    (self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, content)
                )
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_PATCH = do_POST = answer  # noqa: N815 - the library calls them so

            def log_message(self, *args: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def cluster(self) -> KubernetesCluster:
        info = kopf.ConnectionInfo(server=f"http://127.0.0.1:{self.server.server_port}", token="a-token")
        return KubernetesCluster(lambda: info)

    def refuse(self, status: int, message: str, reason: str = "") -> None:
        self.status = status
        self.body = json.dumps({"kind": "Status", "message": message, "reason": reason}).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.close()


JOB = {"kind": "Job", "metadata": {"name": "sweep-0", "namespace": "team-a"}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (422, RejectedError),
        (403, RefusedError),
        (409, RefusedError),
        (404, GoneError),
        (401, UnavailableError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
def test_each_refusal_has_its_meaning_and_keeps_the_servers_words(
    server: Answering, status: int, kind: type[Exception]
) -> None:
    server.refuse(status, "because of the weather")
    with pytest.raises(kind, match="because of the weather"):
        server.cluster.apply_job(JOB)


def test_a_field_that_no_job_has_is_the_templates_fault_although_the_server_says_500(server: Answering) -> None:
    server.refuse(500, "failed to create typed patch object (x; batch/v1, Kind=Job): .spec.a: field not declared")
    with pytest.raises(RejectedError):
        server.cluster.apply_job(JOB)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            400,
            'admission webhook "validate.kyverno.svc-fail" denied the request: resource Job/team-a/sweep-0 was blocked',
        ),
        (422, "jobs.batch \"sweep-0\" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no"),
    ],
)
def test_a_rule_that_somebody_else_set_may_change_whatever_its_code(
    server: Answering, status: int, message: str
) -> None:
    server.refuse(status, message)
    with pytest.raises(RefusedError):
        server.cluster.apply_job(JOB)


def test_an_answer_that_is_not_the_api_servers_is_no_answer(server: Answering) -> None:
    server.body = b"<html>a proxy</html>"
    with pytest.raises(UnavailableError):
        server.cluster.apply_job(JOB)
    server.status = 502
    with pytest.raises(UnavailableError, match="a proxy"):
        server.cluster.apply_job(JOB)


def test_nobody_there_is_no_answer(server: Answering) -> None:
    cluster = server.cluster
    server.close()
    with pytest.raises(UnavailableError, match="does not answer"):
        cluster.apply_job(JOB)


def test_one_call_is_one_request_with_the_token_and_the_field_manager(server: Answering) -> None:
    server.refuse(503, "busy")
    with pytest.raises(UnavailableError):
        server.cluster.apply_job(JOB)
    [(method, path, headers, body)] = server.requests
    assert method == "PATCH"
    assert path == "/apis/batch/v1/namespaces/team-a/jobs/sweep-0?fieldManager=pinnace-operator&force=true"
    assert headers["authorization"] == "Bearer a-token"
    assert headers["content-type"] == "application/apply-patch+yaml"
    assert json.loads(body) == JOB


def test_an_immutable_template_means_that_the_job_is_there_already(server: Answering) -> None:
    server.refuse(422, 'Job.batch "x" is invalid: spec.template: Invalid value: {}: field is immutable')
    server.cluster.apply_job(JOB)


def test_an_event_that_was_told_already_is_not_told_again(server: Answering) -> None:
    server.refuse(409, "exists", "AlreadyExists")
    server.cluster.create_event(JOB)
    server.refuse(409, "namespace is being terminated", "Conflict")
    with pytest.raises(RefusedError):
        server.cluster.create_event(JOB)


def test_a_list_has_a_version_and_asks_by_label(server: Answering) -> None:
    server.body = b'{"metadata": {"resourceVersion": "42"}, "items": [{"a": 1}]}'
    assert server.cluster.pods("team-a", "some-id") == ([{"a": 1}], 42)
    assert server.requests[0][1] == "/api/v1/namespaces/team-a/pods?labelSelector=pinnace.dev/experiment-id%3Dsome-id"
