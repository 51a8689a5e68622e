"""The chart's webhooks and an operator process that answers them, at an API server of the tests' own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cluster.kubectl import apply, kubectl
from support.chart import NAMESPACE, Manifest, environment, of_kind, one, render
from support.control_plane import ControlPlane
from support.ports import free_port

CONFIGURATIONS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
SECRET = "pinnace-webhook"


def manifests() -> list[Manifest]:
    return render(store__bucket="artifacts", store__endpoint="http://store.test:9000")


def install(port: int) -> None:
    """What of the chart the webhooks need; called at `port` of this machine, where no Service leads to."""
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    rendered = manifests()
    kinds = ("CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    apply(*of_kind(rendered, *kinds), one(rendered, "Secret", "-webhook"))
    kubectl("wait", "--for=condition=Established", "crd/experiments.pinnace.dev", "--timeout=30s")
    configure(port)


def configure(port: int) -> None:
    configurations = of_kind(manifests(), *CONFIGURATIONS)
    for configuration in configurations:
        for webhook in configuration["webhooks"]:
            client = webhook["clientConfig"]
            client["url"] = f"https://localhost:{port}{client.pop('service')['path']}"
    apply(*configurations)


@contextmanager
def operator(plane: ControlPlane, folder: Path, port: int, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The operator as the chart would start it, with the rights of its service account and no metadata API."""
    folder.mkdir(exist_ok=True)
    token = kubectl("create", "token", "pinnace-operator", "--duration=1h", namespace=NAMESPACE).strip()
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    (container,) = one(manifests(), "Deployment", "-operator")["spec"]["template"]["spec"]["containers"]
    given = environment(container) | {
        "PINNACE_OPERATOR_API_URL": "http://127.0.0.1:9",
        "PINNACE_OPERATOR_API_TOKEN_FILE": "",
        "PINNACE_OPERATOR_HEALTH_PORT": str(free_port()),
        "PINNACE_OPERATOR_WEBHOOK_PORT": str(port),
        "PINNACE_OPERATOR_WEBHOOK_HOSTS": json.dumps(["localhost"]),
        **{f"PINNACE_OPERATOR_{name.upper()}": value for name, value in settings.items()},
        "KUBECONFIG": str(folder / "kubeconfig"),
    }
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "HOME")}
    with (folder / "operator.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pinnace_operator"], env=kept | given, stdout=log, stderr=log, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pod(name: str, labels: dict[str, str], **spec: Any) -> Manifest:
    container = {"name": "work", "image": "work:1", "env": [{"name": "MINE", "value": "1"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def create(manifest: Manifest, namespace: str, *options: str) -> Manifest:
    """The object as the API server takes it. Raises CommandFailed with its words."""
    text = kubectl("create", "--filename=-", "--output=json", *options, namespace=namespace, stdin=json.dumps(manifest))
    created: Manifest = json.loads(text)
    return created
