"""What an API server of a test knows of other operators' kinds: the projects' own definitions, unchanged.

Argo publishes two for Workflows: the small one, which it installs by default and which makes the whole spec one atomic
value, and one with every field.
"""

import os
from pathlib import Path

import pytest

from cluster import definitions
from cluster.cache import Cache
from cluster.kubectl import get, kubectl
from cluster.settings import Settings
from support.eventually import eventually

#: By the file's name, what is defined there.
RESOURCES = {
    "pytorchjobs.yaml": "pytorchjobs.kubeflow.org",
    "trainjobs.yaml": "trainjobs.trainer.kubeflow.org",
    "rayjobs.yaml": "rayjobs.ray.io",
    "workflows.yaml": "workflows.argoproj.io",
}

#: Every field of a Workflow; instead of the one above.
WORKFLOWS_IN_FULL = "workflows-in-full.yaml"


def folder() -> Path:
    """Where the definitions are; without them the test fails and says how to bring them along."""
    told = os.environ.get("PINNACE_DEFINITIONS")
    found = Path(told) if told else definitions.cached(Cache(Settings.from_environment().cache))
    if found is None:
        pytest.fail("the CRDs of other operators are missing: `python3 -m cluster definitions` downloads them", False)
    return found


def define(*files: str) -> None:
    """Install the definitions of these files; of all kinds when none is named."""
    names = files or tuple(RESOURCES)
    kubectl("apply", "--server-side", "--force-conflicts", *(f"--filename={folder() / name}" for name in names))
    resources = [RESOURCES.get(name, RESOURCES["workflows.yaml"]) for name in names]
    eventually(lambda: all(map(is_established, resources)), timeout=60, interval=0.5, what=f"{resources} are there")


def is_established(resource: str) -> bool:
    found = get("crd", resource)
    conditions = found.get("status", {}).get("conditions") or () if found else ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
