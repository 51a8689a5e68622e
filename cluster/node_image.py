"""The node image: kind's published one, or one made of Kubernetes' Go modules and Debian's packages.

The one made here holds the real programs under the names that kubeadm asks for. Where a name's version differs from
the module's (etcd, CoreDNS, pause), it is kubeadm's wish that the name follows.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.archive import Image, write_archive, write_layer
from cluster.cache import Cache, key
from cluster.choice import Candidates, Choice, Origin, choose
from cluster.commands import Commands
from cluster.debian import Root, make_root
from cluster.docker import Docker
from cluster.errors import ClusterError
from cluster.programs import KIND, KUBE, MODULE, PAUSE, VOLUMES, Programs, kubernetes_version, program_key
from cluster.settings import NODE_IMAGE_VARIABLE, ROOT, Settings

FILES = ROOT / "cluster/node"
NODE_ROOT = Root(
    name="node",
    packages=(
        "containerd", "runc", "containernetworking-plugins", "conntrack", "iptables", "nftables", "iproute2", "ethtool",
        "util-linux", "mount", "kmod", "procps", "ca-certificates", "socat", "jq",
    ),
    extracted=("/usr/sbin/nft",),
)  # fmt: skip

#: Parts of Kubernetes in the multi-call program that run in pods.
IN_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns")
#: What the manifest of the default StorageClass calls its provisioner's image.
VOLUMES_IMAGE = "node.local/pinnace/volumes:node"

#: How kind's default image stands in kind's program: Go keeps its strings one after the other, without ends.
DEFAULT_IMAGE = re.compile(rb"kindest/node:v[0-9]+\.[0-9]+\.[0-9]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeImages:
    """Chooses the node image, and makes it when it has to."""

    settings: Settings
    cache: Cache
    commands: Commands
    docker: Docker
    programs: Programs

    def ensure(self, *, withheld: bool) -> Choice:
        """The image for `kind create cluster`, in the engine. `withheld`: this machine lacks CAP_SYS_RESOURCE."""
        built = f"pinnace/node:{self.key()}"
        published = default_image(self.programs.tool(KIND).read_bytes())
        choice = choose(
            Candidates(
                purpose="the node image",
                variable=NODE_IMAGE_VARIABLE,
                wish=self.settings.node_image,
                published=published,
                has_published=self.docker.has(published),
                has_built=self.docker.has(built),
                obstacle="privileged pods need CAP_SYS_RESOURCE, which this machine withholds" if withheld else "",
            ),
            has=self.docker.has,
            pull=self.docker.pull,
        )
        if choice.origin is not Origin.BUILT:
            return choice
        self.commands.progress.say(f"node image: built here, because {choice.why}")
        if not self.docker.has(built):
            self._build(built)
        return Choice(Origin.BUILT, built, choice.why)

    def key(self) -> str:
        """What the built image is made from."""
        programs = [program_key(program) for program in (KUBE, PAUSE, VOLUMES)]
        return key(*programs, NODE_ROOT.key, FILES, Path(__file__), ROOT / "cluster/archive.py")

    def _build(self, image: str) -> None:
        kube, pause, volumes = (self.programs.built(program) for program in (KUBE, PAUSE, VOLUMES))
        root = make_root(self.cache, self.commands, NODE_ROOT)
        version = kubernetes_version((MODULE / "go.mod").read_text(encoding="utf-8"))
        wanted = wanted_images(
            self.commands.answer(kube, "kubeadm", "config", "images", "list", f"--kubernetes-version={version}")
        )
        base = f"pinnace/node-root:{NODE_ROOT.key}"
        if not self.docker.has(base):
            self.docker.import_root(root / "root.tar", base)
        with self.cache.workspace("node-image") as workspace:
            self.commands.progress.say("making the node image (about half a minute)")
            context = workspace / "context"
            shutil.copytree(FILES, context)
            template = context / "files/etc/containerd/config.toml"
            template.write_text(
                template.read_text(encoding="utf-8").replace("{{pause}}", wanted["pause"]), encoding="utf-8"
            )
            shutil.copy2(kube, context / "kube")
            images = pod_images(workspace, wanted, kube=kube, pause=pause, volumes=volumes, nft=root / "extract.tar")
            write_archive(context / "images.tar", images)
            arguments = {"ROOT": base, "KUBERNETES_VERSION": version}
            self.docker.build(image, context, inputs=self.key(), arguments=arguments)


def pod_images(
    folder: Path, wanted: Mapping[str, str], *, kube: Path, pause: Path, volumes: Path, nft: Path
) -> list[Image]:
    """The images that lie in the node image, their layers written into `folder`."""
    layers = {name: folder / f"{name}.tar" for name in ("kube", "pause", "volumes")}
    links = {f"usr/local/bin/{part}": "kube" for part in IN_PODS} | {"coredns": "usr/local/bin/kube"}
    write_layer(layers["kube"], {"usr/local/bin/kube": kube}, links)
    write_layer(layers["pause"], {"pause": pause}, {})
    write_layer(layers["volumes"], {"volumes": volumes}, {})
    plain = tuple(wanted[part] for part in IN_PODS if part not in ("kube-proxy", "coredns"))
    return [
        Image(names=plain, layers=(layers["kube"],)),
        Image(names=(wanted["kube-proxy"],), layers=(layers["kube"], nft)),
        Image(names=(wanted["coredns"],), layers=(layers["kube"],), entrypoint=("/coredns",)),
        Image(names=(wanted["pause"],), layers=(layers["pause"],), entrypoint=("/pause",)),
        Image(names=(VOLUMES_IMAGE,), layers=(layers["volumes"],), entrypoint=("/volumes",)),
    ]


def wanted_images(listing: str) -> dict[str, str]:
    """Each part's image by `kubeadm config images list`, which prints one name a line.

    Raises ClusterError when a part is missing: this Kubernetes needs something that the image doesn't have.
    """
    names = [line.strip() for line in listing.splitlines() if line.strip()]
    found = {name.rpartition("/")[2].partition(":")[0]: name for name in names}
    if missing := {*IN_PODS, "pause"} - found.keys():
        raise ClusterError(
            f"kubeadm names no image for {', '.join(sorted(missing))}",
            hint="adapt cluster/node_image.py to this version of Kubernetes",
        )
    return found


def default_image(kind: bytes) -> str:
    """The node image that this kind takes by default, read off the program itself: it belongs to kind's version."""
    found = DEFAULT_IMAGE.search(kind)
    if found is None:
        raise ClusterError(
            "this kind doesn't say which node image it takes by default",
            hint=f"set {NODE_IMAGE_VARIABLE} to `built` or to an image's name",
        )
    return found[0].decode()
