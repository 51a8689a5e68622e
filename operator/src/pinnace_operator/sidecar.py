"""The sidecar's part of a pod: its container, its volumes, and its environment from the type that it parses itself."""

from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.naming import (
    ARTIFACTS_VOLUME,
    BUFFER_VOLUME,
    CA_VOLUME,
    CREDENTIALS_VOLUME,
    SDK_METRICS_NAME,
    SIDECAR_CONTAINER,
    SYSTEM_METRICS_NAME,
    TOKEN_AUDIENCE,
    TOKEN_VOLUME,
)
from pinnace.settings import SIDECAR_PREFIX, STORE_PREFIX, SidecarSettings, dump
from pinnace_operator import quantity
from pinnace_operator.acceptance import Accepted
from pinnace_operator.experiment import ConfigMapKeyRef, Experiment, Metrics
from pinnace_operator.settings import Platform

BUFFER_DIR: Final = "/buffer"
TOKEN_DIR: Final = "/var/run/pinnace/token"  # noqa: S105 - a folder, not a secret
CREDENTIALS_DIR: Final = "/var/run/pinnace/store"
CA_DIR: Final = "/var/run/pinnace/store-ca"
_CA_FILE: Final = "ca.crt"

#: The sidecar stops filling its buffer here, below the volume's limit, because beyond that the pod is evicted.
BUFFER_FILL: Final = 0.9

#: Rotated by the kubelet well before it ends.
TOKEN_SECONDS: Final = 3600

_UID: Final = 65532


def container(
    experiment: Experiment, iteration: UUID, accepted: Accepted, platform: Platform, *, injected: bool = False
) -> dict[str, Any]:
    """A native sidecar: it starts before every other container of the pod and is stopped after all of them."""
    settings = _settings(experiment, iteration, platform, injected=injected)
    port = settings.health_port
    return {
        "name": SIDECAR_CONTAINER,
        "image": platform.sidecar_image,
        "imagePullPolicy": platform.sidecar_image_pull_policy,
        "restartPolicy": "Always",
        "env": _environment(settings, accepted),
        "ports": [{"name": "pinnace-health", "containerPort": port}],
        # The training waits for this one probe and for nothing else of the sidecar's.
        "startupProbe": {"httpGet": {"path": "/healthz", "port": port}, "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": port},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": dict(platform.sidecar_resources),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePath": settings.termination_message,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": ARTIFACTS_VOLUME, "mountPath": settings.artifacts_dir, "readOnly": True},
            {"name": BUFFER_VOLUME, "mountPath": BUFFER_DIR},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": True},
            {"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_DIR, "readOnly": True},
            *([{"name": CA_VOLUME, "mountPath": CA_DIR, "readOnly": True}] if accepted.ca_bundle else []),
        ],
    }


def volumes(experiment: Experiment, accepted: Accepted) -> list[dict[str, Any]]:
    artifacts = experiment.spec.artifacts
    return [
        {"name": ARTIFACTS_VOLUME, "emptyDir": {"sizeLimit": artifacts.volume.empty_dir.size_limit}},
        {"name": BUFFER_VOLUME, "emptyDir": {"sizeLimit": artifacts.buffer.size_limit}},
        {
            "name": TOKEN_VOLUME,
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": TOKEN_AUDIENCE,
                            "expirationSeconds": TOKEN_SECONDS,
                            "path": "token",
                        }
                    }
                ]
            },
        },
        # Optional: a Secret that is missing holds up the shipping, which the sidecar reports, and not the training.
        # The kubelet brings it in when it appears.
        {"name": CREDENTIALS_VOLUME, "secret": {"secretName": accepted.credentials_secret, "optional": True}},
        *_ca_volume(accepted.ca_bundle),
    ]


def _ca_volume(bundle: ConfigMapKeyRef | None) -> list[dict[str, Any]]:
    """Optional like the Secret. Not mounted by subPath, which the kubelet would not bring up to date."""
    if bundle is None:
        return []
    items = [{"key": bundle.key, "path": _CA_FILE}]
    return [{"name": CA_VOLUME, "configMap": {"name": bundle.name, "items": items, "optional": True}}]


def literal(value: str) -> str:
    """`value` so that Kubernetes does not take a `$(NAME)` in it for a reference."""
    return value.replace("$", "$$")


def _settings(experiment: Experiment, iteration: UUID, platform: Platform, *, injected: bool) -> SidecarSettings:
    artifacts = experiment.spec.artifacts
    return SidecarSettings(
        iteration_id=iteration,
        pod_uid="downward",  # replaced by the pod's own UID in _environment
        injected=injected,
        artifacts_dir=artifacts.mount_path,
        buffer_dir=BUFFER_DIR,
        buffer_limit_bytes=int(quantity.to_bytes(artifacts.buffer.size_limit) * BUFFER_FILL),
        include=artifacts.include,
        exclude=artifacts.exclude,
        settle_seconds=artifacts.completion.settle_seconds,
        markers=artifacts.completion.markers,
        deduplicate=artifacts.deduplicate,
        zstd_level=artifacts.compression.zstd_level,
        metrics_files=_metrics_files(experiment.spec.metrics),
        drain_timeout_seconds=artifacts.drain_timeout_seconds,
        api_url=platform.sidecar_api_url,
        api_token_file=f"{TOKEN_DIR}/token",
    )


def _metrics_files(metrics: Metrics) -> tuple[str, ...]:
    # The slash says: directly on the volume.
    system = (f"/{SYSTEM_METRICS_NAME}",) if metrics.system.enabled else ()
    return (*metrics.files, f"/{SDK_METRICS_NAME}", *system)


def _environment(settings: SidecarSettings, accepted: Accepted) -> list[dict[str, Any]]:
    pod_uid = f"{SIDECAR_PREFIX}POD_UID"
    ca_file = f"{CA_DIR}/{_CA_FILE}" if accepted.ca_bundle else ""
    store = msgspec.structs.replace(accepted.store, credentials_dir=CREDENTIALS_DIR, ca_file=ca_file)
    plain = dump(settings, SIDECAR_PREFIX) | dump(store, STORE_PREFIX)
    del plain[pod_uid]
    return [
        {"name": pod_uid, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        *({"name": name, "value": literal(value)} for name, value in plain.items()),
    ]
