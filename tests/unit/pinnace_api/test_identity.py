"""Tokens become callers, and what Kubernetes said is remembered for a while and no longer."""

from pathlib import Path
from uuid import uuid4

import pytest

from pinnace_api.identity import (
    DISTRUST_SECONDS,
    TRUST_SECONDS,
    AdminToken,
    Caller,
    Identifier,
    Pod,
    Role,
    ServiceAccount,
)
from pinnace_api.refusals import Forbidden, Unauthorized, Unavailable
from support.api_server import OPERATOR_SUBJECT, OPERATOR_TOKEN, FakeCluster

ITERATION = uuid4()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def identifier(clock: Clock, cluster: FakeCluster) -> Identifier:
    return Identifier(admin=None, operator_subject=OPERATOR_SUBJECT, reviewer=cluster, clock=clock)


def test_a_pod_s_token_names_its_iteration(identifier: Identifier, cluster: FakeCluster) -> None:
    token = cluster.add_pod(ITERATION, namespace="ml", pod_uid="one")
    caller = Caller(role=Role.SIDECAR, namespace="ml", pod_name="pod-one", pod_uid="one", iteration=ITERATION)
    assert identifier.recall(token) is None
    assert identifier.identify(token) == caller
    assert identifier.recall(token) == caller


def test_a_good_answer_is_trusted_for_a_minute(identifier: Identifier, cluster: FakeCluster, clock: Clock) -> None:
    identifier.identify(OPERATOR_TOKEN)
    clock.now += TRUST_SECONDS - 0.1
    assert identifier.recall(OPERATOR_TOKEN) == Caller(role=Role.OPERATOR)
    assert cluster.reviews == 1
    clock.now += 0.1
    assert identifier.recall(OPERATOR_TOKEN) is None


def test_a_bad_answer_is_forgotten_sooner(identifier: Identifier, cluster: FakeCluster, clock: Clock) -> None:
    token = cluster.add_pod(None, namespace="ml", pod_uid="one")
    for wrong, error in ((token, Forbidden), ("unknown", Unauthorized)):
        with pytest.raises(error):
            identifier.identify(wrong)
        with pytest.raises(error):
            identifier.recall(wrong)
    clock.now += DISTRUST_SECONDS
    cluster.add_pod(ITERATION, namespace="ml", pod_uid="one")
    assert identifier.recall(token) is None
    assert identifier.identify(token).iteration == ITERATION


def test_kubernetes_away_is_not_remembered(identifier: Identifier, cluster: FakeCluster) -> None:
    cluster.away = True
    with pytest.raises(Unavailable):
        identifier.identify(OPERATOR_TOKEN)
    cluster.away = False
    assert identifier.recall(OPERATOR_TOKEN) is None
    assert identifier.identify(OPERATOR_TOKEN).role is Role.OPERATOR


def test_a_pod_of_the_same_name_is_not_the_same_pod(identifier: Identifier, cluster: FakeCluster) -> None:
    token = cluster.add_pod(ITERATION, namespace="ml", pod_uid="one")
    pod = cluster.pods["ml", "pod-one"]
    cluster.pods["ml", "pod-one"] = Pod(uid="another", iteration=pod.iteration, writers=pod.writers)
    with pytest.raises(Unauthorized):
        identifier.identify(token)


def test_without_an_operator_subject_nobody_is_the_operator(cluster: FakeCluster, clock: Clock) -> None:
    cluster.accounts["empty"] = ServiceAccount(subject="")
    identifier = Identifier(admin=None, operator_subject="", reviewer=cluster, clock=clock)
    with pytest.raises(Forbidden):
        identifier.identify("empty")


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_admin_token_matches_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    assert not AdminToken(file).matches("")
    assert not AdminToken(file).matches(content)
    assert not AdminToken(tmp_path / "missing").matches("")


def test_the_admin_token_is_read_again_when_its_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first-token\n")
    admin = AdminToken(file)
    assert admin.matches("first-token")
    (tmp_path / "new").write_text("other-token\n")
    (tmp_path / "new").rename(file)
    assert admin.matches("other-token")
    assert not admin.matches("first-token")


def test_the_memory_is_bounded(identifier: Identifier, cluster: FakeCluster) -> None:
    for number in range(10_050):
        cluster.accounts[str(number)] = ServiceAccount(subject=OPERATOR_SUBJECT)
        identifier.identify(str(number))
    assert len(identifier._remembered) <= 10_000
