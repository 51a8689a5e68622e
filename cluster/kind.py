"""The cluster itself, by kind."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cluster.commands import Commands
from cluster.errors import ClusterError
from cluster.firewall import BRIDGE
from cluster.programs import KIND, KUBECTL, Programs
from cluster.settings import CLUSTER, NODE, ROOT, Settings
from cluster.waiting import until

CONFIG = ROOT / "kind-config.yaml"
NETWORK = "kind"
#: Seconds that kind waits for the node; pods and DNS get as long again.
READY_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """kind with its tools; `commands` carry the engine's DOCKER_HOST."""

    settings: Settings
    commands: Commands
    programs: Programs

    @property
    def kind(self) -> Path:
        return self.programs.tool(KIND)

    def exists(self) -> bool:
        """Whether there is a cluster of our name, in whatever state."""
        names = self.commands.answer(self.kind, "get", "clusters", "--quiet")
        return CLUSTER in names.split()

    def healthy(self) -> bool:
        """Whether its API server says that it is ready, and we have the key to it."""
        if not self.settings.kubeconfig.is_file():
            self.commands.try_answer(
                self.kind, "export", "kubeconfig", f"--name={CLUSTER}", f"--kubeconfig={self.settings.kubeconfig}"
            )
        return self._kubectl("get", "--raw=/readyz", "--request-timeout=5s") == "ok"

    def node_image(self) -> str:
        """The image that the running node was made from."""
        return self.commands.answer("docker", "inspect", "--format={{.Config.Image}}", NODE)

    def create(self, image: str, *, own_engine: bool) -> None:
        """Create the cluster and wait until it is ready. A half-made one is left for `delete`."""
        self.settings.state.mkdir(parents=True, exist_ok=True)
        if self.commands.try_answer("docker", "network", "inspect", NETWORK) is None:
            self._network_note.touch()
            if own_engine:  # a bridge with a name can be found again after a crash
                option = f"com.docker.network.bridge.name={BRIDGE}"
                self.commands.answer("docker", "network", "create", "--driver=bridge", f"--opt={option}", NETWORK)
        self.commands.run(
            [
                self.kind, "create", "cluster", f"--config={CONFIG}", f"--name={CLUSTER}", f"--image={image}",
                f"--kubeconfig={self.settings.kubeconfig}", f"--wait={READY_S}s",
            ],
            doing="kind create cluster",
            hint="see the log; `python3 -m cluster down` cleans up; are the host ports in kind-config.yaml free?",
        )  # fmt: skip
        self.settle()

    def settle(self) -> None:
        """Wait until the node is Ready, DNS answers and pods can be made. Raises ClusterError."""
        limit = f"--timeout={READY_S}s"
        steps: tuple[tuple[str, Callable[[], object]], ...] = (
            ("the node", partial(self._kubectl, "wait", "--for=condition=Ready", "node", "--all", limit)),
            (
                "DNS",
                partial(self._kubectl, "rollout", "status", "--namespace=kube-system", "deployment/coredns", limit),
            ),
            # made a moment after its namespace; no pod is admitted before
            ("the default service account", partial(until, self._has_account, timeout_s=READY_S, interval_s=0.2)),
        )
        for what, wait in steps:
            if not wait():
                pods = self._kubectl("get", "pods", "--all-namespaces") or "the API server does not answer"
                raise ClusterError(
                    f"{what} was not ready after {READY_S} s",
                    hint=f"the pods are:\n{pods}\n`python3 -m cluster down` cleans up",
                )

    def _has_account(self) -> bool:
        return self._kubectl("get", "serviceaccount", "default") is not None

    def delete(self) -> None:
        """Remove the cluster, and kind's network if it was made for it. Harmless when there is none."""
        delete(self.settings, self.commands)

    def load(self, images: Sequence[str]) -> None:
        """Load images from the engine into the node."""
        self.commands.run(
            [self.kind, "load", "docker-image", f"--name={CLUSTER}", *images],
            doing="kind load",
            hint="see the log; is the disk full?",
        )

    def loaded(self, image: str) -> set[str]:
        """The digests that the node knows this image by: of its manifest, and of its configuration."""
        # containerd puts a registry of its own choice before a name that has none.
        listing = self._ctr("images", "ls", f'name~="/{re.escape(image)}$"') or ""
        digests = {word for word in listing.split() if word.startswith("sha256:")}
        for digest in tuple(digests):
            digests |= mentioned(self._ctr("content", "get", digest) or "{}")
        return digests

    def _ctr(self, *argv: str) -> str | None:
        return self.commands.try_answer("docker", "exec", NODE, "ctr", "--namespace=k8s.io", *argv)

    def _kubectl(self, *argv: str) -> str | None:
        return self.commands.try_answer(
            self.programs.tool(KUBECTL), f"--kubeconfig={self.settings.kubeconfig}", *argv, timeout_s=READY_S + 10
        )

    @property
    def _network_note(self) -> Path:
        return network_note(self.settings)


def network_note(settings: Settings) -> Path:
    """Exists while kind's network is one that we made."""
    return settings.state / "made-network"


def delete(settings: Settings, commands: Commands) -> int:
    """Remove the nodes, by the label that kind gives them, and the network if we made it; returns how many nodes."""
    label = f"label=io.x-k8s.kind.cluster={CLUSTER}"
    nodes = commands.answer("docker", "ps", "--all", "--quiet", f"--filter={label}").split()
    if nodes:
        commands.answer("docker", "rm", "--force", "--volumes", *nodes, timeout_s=120)
    if network_note(settings).exists():
        commands.try_answer("docker", "network", "rm", NETWORK)  # refused while another cluster uses it, rightly
        network_note(settings).unlink()
    settings.kubeconfig.unlink(missing_ok=True)
    return len(nodes)


def mentioned(manifest: str) -> set[str]:
    """The digests of the configuration, or of the manifests, that an image manifest or index names."""
    content = json.loads(manifest)
    entries = [content.get("config") or {}, *content.get("manifests", [])]
    return {entry["digest"] for entry in entries if "digest" in entry}
