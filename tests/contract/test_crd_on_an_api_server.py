"""The Experiment resource on a real API server: what it accepts, what it refuses, and with which words."""

from pathlib import Path

import pytest
import yaml

from cluster.kubectl import CommandFailed, apply, kubectl
from support.crd import BAD, GOOD, Expectation, documents

pytestmark = pytest.mark.usefixtures("plane")

NAMESPACE = "default"


def dry_run(document: str) -> str:
    return kubectl("apply", "--dry-run=server", "--filename=-", "--output=yaml", namespace=NAMESPACE, stdin=document)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_sample_is_accepted_and_nothing_of_it_is_dropped(path: Path) -> None:
    [sample] = documents(path)
    stored = yaml.safe_load(dry_run(path.read_text()))
    assert contains(stored["spec"], sample["spec"])


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_sample_is_refused_with_the_field_and_what_to_write(path: Path) -> None:
    *before, refused = documents(path)
    for document in before:
        apply(document, namespace=NAMESPACE)
    expectation = Expectation.of(path)
    with pytest.raises(CommandFailed) as caught:
        dry_run(yaml.safe_dump(refused))
    assert f"{expectation.field}: " in str(caught.value)
    assert expectation.message in str(caught.value)


def test_what_may_change_can_be_changed() -> None:
    [sample] = documents(GOOD[0].parent / "suspended.yaml")
    apply(sample, namespace=NAMESPACE)
    sample["spec"] |= {"parallelism": 3, "description": "another", "backoffLimit": 0}
    apply(sample, namespace=NAMESPACE)
    names = kubectl("get", "exps", "--output=name", namespace=NAMESPACE)
    assert "experiment.pinnace.dev/suspended" in names


@pytest.mark.parametrize(
    "field", ["spec.parameters.grid", "spec.artifacts.completion.settleSeconds", "status.conditions"]
)
def test_explain_tells_what_a_field_is_for(field: str) -> None:
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
