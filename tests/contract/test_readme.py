"""What the README promises to a newcomer holds: its Experiment is accepted, its commands and links exist."""

import re
from pathlib import Path

import pytest
import yaml

from cluster.kubectl import kubectl
from support.crd import CRD
from support.tools import cluster

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_make_verb_that_it_names_exists() -> None:
    verbs = set(re.findall(r"`?make ([a-z-]+)", README))
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check"} <= verbs <= targets


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.cluster
def test_the_api_server_takes_its_experiment() -> None:
    cluster()
    kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CRD}")
    kubectl("wait", "--for=condition=Established", "crd/experiments.pinnace.dev")
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert yaml.safe_load(block)["kind"] == "Experiment"
    kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", namespace="default", stdin=block)
