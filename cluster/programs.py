"""The programs that are built from Go modules when they are missing: kind, kubectl, Helm, Kubernetes, MinIO."""

import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.cache import Cache, key
from cluster.commands import Commands, need_go
from cluster.settings import ROOT, Settings

MODULE = ROOT / "cluster/kube"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: a package of our own Go module, or a module at its version (`module@version`)."""

    name: str
    package: str
    #: Folders of MODULE whose files go in, beside go.mod and go.sum.
    sources: tuple[str, ...] = ()
    #: What it costs where nothing is cached; empty when it is a matter of seconds.
    costs: str = ""

    @property
    def own(self) -> bool:
        return "@" not in self.package


KUBE = Program(
    name="kube", package=".", sources=("main.go",),
    costs="8 to 10 minutes on 2 cores, once",
)  # fmt: skip
KUBECTL = Program(
    name="kubectl", package="./cmd/kubectl", sources=("cmd/kubectl",), costs="about 2 minutes on 2 cores, once"
)
PAUSE = Program(name="pause", package="./cmd/pause", sources=("cmd/pause",))
VOLUMES = Program(name="volumes", package="./cmd/volumes", sources=("cmd/volumes",))
HELM = Program(name="helm", package="helm.sh/helm/v3/cmd/helm", costs="up to 2 minutes on 2 cores, once")
KIND = Program(name="kind", package="sigs.k8s.io/kind@v0.33.0")
MINIO = Program(
    name="minio",
    package="github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    costs="2 to 4 minutes on 2 cores, once",
)


def kubernetes_version(go_mod: str) -> str:
    """`v1.34.4`, as go.mod requires it."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)$", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError("go.mod requires no k8s.io/kubernetes")
    return found[1]


def linker_flags(program: Program, version: str) -> str:
    """Strip; and tell kubeadm, kubectl and Helm which Kubernetes this is: they would take it for v0.0.0."""
    if not program.own:
        return "-s -w"
    major, minor, _ = version.removeprefix("v").split(".")
    values = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])


def program_key(program: Program) -> str:
    """What the program is made from. The Go toolchain is left out: a newer one is no reason to build again."""
    version = kubernetes_version((MODULE / "go.mod").read_text(encoding="utf-8"))
    sources = [MODULE / name for name in ("go.mod", "go.sum", *program.sources)] if program.own else []
    return key(program.package, linker_flags(program, version), platform.machine(), *sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Finds programs, and builds those that aren't there."""

    settings: Settings
    cache: Cache
    commands: Commands

    def built(self, program: Program) -> Path:
        """Our own build of it; the first time it may take minutes, which is said beforehand."""
        return (
            self.cache.product(program.name, program_key(program), lambda folder: self._build(program, folder))
            / program.name
        )

    def is_built(self, program: Program) -> bool:
        return self.cache.find(program.name, program_key(program)) is not None

    def tool(self, program: Program) -> Path:
        """A tool for people and scripts: the user's own if there is one on the PATH, else ours, linked into `bin`.

        The kubectl inside a Kubernetes that was built here goes before the user's: it is of the cluster's version.
        """
        link = self.settings.bin / program.name
        theirs = shutil.which(program.name, path=without(self.settings.environment.get("PATH", ""), self.settings.bin))
        inside = program is KUBECTL and self.is_built(KUBE)
        if theirs is not None and not inside:
            link.unlink(missing_ok=True)
            return Path(theirs)
        relink(link, self.built(KUBE if inside else program))
        return link

    def _build(self, program: Program, folder: Path) -> None:
        need_go(
            self.commands,
            f"{program.name} is missing, and Go, which would build it,",
            hint=f"install {program.name}, or Go 1.24 or newer",
        )
        self.commands.progress.say(
            f"building {program.name} from its Go module{program.costs and f' ({program.costs})'}"
        )
        version = kubernetes_version((MODULE / "go.mod").read_text(encoding="utf-8"))
        flags = ["-v", "-trimpath", "-ldflags", linker_flags(program, version)]
        argv: Sequence[str | Path] = ["go", "install", *flags, program.package]
        environment: Mapping[str, str] = {"CGO_ENABLED": "0", "GOBIN": str(folder)}
        if program.own:
            argv = ["go", "build", *flags, "-o", folder / program.name, program.package]
        self.commands.run(
            argv,
            doing=f"building {program.name}",
            hint="see the log; Go modules come from GOPROXY, so a network or a filled module cache is needed",
            environment=environment,
            folder=MODULE,
            detail=compiled,
        )


def compiled(log: str) -> str:
    """How far `go build -v` is: it names each package before compiling it; downloads come first."""
    lines = log.splitlines()
    downloads = sum(line.startswith("go: downloading ") for line in lines)
    packages = sum(not line.startswith("go: ") for line in lines)
    return f"{packages} packages compiled" if packages else f"{downloads} modules downloaded"


def without(path: str, folder: Path) -> str:
    """A PATH that lacks one folder."""
    return os.pathsep.join(entry for entry in path.split(os.pathsep) if entry and Path(entry) != folder)


def relink(link: Path, target: Path) -> None:
    """Make `link` point to `target` in one step, whatever it was before."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
