"""The examples are right: the API server would take them, and their pods run where only restricted ones may."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from support.chart import ROOT, Manifest, below_restricted, pods

CRD = yaml.safe_load((ROOT / "crds" / "experiments.yaml").read_text())
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> Manifest:
    path: Path = request.param
    manifest: Manifest = yaml.safe_load(path.read_text())
    return manifest


def closed(schema: Any) -> Any:
    """The CRD's schema with unknown fields refused where the API server would drop them."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


def test_an_example_fits_the_schema_without_a_field_too_many(example: Manifest) -> None:
    schema = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert example["apiVersion"] == "pinnace.dev/v1alpha1"
    jsonschema.Draft7Validator(closed(schema["properties"]["spec"])).validate(example["spec"])


def test_an_examples_pods_satisfy_the_restricted_level(example: Manifest) -> None:
    ((_, spec),) = pods([example])
    assert below_restricted(spec) == []


def test_an_example_runs_a_program_that_is_in_its_image(example: Manifest) -> None:
    for container in example["spec"]["template"]["spec"]["containers"]:
        assert container["image"] == "pinnace/examples:dev"
        for argument in container["args"]:
            if argument.startswith("/app/"):
                assert (ROOT / "examples" / argument.removeprefix("/app/")).is_file()


def test_the_smallest_example_stays_within_twenty_lines() -> None:
    assert len((ROOT / "examples" / "minimal.yaml").read_text().splitlines()) <= 20


def test_the_sweep_names_the_parameters_and_the_metric_that_the_program_knows() -> None:
    spec = yaml.safe_load((ROOT / "examples" / "iris-sweep.yaml").read_text())["spec"]
    program = (ROOT / "examples" / "iris.py").read_text()
    assert {len(values) for values in spec["parameters"]["grid"].values()} == {2}
    for name in spec["parameters"]["grid"]:
        assert f'"PINNACE_PARAM_{name.upper()}"' in program
    assert f'"{spec["objective"]["metric"]}":' in program
