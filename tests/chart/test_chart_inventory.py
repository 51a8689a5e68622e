"""Which objects each value set makes, as a list that a person can read, and what the chart says of itself."""

from pathlib import Path

import pytest
import yaml

from support.chart import CHART, ROOT, VALUE_SETS, Manifest, containers, pods, render

INVENTORIES = Path(__file__).parent / "inventories"
ABOUT = yaml.safe_load((CHART / "Chart.yaml").read_text())
ANNOTATIONS = ABOUT["annotations"]


def inventory(manifests: list[Manifest]) -> str:
    lines = sorted(
        f"{manifest['kind']:24} {manifest['metadata'].get('namespace', '-'):16} {manifest['metadata']['name']}\n"
        for manifest in manifests
    )
    return "".join(lines)


@pytest.mark.parametrize("values", VALUE_SETS, ids=lambda path: path.stem.removesuffix("-values"))
def test_a_release_makes_these_objects_and_no_others(values: Path) -> None:
    name = values.stem.removesuffix("-values")
    assert inventory(render(values)) == (INVENTORIES / f"{name}.txt").read_text(), f"{name}.txt is what is compared"


def test_the_charts_list_of_images_is_the_one_that_it_runs_by_default() -> None:
    listed = {entry["name"]: entry["image"] for entry in yaml.safe_load(ANNOTATIONS["artifacthub.io/images"])}
    manifests = render(store__bucket="artifacts")
    run = {container["image"] for _, spec in pods(manifests) for container in containers(spec)}
    assert run < set(listed.values())
    assert listed["sidecar"] == f"pinnace/sidecar:{ABOUT['appVersion']}"


def test_the_charts_list_of_definitions_is_the_one_that_it_installs() -> None:
    installed = [
        (definition["spec"]["names"]["kind"], definition["metadata"]["name"])
        for definition in render(store__bucket="artifacts")
        if definition["kind"] == "CustomResourceDefinition"
    ]
    listed = yaml.safe_load(ANNOTATIONS["artifacthub.io/crds"])
    assert [(entry["kind"], entry["name"]) for entry in listed] == installed
    kinds = {example["kind"] for example in yaml.safe_load(ANNOTATIONS["artifacthub.io/crdsExamples"])}
    assert kinds <= {entry["kind"] for entry in listed}


def test_every_change_is_of_a_kind_that_exists() -> None:
    changes = yaml.safe_load(ANNOTATIONS["artifacthub.io/changes"])
    assert changes
    assert {change["kind"] for change in changes} <= {
        "added", "changed", "deprecated", "removed", "fixed", "security",
    }  # fmt: skip


def test_the_oldest_kubernetes_is_the_same_everywhere() -> None:
    assert ABOUT["kubeVersion"] == ">=1.29.0-0"
    assert "Kubernetes 1.29" in (CHART / "README.md").read_text()
    assert ABOUT["version"] in (ROOT / "pyproject.toml").read_text()
