"""What comes from Debian: packages for this machine, and roots for images."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.archive import write_layer
from cluster.cache import Cache, key
from cluster.commands import Commands
from cluster.errors import ClusterError, Exit

SUITE = "bookworm"
#: Asked by Debian's maintainer scripts before they start a service; 101 says no.
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Written by pinnace's `python3 -m cluster` while it installs packages.\nexit 101\n"

#: Left out of every root: what only a person would read, and what apt would fetch again.
LEFT_OUT = (
    "dev/*", "proc/*", "sys/*", "tmp/*", "run/*", "debootstrap", "var/cache/*", "var/lib/apt/lists/*", "var/log/*",
    "usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/lintian/*",
)  # fmt: skip


def can_install() -> bool:
    """Whether apt-get is here and we may use it."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(commands: Commands, *packages: str) -> None:
    """Install packages without starting their services. Raises ClusterError when this machine can't."""
    if not can_install():
        raise ClusterError(
            f"{', '.join(packages)} would have to be installed, which takes root and Debian's apt-get",
            hint=f"install {', '.join(packages)} yourself, or run this as root on Debian",
            code=Exit.MISSING,
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    commands.progress.say(f"installing {', '.join(packages)} with apt-get")
    hint = "see the log; apt's sources must be reachable"
    commands.run(["apt-get", "update", "-q"], doing="apt-get update", hint=hint, environment=quiet)
    with _no_services():
        commands.run(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
            doing=f"installing {packages[0]}",
            hint=hint,
            environment=quiet,
        )


def postgres() -> Path | None:
    """PostgreSQL's server, which Debian keeps off the PATH; the newest one, None when there is none."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max(found, key=lambda path: int(path.parts[4]), default=None)


@contextmanager
def _no_services() -> Iterator[None]:
    remove_policy()
    if POLICY.exists():  # the machine has its own rule, and it is not ours to change
        yield
        return
    POLICY.write_text(POLICY_TEXT, encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        remove_policy()


def remove_policy() -> None:
    """Remove the rule if it is the one written here."""
    if POLICY.is_file() and POLICY.read_text(encoding="utf-8", errors="replace") == POLICY_TEXT:
        POLICY.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A minimal Debian with some packages."""

    name: str
    packages: tuple[str, ...]
    #: Programs in it that another image needs too: they go, with their libraries, into `extract.tar`.
    extracted: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What it is made from."""
        return key(SUITE, " ".join(self.packages), " ".join(self.extracted), *LEFT_OUT)


def make_root(cache: Cache, commands: Commands, root: Root) -> Path:
    """A folder with `root.tar` (and `extract.tar`), made once by debootstrap: a minute or two."""
    name = root.name

    def make(folder: Path) -> None:
        if not can_install():
            raise ClusterError(
                f"the {name} image would have to be built, which takes root on Debian",
                hint="let Docker pull images, or run this as root on Debian",
                code=Exit.MISSING,
            )
        if shutil.which("debootstrap") is None:
            install(commands, "debootstrap")
        commands.progress.say(f"making a Debian root for {name} (1 to 2 minutes, once)")
        with cache.workspace(f"{name}-root") as workspace:
            _bootstrap(commands, name, workspace / "root", root.packages)
            if root.extracted:
                extract(commands, workspace / "root", root.extracted, folder / "extract.tar")
            commands.run(
                [
                    "tar", "--create", "--numeric-owner", "--sort=name", f"--directory={workspace / 'root'}",
                    f"--file={folder / 'root.tar'}", "--anchored",
                    *(f"--exclude=./{left_out}" for left_out in LEFT_OUT), ".",
                ],
                doing=f"packing the root for {name}",
                hint="see the log",
            )  # fmt: skip

    return cache.product(f"{name}-root", root.key, make)


def extract(commands: Commands, root: Path, programs: Sequence[str], target: Path) -> None:
    """Write a layer with these programs of a root and every library that they load."""
    files = set(programs)
    for program in programs:
        files.update(libraries(commands.answer("chroot", root, "ldd", program)))
    write_layer(target, {file.lstrip("/"): resolve(root, file) for file in sorted(files)}, links={})


def libraries(ldd: str) -> list[str]:
    """The files that ldd names: `libx.so => /lib/libx.so (0x…)` and the loader, `/lib64/ld.so (0x…)`."""
    return [word for line in ldd.splitlines() for word in line.split() if word.startswith("/")]


def resolve(root: Path, file: str) -> Path:
    """The file that a path inside a root means, its links followed inside the root."""
    here = root
    for name in Path(file).parts[1:]:
        here = here / name
        while here.is_symlink():
            target = here.readlink()
            here = root / target.relative_to("/") if target.is_absolute() else here.parent / target
    return here


def _bootstrap(commands: Commands, name: str, target: Path, packages: tuple[str, ...]) -> None:
    mirror = commands.try_answer(
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        f"Codename: {SUITE}",
        "Component: main",
    )
    # namespaces of its own: what it mounts and starts ends with it, however it ends
    commands.run(
        [
            "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc",
            "debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, target,
            *(mirror or "").splitlines()[:1],
        ],
        doing=f"making the root for {name}",
        hint="see the log; Debian's archive must be reachable",
        environment={"DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
