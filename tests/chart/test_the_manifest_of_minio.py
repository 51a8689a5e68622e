"""The local cluster's MinIO: what the demo applies before the chart."""

import yaml

from support.chart import ROOT, below_restricted, one, pods

MANIFESTS = list(yaml.safe_load_all((ROOT / "cluster" / "manifests" / "minio.yaml").read_text()))


def test_its_pod_satisfies_the_restricted_level() -> None:
    ((_, spec),) = pods(MANIFESTS)
    assert below_restricted(spec) == []


def test_its_administrator_comes_from_a_secret_that_is_not_in_the_repository() -> None:
    ((_, spec),) = pods(MANIFESTS)
    references = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"]
        for entry in spec["containers"][0]["env"]
        if entry["name"].startswith("MINIO_ROOT")
    }
    assert references == {
        "MINIO_ROOT_USER": {"name": "minio-root", "key": "user"},
        "MINIO_ROOT_PASSWORD": {"name": "minio-root", "key": "password"},
    }
    assert "Secret" not in [manifest["kind"] for manifest in MANIFESTS]


def test_its_node_port_is_one_that_kind_maps_to_this_machine() -> None:
    (port,) = one(MANIFESTS, "Service")["spec"]["ports"]
    kind = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    mapped = [mapping["containerPort"] for node in kind["nodes"] for mapping in node.get("extraPortMappings", [])]
    assert port["nodePort"] in mapped
