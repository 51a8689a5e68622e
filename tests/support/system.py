"""The installed system and Experiments on it, seen from outside: kubectl, the API's client, a client of the store."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from minio import Minio

from cluster.installation import STORE_NAMESPACE, SYSTEM_NAMESPACE, Installation, found, install, uninstall
from cluster.kubectl import CommandFailed, get, items, kubectl, run
from pinnace.client import Client, NotFound
from pinnace.naming import SIDECAR_CONTAINER
from pinnace.records import Artifact
from pinnace.settings import ClientSettings
from support.eventually import eventually
from support.ledger import WRITER, Ledger, differences

IMAGE = "pinnace/examples:dev"
TRAINING = "train"
#: What a training with HOLD in its environment waits for.
HOLD = "/tmp/go"
#: How to find, among the store's files, objects that arrive whole, and uploads in parts.
_WHOLE = "-path '*/.minio.sys/tmp/*' -not -path '*/.trash/*' -name part.1 -size +1M"
_IN_PARTS = "-path '*/.minio.sys/multipart/*' -name xl.meta"


@dataclass(frozen=True, slots=True)
class System:
    """The installed system and the clients that look at it from outside."""

    installation: Installation
    api: Client
    bucket: Minio

    @property
    def bucket_name(self) -> str:
        return self.installation.bucket

    def rows(self, experiment: UUID) -> list[Artifact]:
        """None also while the operator has not registered the experiment yet."""
        try:
            return list(self.api.experiment_artifacts(experiment))
        except NotFound:
            return []

    def uploads_under_way(self) -> list[str]:
        """Multipart uploads that the store holds parts of, read off its disk: its listing shows them per key only."""
        return on_node("sh", "-c", self._find(_IN_PARTS)).splitlines()

    def freeze_store_in_mid_put(self) -> None:
        """Stop the store's process the moment a part of an object sent whole is there; `thaw_store` lets it go on.

        All of it runs inside the node, because an upload is over sooner than a few commands from outside.
        """
        self._freeze_when(_WHOLE)

    def freeze_store_in_mid_upload(self) -> None:
        """The same, the moment a multipart upload is under way."""
        self._freeze_when(_IN_PARTS)

    def stop_store(self) -> None:
        """Stop the store's process; requests hang until `thaw_store`."""
        on_node("pkill", "-STOP", "minio")

    def thaw_store(self) -> None:
        on_node("pkill", "-CONT", "minio")

    def _freeze_when(self, there: str) -> None:
        on_node("sh", "-c", f"until {self._find(there)} | grep -q .; do :; done; pkill -STOP minio", timeout=120)

    def _find(self, what: str) -> str:
        claim = items("persistentvolumeclaims", STORE_NAMESPACE)[0]["spec"]["volumeName"]
        volume = get("persistentvolume", claim)
        assert volume is not None
        return f"find {volume['spec']['hostPath']['path']} {what}"

    def scale(self, deployment: str, namespace: str, replicas: int) -> None:
        """Change a Deployment's size; returns when its pods are ready, or gone."""
        kubectl("scale", f"deployment/{deployment}", f"--replicas={replicas}", namespace=namespace)
        if replicas:
            kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=120s", namespace=namespace, timeout=150)
        else:
            selector = get("deployment", deployment, namespace)["spec"]["selector"]["matchLabels"]  # type: ignore[index]
            labels = ",".join(f"{name}={value}" for name, value in selector.items())
            eventually(
                lambda: not items("pods", namespace, labels), timeout=90, interval=0.5, what=f"{deployment} gone"
            )


@contextlib.contextmanager
def installed_system() -> Iterator[System]:
    """The whole system on the cluster; afterwards it is gone again unless it was there before."""
    before = found()
    with connected(install(lambda line: None)) as system:
        yield system
    if before is None:
        uninstall()


