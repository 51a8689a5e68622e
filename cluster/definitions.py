"""The CustomResourceDefinitions of other operators' kinds, which tests put onto an API server of their own.

They come out of those projects' Go modules, each at its version and with the checksum of what was looked at, and
are kept as they are: 20 MB are downloaded once, nothing is built.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster.cache import Cache, key
from cluster.commands import Commands, need_go
from cluster.errors import ClusterError

NAME = "definitions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One module, the checksum of its content as go.sum has it, and the files to take, by the names they get."""

    module: str
    checksum: str
    files: dict[str, str]


SOURCES = (
    Source(
        module="github.com/kubeflow/training-operator@v1.9.3",
        checksum="h1:aaSHqskOtCY8Dn8sVd+l9p5XAczW6O0nYMPjVLAw/lc=",
        files={"pytorchjobs.yaml": "manifests/base/crds/kubeflow.org_pytorchjobs.yaml"},
    ),
    Source(
        module="github.com/kubeflow/trainer/v2@v2.2.0",
        checksum="h1:whChZckEtycLo1UKH/M0hiNaCUozbLvf9JrgmMv+TAg=",
        files={"trainjobs.yaml": "manifests/base/crds/trainer.kubeflow.org_trainjobs.yaml"},
    ),
    Source(
        module="github.com/ray-project/kuberay/ray-operator@v1.5.1",
        checksum="h1:7FJYmB8oM+cnjv1VYCj/TfzRZG4XHvvt5Ayn5pZ5A1c=",
        files={"rayjobs.yaml": "config/crd/bases/ray.io_rayjobs.yaml"},
    ),
    Source(
        module="github.com/argoproj/argo-workflows/v3@v3.7.3",
        checksum="h1:b0o03RTLXIL7lQunDEvLoDTeI5TbfXe2obGaItvvifk=",
        files={
            "workflows.yaml": "manifests/base/crds/minimal/argoproj.io_workflows.yaml",
            "workflows-in-full.yaml": "manifests/base/crds/full/argoproj.io_workflows.yaml",
        },
    ),
)


def cached(cache: Cache) -> Path | None:
    """The folder with the files, if it is there."""
    return cache.find(NAME, _version())


def folder(cache: Cache, commands: Commands) -> Path:
    """The folder with the files, downloaded when it is missing. Raises ClusterError."""
    return cache.product(NAME, _version(), lambda fresh: _fetch(fresh, commands))


def _version() -> str:
    return key(*(text for source in SOURCES for text in (source.module, source.checksum, json.dumps(source.files))))


def _fetch(fresh: Path, commands: Commands) -> None:
    need_go(
        commands,
        "the definitions of other operators' kinds are missing, and Go, which downloads them,",
        hint="install Go 1.24 or newer",
    )
    commands.progress.say("downloading the definitions of other operators' kinds from their Go modules (20 MB, once)")
    for source in SOURCES:
        told = json.loads(commands.answer("go", "mod", "download", "-json", source.module, timeout_s=300))
        if told["Sum"] != source.checksum:
            raise ClusterError(
                f"{source.module} has the checksum {told['Sum']}, and not {source.checksum}",
                hint="compare it with the module's own; cluster/definitions.py says what is expected",
            )
        for name, path in source.files.items():
            shutil.copyfile(Path(told["Dir"]) / path, fresh / name)
