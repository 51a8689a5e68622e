"""The samples of crds/: where they are, and what each bad one expects to be told."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.kubectl import apply, kubectl

ROOT = Path(__file__).parents[2] / "crds"
CRD = ROOT / "experiments.yaml"
GOOD = sorted((ROOT / "samples" / "good").glob("*.yaml"))
BAD = sorted((ROOT / "samples" / "bad").glob("*.yaml"))

#: The same of ArtifactStores.
STORE_CRD = ROOT / "artifactstores.yaml"
GOOD_STORES = sorted((ROOT / "samples" / "artifactstores" / "good").glob("*.yaml"))
BAD_STORES = sorted((ROOT / "samples" / "artifactstores" / "bad").glob("*.yaml"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The field that the API server must name, and a part of what it must say of it."""

    field: str
    message: str

    @classmethod
    def of(cls, path: Path) -> "Expectation":
        """From the two comments at the head of a bad sample."""
        found = dict(re.findall(r"^# expect-(field|message): (.+)$", path.read_text(), re.MULTILINE))
        return cls(field=found["field"], message=found["message"])


def define_kinds() -> None:
    """Tell the API server of our kinds."""
    apply(*(yaml.safe_load(file.read_text()) for file in (CRD, STORE_CRD)))
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


def documents(path: Path) -> list[dict[str, Any]]:
    """One, or for a forbidden change two: what is there, and what it is changed to."""
    return list(yaml.safe_load_all(path.read_text()))
