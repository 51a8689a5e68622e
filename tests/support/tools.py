"""Programs that tests start: from `PINNACE_<NAME>` or the PATH, as `make test` sets them up."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from cluster import debian


def tool(name: str) -> str:
    """The path of the program `name`; without it the test fails and says how to bring it along: never a silent skip."""
    beside = str(Path(sys.executable).parent)
    found = os.environ.get(f"PINNACE_{name.upper()}") or shutil.which(name) or shutil.which(name, path=beside)
    if not found and name == "postgres" and (debians := debian.postgres()):
        found = str(debians)
    if not found:
        pytest.fail(f"{name} is not on the PATH: `python3 -m cluster run -- pytest …` brings it along", pytrace=False)
    return found


def cluster() -> None:
    """Fail the test unless a cluster is up, where `cluster.kubectl` finds it: by KUBECONFIG."""
    if not os.environ.get("KUBECONFIG"):
        pytest.fail("no cluster: `python3 -m cluster run -- pytest …` brings one up", pytrace=False)
    tool("kubectl")
    tool("helm")
