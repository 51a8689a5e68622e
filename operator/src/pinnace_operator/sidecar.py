"""The sidecar's part of a pod: its container, its volumes, and its environment from the type that it parses itself."""

from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.naming import (
    CA_VOLUME,
    CREDENTIALS_VOLUME,
    ENV_POD_UID,
    SDK_METRICS_NAME,
    SIDECAR_CONTAINER,
    SYSTEM_METRICS_NAME,
    TOKEN_AUDIENCE,
    TOKEN_VOLUME,
)
from pinnace.settings import SIDECAR_PREFIX, STORE_PREFIX, SidecarSettings, dump
from pinnace_operator import quantity
from pinnace_operator import volumes as volumes_
from pinnace_operator.acceptance import Accepted
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import ConfigMapKeyRef, Metrics
from pinnace_operator.settings import Platform
from pinnace_operator.volumes import BUFFER_DIR, pod_uid_variable

TOKEN_DIR: Final = "/var/run/pinnace/token"  # noqa: S105 - a folder, not a secret
CREDENTIALS_DIR: Final = "/var/run/pinnace/store"
CA_DIR: Final = "/var/run/pinnace/store-ca"
_CA_FILE: Final = "ca.crt"

#: The sidecar stops filling its buffer here, below the volume's limit, because beyond that the pod is evicted.
BUFFER_FILL: Final = 0.9

#: Rotated by the kubelet well before it ends.
TOKEN_SECONDS: Final = 3600

_UID: Final = 65532

#: Stands for the UID of the pod that the settings are read in.
_OWN_UID: Final = "downward"

_CREDENTIALS_MOUNT: Final = {"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_DIR, "readOnly": True}


def container(
    experiment: Experiment, iteration: UUID, accepted: Accepted, platform: Platform, *, injected: bool = False
) -> dict[str, Any]:
    """A native sidecar: it starts before every other container of the pod and is stopped after all of them."""
    own = settings(experiment, iteration, platform, injected=injected)
    port = own.health_port
    mounts = [volumes_.artifacts_mount(experiment) | {"readOnly": True}, volumes_.buffer_mount(experiment)]
    return {
        **plain_container(SIDECAR_CONTAINER, own, accepted, platform, mounts=mounts),
        "restartPolicy": "Always",
        "ports": [{"name": "pinnace-health", "containerPort": port}],
        # The training waits for this one probe and for nothing else of the sidecar's.
        "startupProbe": {"httpGet": {"path": "/healthz", "port": port}, "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": port},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def plain_container(
    name: str, settings: SidecarSettings, accepted: Accepted, platform: Platform, *, mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    """A container of the sidecar's image that runs once, with what it needs to reach store and API."""
    return {
        "name": name,
        "image": platform.sidecar_image,
        "imagePullPolicy": platform.sidecar_image_pull_policy,
        "env": _environment(settings, accepted),
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
            *mounts,
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": True},
            *([_CREDENTIALS_MOUNT] if accepted.store.credentials_secret else []),
            *([{"name": CA_VOLUME, "mountPath": CA_DIR, "readOnly": True}] if accepted.store.ca_bundle else []),
        ],
    }


def volumes(experiment: Experiment, accepted: Accepted, job_name: str) -> list[dict[str, Any]]:
    """`job_name` is that of the iteration, whose claim is called so."""
    return [
        *volumes_.volumes(experiment, job_name),
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
        *_credentials_volume(accepted.store.credentials_secret),
        *_ca_volume(accepted.store.ca_bundle),
    ]


def _credentials_volume(secret: str) -> list[dict[str, Any]]:
    """Optional: a Secret that is missing holds up the shipping, which the sidecar reports, and not the training. The
    kubelet brings it in when it appears."""
    return [{"name": CREDENTIALS_VOLUME, "secret": {"secretName": secret, "optional": True}}] if secret else []


def _ca_volume(bundle: ConfigMapKeyRef | None) -> list[dict[str, Any]]:
    """Optional like the Secret. Not mounted by subPath, which the kubelet would not bring up to date."""
    if bundle is None:
        return []
    items = [{"key": bundle.key, "path": _CA_FILE}]
    return [{"name": CA_VOLUME, "configMap": {"name": bundle.name, "items": items, "optional": True}}]


def literal(value: str) -> str:
    """`value` so that Kubernetes does not take a `$(NAME)` in it for a reference."""
    return value.replace("$", "$$")


def settings(experiment: Experiment, iteration: UUID, platform: Platform, *, injected: bool = False) -> SidecarSettings:
    """For the pod that they are given to, whichever that is."""
    artifacts = experiment.spec.artifacts
    return SidecarSettings(
        iteration_id=iteration,
        pod_uid=_OWN_UID,
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
    chosen = accepted.store
    settings = msgspec.structs.replace(settings, artifact_store=chosen.given_by)
    store = msgspec.structs.replace(
        chosen.settings,
        credentials_dir=CREDENTIALS_DIR if chosen.credentials_secret else "",
        ca_file=f"{CA_DIR}/{_CA_FILE}" if chosen.ca_bundle else "",
    )
    plain = dump(settings, SIDECAR_PREFIX) | dump(store, STORE_PREFIX)
    del plain[ENV_POD_UID]
    of_pod = {"name": ENV_POD_UID, "value": settings.pod_uid} if settings.pod_uid != _OWN_UID else pod_uid_variable()
    return [of_pod, *({"name": name, "value": literal(value)} for name, value in plain.items())]
