"""The whole system on the kind cluster, and experiments in namespaces of their own."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.installation import experiment_namespace, found
from cluster.kubectl import apply, kubectl
from support.system import Experiment, System, connected, diagnose, experiment_manifest, installed_system


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in str(item.path):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def installed() -> Iterator[None]:
    with installed_system():
        yield


@pytest.fixture(scope="module")
def system(installed: None) -> Iterator[System]:
    """As it is now: another module may have taken it away and brought it back with other tokens."""
    installation = found()
    assert installation is not None
    with connected(installation) as whole:
        yield whole


@pytest.fixture
def namespace(system: System, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"e2e-{secrets.token_hex(3)}"
    experiment_namespace(name, system.installation)
    yield name
    if request.session.testsfailed:
        diagnose(name)
    kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture
def start(system: System, namespace: str) -> Callable[..., Experiment]:
    """Apply an Experiment that writes; `environment` are the writer's options."""

    def apply_experiment(name: str, *, environment: dict[str, str] | None = None, **spec: Any) -> Experiment:
        apply(experiment_manifest(name, environment=environment or {}, **spec), namespace=namespace)
        return Experiment(system, namespace, name)

    return apply_experiment
