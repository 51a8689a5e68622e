"""The Experiment resource on a real API server: what it accepts, what it refuses, and with which words."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.kubectl import CommandFailed, apply, kubectl
from support.crd import BAD, CRD, GOOD, Expectation, documents

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    apply(yaml.safe_load(CRD.read_text()))
    kubectl("wait", "--for=condition=Established", f"crd/{yaml.safe_load(CRD.read_text())['metadata']['name']}")
    name = f"crd-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def dry_run(document: str, namespace: str) -> str:
    return kubectl("apply", "--dry-run=server", "--filename=-", "--output=yaml", namespace=namespace, stdin=document)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_sample_is_accepted_and_nothing_of_it_is_dropped(path: Path, namespace: str) -> None:
    [sample] = documents(path)
    stored = yaml.safe_load(dry_run(path.read_text(), namespace))
    assert contains(stored["spec"], sample["spec"])


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_sample_is_refused_with_the_field_and_what_to_write(path: Path, namespace: str) -> None:
    *before, refused = documents(path)
    for document in before:
        # Suspended, so that an operator that is there starts nothing.
        document["spec"]["suspend"] = True
        apply(document, namespace=namespace)
    expectation = Expectation.of(path)
    with pytest.raises(CommandFailed) as caught:
        dry_run(yaml.safe_dump(refused), namespace)
    assert f"{expectation.field}: " in str(caught.value)
    assert expectation.message in str(caught.value)


def test_what_may_change_can_be_changed(namespace: str) -> None:
    [sample] = documents(GOOD[0].parent / "suspended.yaml")
    apply(sample, namespace=namespace)
    sample["spec"] |= {"parallelism": 3, "description": "another", "backoffLimit": 0}
    apply(sample, namespace=namespace)
    names = kubectl("get", "exps", "--output=name", namespace=namespace)
    assert "experiment.pinnace.dev/suspended" in names


@pytest.mark.parametrize(
    "field", ["spec.parameters.grid", "spec.artifacts.completion.settleSeconds", "status.conditions"]
)
def test_explain_tells_what_a_field_is_for(field: str, namespace: str) -> None:
    text = kubectl("explain", f"experiment.{field}")
    assert "DESCRIPTION:" in text
    assert "<empty>" not in text


def contains(stored: object, sample: object) -> bool:
    """Whether everything in `sample` is in `stored`, with its type."""
    if isinstance(sample, dict):
        return isinstance(stored, dict) and all(key in stored and contains(stored[key], sample[key]) for key in sample)
    if isinstance(sample, list):
        return isinstance(stored, list) and len(stored) == len(sample) and all(map(contains, stored, sample))
    return stored == sample and type(stored) is type(sample)
