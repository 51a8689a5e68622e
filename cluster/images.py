"""The images that run in the cluster: the product's parts, the examples, and MinIO.

Containers have no network where images are built, so everything goes in as wheels that this machine downloaded and
checked against the lock. An image carries the key of what it was made from; the same key means nothing to do.
"""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.cache import Cache, key
from cluster.choice import Candidates, Origin, choose
from cluster.commands import Commands
from cluster.debian import Root, make_root
from cluster.docker import Docker
from cluster.errors import ClusterError, Exit
from cluster.programs import MINIO, Programs, program_key
from cluster.settings import BASE_IMAGE_VARIABLE, ROOT, Settings

TAG = "dev"
#: The Python that the images run, in both base images.
PYTHON = "3.11"
PUBLISHED_BASE = f"python:{PYTHON}-slim"
BASE_ROOT = Root(name="base", packages=("python3", "python3-venv", "ca-certificates", "tzdata"))
#: What the wheels may need of the C library: Debian 12 has glibc 2.36.
NEWEST_GLIBC = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One image of ours: `NAME/Dockerfile`, `locks/NAME.txt`, and what else goes in."""

    name: str
    #: Folders that decide whether the image is out of date.
    sources: tuple[str, ...]
    #: Whether the project's own wheel goes in.
    packaged: bool = True
    #: Files copied beside the Dockerfile.
    files: str = ""

    @property
    def image(self) -> str:
        return f"pinnace/{self.name}:{TAG}"


PRODUCTS = (
    Product(name="operator", sources=("core/src", "operator/src")),
    Product(name="sidecar", sources=("core/src", "sidecar/src")),
    Product(name="api", sources=("core/src", "api/src")),
    Product(name="examples", sources=(), packaged=False, files="examples/*.py"),
)
MINIO_IMAGE = f"pinnace/minio:{TAG}"
ALL = ("minio", *(product.name for product in PRODUCTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Builds images in the engine."""

    settings: Settings
    cache: Cache
    commands: Commands
    docker: Docker
    programs: Programs

    def build(self, names: Sequence[str]) -> list[str]:
        """Build what is out of date among these names; returns all their images."""
        images = []
        if "minio" in names:
            images.append(self._minio())
        chosen = [product for product in PRODUCTS if product.name in names]
        if chosen:
            base = self._base()
            images += [self._product(product, base) for product in chosen]
        return images

    def _minio(self) -> str:
        inputs = key(program_key(MINIO), ROOT / "cluster/minio/Dockerfile")
        if self.docker.inputs(MINIO_IMAGE) != inputs:
            server = self.programs.built(MINIO)
            self.commands.progress.say(f"building {MINIO_IMAGE}")
            with self.cache.workspace("image-minio") as context:
                shutil.copy2(ROOT / "cluster/minio/Dockerfile", context)
                shutil.copy2(server, context)
                self.docker.build(MINIO_IMAGE, context, inputs=inputs)
        return MINIO_IMAGE

    def _base(self) -> str:
        built = f"pinnace/base:{BASE_ROOT.key}"
        choice = choose(
            Candidates(
                purpose="the base image",
                variable=BASE_IMAGE_VARIABLE,
                wish=self.settings.base_image,
                published=PUBLISHED_BASE,
                has_published=self.docker.has(PUBLISHED_BASE),
                has_built=self.docker.has(built),
            ),
            has=self.docker.has,
            pull=self.docker.pull,
        )
        if choice.origin is not Origin.BUILT:
            self.commands.progress.say(f"base image: {choice.image}, because {choice.why}")
            return choice.image
        self.commands.progress.say(f"base image: built here, because {choice.why}")
        if not self.docker.has(built):
            self.docker.import_root(make_root(self.cache, self.commands, BASE_ROOT) / "root.tar", built)
        return built

    def _product(self, product: Product, base: str) -> str:
        dockerfile, lock = ROOT / product.name / "Dockerfile", ROOT / "locks" / f"{product.name}.txt"
        files = sorted(ROOT.glob(product.files)) if product.files else []
        sources = [ROOT / source for source in product.sources]
        own = [ROOT / "pyproject.toml", *sources] if product.packaged else []
        inputs = key(self.docker.image_id(base) or base, dockerfile, lock, *own, *files)
        if self.docker.inputs(product.image) == inputs:
            return product.image
        wheels = self._wheels(product.name, lock)
        self.commands.progress.say(f"building {product.image}")
        with self.cache.workspace(f"image-{product.name}") as context:
            shutil.copy2(dockerfile, context)
            shutil.copytree(wheels, context / "wheels")
            if product.packaged:
                shutil.copytree(self._own_wheel(), context / "project")
            if files:
                (context / "files").mkdir()
                for file in files:
                    shutil.copy2(file, context / "files")
            self.docker.build(product.image, context, inputs=inputs, arguments={"BASE_IMAGE": base})
        return product.image

    def _wheels(self, name: str, lock: Path) -> Path:
        """Every wheel of a lock, for the images' Python rather than this machine's."""

        def download(folder: Path) -> None:
            self.commands.progress.say(f"downloading the wheels of locks/{lock.name}")
            self.commands.run(
                [
                    self._python(), "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--no-deps",
                    "--require-hashes",
                    f"--python-version={PYTHON}", "--implementation=cp", *(f"--platform={tag}" for tag in platforms()),
                    f"--dest={folder}", f"--requirement={lock}",
                ],
                doing=f"downloading wheels for {name}",
                hint="see the log; is the package index within reach?",
            )  # fmt: skip

        return self.cache.product(f"wheels-{name}", key(lock, PYTHON, *platforms()), download)

    def _own_wheel(self) -> Path:
        """The project's wheel."""
        sources = [ROOT / f"{part}/src" for part in ("core", "operator", "sidecar", "api")]
        version = key(*sources, *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")))

        def build(folder: Path) -> None:
            self.commands.run(
                [self._python(), "-m", "hatchling", "build", "--target=wheel", f"--directory={folder}"],
                doing="building the wheel of pinnace",
                hint="see the log",
                folder=ROOT,
            )

        return self.cache.product("wheel", version, build)

    def _python(self) -> Path:
        if not self.settings.python.exists():
            raise ClusterError(
                f"there is no {self.settings.python.relative_to(ROOT)}, which builds the wheels for the images",
                hint="run `make images`, which makes it",
                code=Exit.MISSING,
            )
        return self.settings.python


def platforms(machine: str = "") -> list[str]:
    """The platform tags of wheels that run on Debian 12, newest first."""
    machine = {"arm64": "aarch64"}.get(machine or platform.machine(), machine or platform.machine())
    newer = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 16, -1)]
    return [*newer, f"manylinux2014_{machine}", f"linux_{machine}"]
