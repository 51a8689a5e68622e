"""The HTTPS endpoint: whom it answers, what it refuses to read, and how it changes its certificate."""

import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import urllib3

from pinnace_operator.admission import server
from pinnace_operator.admission.certificates import Serving, issue
from pinnace_operator.admission.review import Decision, Outcome, Request, UnreadableError
from pinnace_operator.admission.server import MAX_BODY, AdmissionServer
from support.eventually import eventually


def fresh() -> Serving:
    return issue(["localhost"], timedelta(days=1), datetime.now(UTC))


class Keeper:
    def __init__(self, serving: Serving | None) -> None:
        self.serving = serving

    def look(self) -> tuple[Serving | None, timedelta]:
        return self.serving, timedelta(milliseconds=20)


NOTED: list[tuple[str, Outcome, float]] = []


def decide(request: Request) -> Decision:
    match request.namespace:
        case "bad":
            return Decision(refusal="not so")
        case "odd":
            raise UnreadableError("not for this hook")
        case "broken":
            raise RuntimeError("a defect, with secrets: hunter2")
    return Decision()


@pytest.fixture
def keeper() -> Keeper:
    return Keeper(fresh())


@pytest.fixture
def url(keeper: Keeper) -> Iterator[str]:
    NOTED.clear()
    with AdmissionServer({"/hook": decide}, keeper, port=0, note=lambda *noted: NOTED.append(noted)) as running:
        yield f"https://localhost:{running.port}"


def http(serving: Serving) -> urllib3.PoolManager:
    context = ssl.create_default_context(cadata=serving.authority.decode())
    return urllib3.PoolManager(ssl_context=context, retries=urllib3.Retry(connect=9, backoff_factor=0.05), timeout=10.0)


def review(namespace: str = "team-a") -> bytes:
    asked = {"uid": "u", "kind": {"version": "v1", "kind": "Pod"}, "operation": "CREATE", "namespace": namespace}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}).encode()


JSON = {"Content-Type": "application/json"}


def ask(keeper: Keeper, url: str, body: bytes, headers: dict[str, str] = JSON) -> tuple[int, bytes]:
    assert keeper.serving is not None
    with http(keeper.serving) as pool:
        answer = pool.request("POST", f"{url}/hook", body=body, headers=headers)
        return answer.status, answer.data


def test_a_review_is_answered(keeper: Keeper, url: str) -> None:
    status, body = ask(keeper, url, review())
    assert (status, json.loads(body)["response"]) == (200, {"uid": "u", "allowed": True})
    status, body = ask(keeper, url, review("bad"))
    assert (status, json.loads(body)["response"]["status"]["message"]) == (200, "not so")
    assert [noted[:2] for noted in NOTED] == [("/hook", Outcome.ALLOWED), ("/hook", Outcome.REFUSED)]
    assert all(0 < seconds < 30 for _, _, seconds in NOTED)


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"{", "application/json", (400, b"not an AdmissionReview")),
        (review("odd"), "application/json", (400, b"not for this hook")),
        (review(), "text/plain", (415, b"as application/json")),
        (b" " * (MAX_BODY + 1), "application/json", (413, b"Maximum request body size")),
        (review("broken"), "application/json", (500, b"log says what went wrong")),
    ],
    ids=["no-json", "not-for-it", "text", "too-large", "defect"],
)
def test_what_can_not_be_answered_is_an_http_error_in_words_and_without_secrets(
    keeper: Keeper, url: str, body: bytes, kind: str, expected: tuple[int, bytes]
) -> None:
    status, said = ask(keeper, url, body, {"Content-Type": kind})
    assert status == expected[0]
    assert expected[1] in said
    assert b"hunter2" not in said
    assert [noted[:2] for noted in NOTED] == [("/hook", Outcome.FAILED)]
    assert ask(keeper, url, review())[0] == 200, "it goes on"


def test_an_answer_that_takes_too_long_is_given_up_in_time(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "ANSWER_S", 0.05)
    done = threading.Event()

    def hang(request: Request) -> Decision:
        done.wait(30)
        return Decision()

    with caplog.at_level(logging.WARNING), AdmissionServer({"/hook": hang}, keeper, port=0) as running:
        status, said = ask(keeper, f"https://localhost:{running.port}", review())
        done.set()
    assert (status, b"no decision within" in said) == (504, True)
    assert "admission.timeout path=/hook" in caplog.text


def test_new_connections_see_a_new_certificate_and_old_ones_go_on(keeper: Keeper, url: str) -> None:
    first, second = keeper.serving, fresh()
    assert first is not None
    with http(first) as old:
        assert old.request("GET", f"{url}/healthz").status == 200
        keeper.serving = second

        def changed() -> bool:
            try:
                with http(second) as new:
                    return new.request("GET", f"{url}/healthz", retries=False).status == 200
            except urllib3.exceptions.SSLError:
                return False

        eventually(changed, timeout=10)
        assert old.request("POST", f"{url}/hook", body=review(), headers=JSON, retries=False).status == 200


def test_it_does_not_listen_before_it_has_a_certificate_and_one_that_is_unusable_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper = Keeper(None)
    with caplog.at_level(logging.WARNING), AdmissionServer({"/hook": decide}, keeper, port=0) as running:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port), timeout=5)
        good = keeper.serving = fresh()
        url = f"https://localhost:{running.port}"
        assert ask(keeper, url, review())[0] == 200
        keeper.serving = Serving(certificate=b"no certificate", authority=b"", _key=b"no key")
        eventually(lambda: "webhook.certificate.unusable" in caplog.text, timeout=10)
        keeper.serving = good
        assert ask(keeper, url, review())[0] == 200


def test_a_port_that_is_taken_is_told_at_the_start(keeper: Keeper) -> None:
    with AdmissionServer({"/hook": decide}, keeper, port=0) as first:
        ask(keeper, f"https://localhost:{first.port}", review())
        with pytest.raises(OSError, match="in use"):
            AdmissionServer({}, keeper, port=first.port).__enter__()
