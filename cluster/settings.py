"""What the environment decides: where things are kept, and which images are wished for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: The cluster's name in kind-config.yaml, and what kind derives from it.
CLUSTER = "pinnace"
NODE = f"{CLUSTER}-control-plane"

#: published | built | an image's name; empty chooses by itself.
NODE_IMAGE_VARIABLE = "PINNACE_NODE_IMAGE"
BASE_IMAGE_VARIABLE = "PINNACE_BASE_IMAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Places and wishes. Nothing here is made before it is needed."""

    #: Survives `down`: programs, roots, wheels, images, logs. Deleting it costs only the time to make it again.
    cache: Path
    #: Does not survive `down`: the engine's socket, kubeconfig, who is running.
    state: Path
    node_image: str
    base_image: str
    environment: Mapping[str, str]

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read this process's environment."""
        environment = dict(os.environ)
        home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(home) / "pinnace" / "cluster"
        return cls(
            cache=cache,
            state=Path("/run/pinnace") if os.geteuid() == 0 and Path("/run").is_dir() else cache / "state",
            node_image=environment.get(NODE_IMAGE_VARIABLE, ""),
            base_image=environment.get(BASE_IMAGE_VARIABLE, ""),
            environment=environment,
        )

    @property
    def logs(self) -> Path:
        return self.cache / "logs"

    @property
    def bin(self) -> Path:
        """The folder that `tools` puts on the PATH."""
        return self.cache / "bin"

    @property
    def kubeconfig(self) -> Path:
        """Ours alone: a user's own ~/.kube/config is never read or written."""
        return self.state / "kubeconfig"

    @property
    def python(self) -> Path:
        """The project's virtual environment, which builds the wheels that go into the images."""
        return ROOT / ".venv/bin/python"