@contextlib.contextmanager
def connected(installation: Installation) -> Iterator[System]:
    """With a client of its API and one of its store."""
    host = installation.store_url.removeprefix("http://")
    bucket = Minio(host, access_key=installation.access_key, secret_key=installation.secret_key, secure=False)
    with Client(ClientSettings(api_url=installation.api_url, api_token=installation.admin_token)) as api:
        yield System(installation, api, bucket)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One Experiment on the cluster, seen through kubectl."""

    system: System
    namespace: str
    name: str

    def read(self) -> dict[str, Any]:
        found_object = get("experiment", self.name, self.namespace)
        assert found_object is not None, f"experiment {self.name} is gone"
        return found_object

    @property
    def id(self) -> UUID:
        return UUID(self.read()["metadata"]["uid"])

    def condition(self, kind: str) -> dict[str, Any]:
        conditions = self.read().get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def wait_for(self, kind: str, status: str, *, reason: str = "", timeout: float = 240) -> dict[str, Any]:
        """Wait for a condition; what it says when it holds."""

        def holds() -> dict[str, Any] | None:
            condition = self.condition(kind)
            same = condition.get("status") == status and reason in ("", condition.get("reason"))
            return condition if same else None

        return eventually(holds, timeout=timeout, interval=0.3, what=f"{kind}={status} {reason}")

    def pods(self) -> list[dict[str, Any]]:
        return items("pods", self.namespace, f"pinnace.dev/experiment-id={self.id}")

    def wait_until_running(self, count: int = 1) -> None:
        def running() -> bool:
            phases = [pod["status"].get("phase") for pod in self.pods()]
            return phases.count("Running") >= count

        eventually(running, timeout=120, interval=0.3, what=f"{count} pods of {self.name} running")

    def wait_until_holding(self, files: int) -> None:
        """Until the training waits for `release` and `files` of its files are recorded."""
        eventually(
            lambda: len(self.system.rows(self.id)) == files, timeout=120, interval=0.3, what=f"{files} files recorded"
        )
        eventually(lambda: "HOLDING" in self._log(self.pods()[0]), timeout=30, interval=0.3, what="the training holds")

    def release(self) -> None:
        """Let a training go on that was told to hold."""
        self.execute(TRAINING, "touch", HOLD)

    def end(self) -> None:
        """Let a training end that was told to stay."""
        self.execute(TRAINING, "touch", f"{HOLD}.end")

    def execute(self, container: str, *command: str, stdin: str = "") -> str:
        """Run a command in a container of the only pod."""
        [pod] = self.pods()
        into = ["--stdin"] if stdin else []
        exec_ = ["exec", *into, pod["metadata"]["name"], f"--container={container}", "--"]
        return kubectl(*exec_, *command, namespace=self.namespace, stdin=stdin)

    def sidecar(self) -> dict[str, Any]:
        """The status of the only pod's sidecar."""
        [pod] = self.pods()
        status: dict[str, Any] = pod["status"]["initContainerStatuses"][0]
        return status

    def _log(self, pod: dict[str, Any]) -> str:
        return kubectl("logs", pod["metadata"]["name"], f"--container={TRAINING}", namespace=self.namespace)

    def ledger(self) -> Ledger:
        """What all pods of the Experiment wrote, out of their logs."""
        merged = Ledger()
        for pod in self.pods():
            one = Ledger.from_log(self._log(pod))
            merged.entries += one.entries
            merged.steps += one.steps
        return merged

    def differences(self) -> list[str]:
        """Compare per iteration: the same path appears once in each."""
        wrong: list[str] = []
        rows = self.system.rows(self.id)
        for pod in self.pods():
            labels = pod["metadata"]["labels"]
            mine = [row for row in rows if str(row.iteration_id) == labels["pinnace.dev/iteration-id"]]
            wrong += differences(Ledger.from_log(self._log(pod)), mine, self.system.bucket)
        return wrong


def experiment_manifest(
    name: str,
    *,
    environment: dict[str, str],
    image: str = IMAGE,
    python: Sequence[str] = ("python3",),
    program: str = WRITER,
    memory: str = "512Mi",
    **spec: Any,
) -> dict[str, Any]:
    """An Experiment whose container runs `program`, the ledger's writer, and may use so much `memory`."""
    container = {
        "name": TRAINING,
        "image": image,
        "command": [*python, "-c", program],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"limits": {"memory": memory}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "pinnace.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "artifacts": {"completion": {"settleSeconds": 1}, "volume": {"emptyDir": {"sizeLimit": "4Gi"}}},
            "template": {"spec": {"containers": [container]}},
            **spec,
        },
    }


def is_ready() -> bool:
    """Whether operator, API and store are, and the cluster's API says so."""
    deployments = (
        ("pinnace-operator", SYSTEM_NAMESPACE),
        ("pinnace-api", SYSTEM_NAMESPACE),
        ("minio", STORE_NAMESPACE),
    )
    try:
        for deployment, namespace in deployments:
            kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=5s", namespace=namespace)
    except CommandFailed:
        return False
    return True


def diagnose(namespace: str) -> None:
    """Print what a person would look at first."""
    conditions = "{range .items[*].status.conditions[*]}{.type}={.status} {.reason}: {.message}{'\\n'}{end}"
    for command in (
        ["get", "experiments,jobs,pods", "--output=wide"],
        ["get", "experiments", f"--output=jsonpath={conditions}"],
        ["get", "events", "--sort-by=.lastTimestamp"],
        ["logs", "--selector=pinnace.dev/experiment", f"--container={SIDECAR_CONTAINER}", "--tail=40", "--prefix"],
    ):
        with contextlib.suppress(CommandFailed):
            print(f"--- {namespace}: kubectl {' '.join(command[:3])}\n{kubectl(*command, namespace=namespace)}")
    for deployment in ("operator", "api"):
        with contextlib.suppress(CommandFailed):
            log = kubectl("logs", f"deployment/pinnace-{deployment}", "--tail=60", namespace=SYSTEM_NAMESPACE)
            print(f"--- {deployment}\n{log}")


def evict(pod: str, namespace: str) -> None:
    """As a node that is drained asks a pod to go."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction), timeout=20)


def on_node(*command: str, timeout: float = 60) -> str:
    """Run a command inside the node: the only way to reach a container's process with SIGKILL."""
    node = items("nodes")[0]["metadata"]["name"]
    return run(["docker", "exec", node, *command], timeout=timeout)
