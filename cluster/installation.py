"""What the demo and the end-to-end tests put into the cluster: MinIO with a bucket and a key, and the chart.

Every step may be repeated: what is there already is left as it is or brought up to date.
"""

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import minio_setup
from cluster.kubectl import CommandFailed, apply, get, helm, kubectl, run

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts/pinnace"
RELEASE = "pinnace"
DEFINITION = "experiments.pinnace.dev"
SYSTEM_NAMESPACE = "pinnace-system"
STORE_NAMESPACE = "minio"
#: Where kind-config.yaml maps the two NodePorts to.
API_URL = "http://127.0.0.1:30080"
STORE_URL = "http://127.0.0.1:30900"
STORE_URL_IN_CLUSTER = f"http://minio.{STORE_NAMESPACE}.svc.cluster.local:9000"
BUCKET = "pinnace"
CREDENTIALS_SECRET = "pinnace-store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How to reach what is installed, from this machine. The repr shows no secret."""

    api_url: str
    store_url: str
    bucket: str
    region: str
    access_key: str

    _admin_token: str
    _secret_key: str

    def __repr__(self) -> str:
        return f"Installation(api_url={self.api_url!r}, store_url={self.store_url!r}, bucket={self.bucket!r})"

    @property
    def admin_token(self) -> str:
        return self._admin_token

    @property
    def secret_key(self) -> str:
        return self._secret_key


def install(say: Callable[[str], None], chart: Path = CHART, *further: str) -> Installation:
    """Install both and wait until they answer; `say` gets a line per step, `further` are options of `helm upgrade`.

    Raises CommandFailed.
    """
    say("MinIO: one server, a bucket, and a key that may use this bucket only")
    _namespace(STORE_NAMESPACE)
    root = _secret_once("minio-root", STORE_NAMESPACE, {"user": "root", "password": secrets.token_urlsafe(24)})
    manifest = ROOT / "cluster/manifests/minio.yaml"
    kubectl("apply", "--server-side", f"--filename={manifest}", namespace=STORE_NAMESPACE)
    kubectl("rollout", "status", "deployment/minio", "--timeout=120s", namespace=STORE_NAMESPACE, timeout=150)
    wanted = {"access_key": "pinnace", "secret_key": secrets.token_urlsafe(30)}
    key = _secret_once("pinnace-key", STORE_NAMESPACE, wanted)
    minio_setup.ensure(
        endpoint=STORE_URL,
        root_user=root["user"],
        root_password=root["password"],
        bucket=BUCKET,
        access_key=key["access_key"],
        secret_key=key["secret_key"],
    )
    say(f"the chart: helm install {RELEASE} charts/pinnace")
    install_chart(chart, *further)
    return _found(key)


def install_chart(chart: Path = CHART, *further: str) -> None:
    """Install or upgrade the release, and wait until it answers. Raises CommandFailed."""
    helm(
        "upgrade", "--install", RELEASE, str(chart),
        "--namespace", SYSTEM_NAMESPACE, "--create-namespace",
        "--values", str(CHART / "ci/demo-values.yaml"),
        "--take-ownership",  # the CRD stays when a release goes, and would belong to that release for ever
        "--set-string", f"operator.podAnnotations.image-id={image_id('operator')}",
        "--set-string", f"api.podAnnotations.image-id={image_id('api')}",
        "--wait", "--timeout", "180s", *further,
    )  # fmt: skip


def uninstall_chart() -> None:
    """Remove the release. Its database, the CRD and every Experiment stay. Raises CommandFailed."""
    helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait", "--timeout", "180s")


def image_id(part: str) -> str:
    """The id of a part's image: the tag stays the same when it is built anew, and the pods are to be replaced then."""
    return run(["docker", "image", "inspect", "--format={{.Id}}", f"pinnace/{part}:dev"], timeout=30).strip()


def found() -> Installation | None:
    """What `install` made, when it is there."""
    try:
        key = _read_secret("pinnace-key", STORE_NAMESPACE)
        installed = get("deployment", f"{RELEASE}-api", SYSTEM_NAMESPACE)
    except CommandFailed:
        return None
    return _found(key) if key and installed else None


def uninstall() -> None:
    """Remove the release, the CRD with every Experiment, MinIO and its bytes."""
    uninstall_chart()
    kubectl("delete", "crd", DEFINITION, "--ignore-not-found")
    for namespace in (SYSTEM_NAMESPACE, STORE_NAMESPACE):
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s", timeout=150)


def experiment_namespace(name: str, installation: Installation) -> None:
    """A namespace that takes only restricted pods, with the Secret that sidecars upload with."""
    _namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"})
    bring_store_key(name, installation.access_key, installation.secret_key)


def bring_store_key(namespace: str, access_key: str, secret_key: str) -> None:
    """Make or change the Secret that the namespace's sidecars upload with."""
    key = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    apply(_secret(CREDENTIALS_SECRET, key), namespace=namespace)


def _found(key: dict[str, str]) -> Installation:
    admin = _read_secret(f"{RELEASE}-admin-token", SYSTEM_NAMESPACE)
    if admin is None:
        raise CommandFailed(f"the Secret {RELEASE}-admin-token is not in {SYSTEM_NAMESPACE}; install the chart again")
    return Installation(
        api_url=API_URL,
        store_url=STORE_URL,
        bucket=BUCKET,
        region="us-east-1",
        access_key=key["access_key"],
        _admin_token=admin["token"],
        _secret_key=key["secret_key"],
    )


def _namespace(name: str, labels: dict[str, str] | None = None) -> None:
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})


def _secret(name: str, values: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def _secret_once(name: str, namespace: str, values: dict[str, str]) -> dict[str, str]:
    """The Secret as it is, or made with these values."""
    existing = _read_secret(name, namespace)
    if existing is None:
        apply(_secret(name, values), namespace=namespace)
    return existing or values


def _read_secret(name: str, namespace: str) -> dict[str, str] | None:
    text = kubectl("get", "secret", name, "--ignore-not-found", "--output=json", namespace=namespace)
    if not text.strip():
        return None
    return {field: base64.b64decode(value).decode() for field, value in json.loads(text)["data"].items()}
