"""The ports of admission on a real API server.

What the operator's role must allow beside perform.py's, and why:

    (core)                         secrets            get, patch   its own certificate, by name
    admissionregistration.k8s.io   …configurations    get, patch   the authorities in its own two, by name

Neither is made here: the chart makes both, so that no right to create is needed.
"""

import base64
from typing import Any, Final

from pinnace.naming import GROUP, PLURAL, VERSION
from pinnace_operator.connection import Login
from pinnace_operator.kubernetes_api import KubernetesApi

#: The fields of ours beside Helm's in the same objects.
MANAGER: Final = "pinnace-operator-webhook"

_GROUP: Final = "admissionregistration.k8s.io/v1"
_KINDS: Final = {
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
}

#: Below the time in which the API server wants an answer of ours.
TIMEOUT_S: Final = 3.0


class KubernetesLookup(KubernetesApi):
    """The Lookup of a real cluster."""

    def experiment(self, namespace: str, name: str) -> dict[str, Any]:
        return self._call("GET", f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}")

    def server_version(self) -> tuple[int, int]:
        version = self._call("GET", "/version")
        return _number(version["major"]), _number(version["minor"])


class KubernetesCertificates(KubernetesApi):
    """The Certificates of a real cluster."""

    def __init__(self, login: Login, *, namespace: str, secret: str, webhooks: str) -> None:
        super().__init__(login)
        self._namespace = namespace
        self._secret = secret
        self._webhooks = webhooks

    def secret(self) -> tuple[dict[str, bytes], str]:
        found = self._call("GET", self._secret_path)
        data = {name: base64.b64decode(value) for name, value in (found.get("data") or {}).items()}
        return data, found["metadata"]["resourceVersion"]

    def write_secret(self, data: dict[str, bytes], version: str) -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._secret, "namespace": self._namespace, "resourceVersion": version},
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }
        self._apply(self._secret_path, manifest, manager=MANAGER)

    def authorities(self) -> tuple[bytes, ...]:
        return tuple(
            base64.b64decode(webhook["clientConfig"].get("caBundle", ""))
            for kind in _KINDS
            for webhook in self._configuration_of(kind).get("webhooks", ())
        )

    def write_authorities(self, bundle: bytes) -> None:
        client = {"caBundle": base64.b64encode(bundle).decode()}
        for kind in _KINDS:
            names = [webhook["name"] for webhook in self._configuration_of(kind).get("webhooks", ())]
            manifest = {
                "apiVersion": _GROUP,
                "kind": kind,
                "metadata": {"name": self._webhooks},
                "webhooks": [{"name": name, "clientConfig": client} for name in names],
            }
            self._apply(self._path(kind), manifest, manager=MANAGER)

    @property
    def _secret_path(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/secrets/{self._secret}"

    def _configuration_of(self, kind: str) -> dict[str, Any]:
        return self._call("GET", self._path(kind))

    def _path(self, kind: str) -> str:
        return f"/apis/{_GROUP}/{_KINDS[kind]}/{self._webhooks}"


def _number(text: str) -> int:
    """Some clusters call their minor version `29+`."""
    return int("".join(character for character in text if character.isdigit()) or "0")
