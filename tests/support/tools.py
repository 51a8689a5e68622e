"""Programs that tests start: from `PINNACE_<NAME>` or the PATH, as `make test` sets them up."""

import os
import shutil

import pytest


def tool(name: str) -> str:
    """The path of the program `name`; without it the test is skipped and the reason says how to bring it along."""
    found = os.environ.get(f"PINNACE_{name.upper()}") or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not on the PATH: `python3 -m cluster tools` brings it along")
    return found


def cluster() -> None:
    """Skip the test unless a cluster is up, where `cluster.kubectl` finds it: by KUBECONFIG."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: `make cluster-up`, then `python3 -m cluster run -- pytest …`")
    tool("kubectl")
    tool("helm")
