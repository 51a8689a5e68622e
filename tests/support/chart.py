"""The rendered chart as parsed objects, for assertions about what would be applied."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from support.tools import tool

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "pinnace"
#: Value sets that between them reach every branch of the templates.
VALUE_SETS = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = "pinnace"
NAMESPACE = "pinnace-system"

Manifest = dict[str, Any]


class RefusedByHelm(AssertionError):
    """Helm would not render; the message is what a person would read."""


def helm(*arguments: str, stdin: str = "") -> str:
    """Run helm without a cluster; what it printed. Raises RefusedByHelm."""
    command = [tool("helm"), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RefusedByHelm(done.stderr + done.stdout)
    return done.stdout


def render(*values: Path, namespace: str = NAMESPACE, **settings: Any) -> list[Manifest]:
    """The objects for these value files, then for `settings` (`api__service__type="NodePort"`)."""
    overrides: dict[str, Any] = {}
    for name, value in settings.items():
        *parents, last = name.split("__")
        inner = overrides
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    command = ["template", RELEASE, str(CHART), "--namespace", namespace, "--kube-version", "1.34"]
    for file in values:
        command += ["--values", str(file)]
    command += ["--values", "-"]
    return [manifest for manifest in yaml.safe_load_all(helm(*command, stdin=json.dumps(overrides))) if manifest]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def one(manifests: list[Manifest], kind: str, ending: str = "") -> Manifest:
    """The only object of this kind whose name ends so."""
    (found,) = [found for found in of_kind(manifests, kind) if found["metadata"]["name"].endswith(ending)]
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name and spec of every pod that these objects bring about."""
    for manifest in manifests:
        name = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            yield name, manifest["spec"]
        elif manifest["kind"] in ("Deployment", "Job", "Experiment"):
            yield name, manifest["spec"]["template"]["spec"]


def containers(spec: Manifest) -> list[Manifest]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(container: Manifest) -> dict[str, str]:
    """The variables with a plain value."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


def below_restricted(spec: Manifest) -> list[str]:
    """What keeps a pod from the restricted Pod Security level; empty when nothing does."""
    wrong = []
    of_pod = spec.get("securityContext", {})
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in spec.get("volumes", []):
        if not allowed & volume.keys():
            wrong.append(f"volume {volume['name']} is of a kind that is not allowed")
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            wrong.append(field)
    for container in containers(spec):
        own = container.get("securityContext", {})
        both = {**of_pod, **own}
        for promise, kept in {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser is not 0": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "allowPrivilegeEscalation: false": own.get("allowPrivilegeEscalation") is False,
            "drop ALL": own.get("capabilities", {}).get("drop") == ["ALL"] and not own["capabilities"].get("add"),
            "not privileged": not own.get("privileged"),
            "no hostPort": not any("hostPort" in port for port in container.get("ports", [])),
        }.items():
            if not kept:
                wrong.append(f"{container['name']}: {promise}")
    return wrong
