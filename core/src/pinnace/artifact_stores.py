"""The ArtifactStore resource: a bucket that a cluster's administrator offers to namespaces. Pure.

The operator decides by this which store an Experiment's files go to, the API whose pods get credentials for one: the
same manifest, the same rule. A namespace's keys all begin with `<prefix>/<namespace>/`.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from pinnace.errors import PinnaceError
from pinnace.settings import StoreSettings

ARTIFACT_STORE_PLURAL: Final = "artifactstores"

#: What S3 and MinIO grant at least and, where a role of AWS assumes another, at most.
MIN_SESSION_S: Final = 900
MAX_SESSION_S: Final = 43_200


#: No name begins with a dot, and nothing in it means anything to a policy: `*`, `?` and `$` would reach others' keys.
_PREFIX: Final = r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$(?!\n)"


class MalformedStoreError(PinnaceError):
    """An ArtifactStore does not have the shape that its schema promises. Trying again can't help."""


class AccessSource(StrEnum):
    """Whose credentials a sidecar uses."""

    #: A Secret in the Experiment's own namespace.
    TENANT_SECRET = "TenantSecret"  # noqa: S105 - a word
    #: The identity that the pod's service account has with the cloud (IRSA, EKS Pod Identity and the like).
    WORKLOAD_IDENTITY = "WorkloadIdentity"
    #: Short-lived ones, for the namespace's own keys, which the API gets for it by AssumeRole.
    STS = "STS"


class _Object(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """camelCase in the manifest; unknown fields are ignored."""


class SecretRef(_Object, frozen=True, kw_only=True):
    name: str


class ConfigMapKeyRef(_Object, frozen=True, kw_only=True):
    name: str
    key: str = "ca.crt"


class Sts(_Object, frozen=True, kw_only=True):
    #: A Secret that the API has mounted. None: the API's own identity.
    secret_ref: SecretRef | None = None
    role_arn: str = ""
    duration_seconds: Annotated[int, Meta(ge=MIN_SESSION_S, le=MAX_SESSION_S)] = 3600
    #: Empty: the store's own.
    endpoint: str = ""


class StoreAccess(_Object, frozen=True, kw_only=True):
    source: AccessSource
    #: None: the Secret that the operator was given.
    tenant_secret_ref: SecretRef | None = None
    sts: Sts = Sts()


class Requirement(_Object, frozen=True, kw_only=True):
    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """As Kubernetes has it: what is not there is NotIn any values."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case _:
                return False


class NamespaceSelector(_Object, frozen=True, kw_only=True):
    """Empty: every namespace."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.match_labels.items() <= labels.items() and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


class Spec(_Object, frozen=True, kw_only=True):
    default: bool = False
    endpoint: str = ""
    region: str = "us-east-1"
    bucket: str
    prefix: Annotated[str, Meta(pattern=_PREFIX, max_length=256)] = ""
    addressing: str = "Path"
    checksums: str = "Auto"
    server_side_encryption: str = ""
    ca_bundle_ref: ConfigMapKeyRef | None = None
    #: Exactly one of the two.
    namespaces: tuple[str, ...] | None = None
    namespace_selector: NamespaceSelector | None = None
    credentials: StoreAccess


class _Metadata(_Object, frozen=True, kw_only=True):
    name: str


class ArtifactStore(_Object, frozen=True, kw_only=True):
    metadata: _Metadata
    spec: Spec

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "ArtifactStore":
        """Raises MalformedStoreError when the manifest is not what the CRD promises (another version of it)."""
        try:
            store = msgspec.convert(manifest, cls)
            store.settings_in("default")
        except (msgspec.ValidationError, ValueError) as error:
            name = manifest.get("metadata", {}).get("name", "?")
            raise MalformedStoreError(
                f"ArtifactStore {name} can't be read: {error}",
                hint="the installed CRD is of another version than Pinnace: upgrade both together",
            ) from error
        return store

    @property
    def name(self) -> str:
        return self.metadata.name

    def is_offered_to(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """`labels` are the namespace's own."""
        if self.spec.namespace_selector is not None:
            return self.spec.namespace_selector.matches(labels)
        return namespace in (self.spec.namespaces or ())

    def prefix_in(self, namespace: str) -> str:
        """What every key of the namespace begins with, without the slash that follows."""
        return f"{self.spec.prefix}/{namespace}" if self.spec.prefix else namespace

    def settings_in(self, namespace: str, below: str = "") -> StoreSettings:
        """For a namespace's files, `below` its own prefix. Raises ValueError for what no store can be."""
        spec, own = self.spec, self.prefix_in(namespace)
        fields = {
            "endpoint": spec.endpoint,
            "region": spec.region,
            "bucket": spec.bucket,
            "prefix": f"{own}/{below}" if below else own,
            "addressing": spec.addressing.lower(),
            "checksums": spec.checksums.lower(),
            "server_side_encryption": spec.server_side_encryption,
        }
        return msgspec.convert(fields, StoreSettings)


def session_policy(store: ArtifactStore, namespace: str) -> str:
    """What a session may do beside what its role may: what a sidecar does, and only below the namespace's prefix.

    Nothing is deleted, nothing of others is listed. Listing below the prefix is how absent is told from forbidden.
    """
    objects = f"{store.prefix_in(namespace)}/*"
    # China and GovCloud have words of their own there, which the role's name begins with.
    role = store.spec.credentials.sts.role_arn
    partition = role.split(":")[1] if role.startswith("arn:") else "aws"
    bucket = f"arn:{partition}:s3:::{store.spec.bucket}"
    statements: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            "Resource": [f"{bucket}/{objects}"],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [bucket],
            "Condition": {"StringLike": {"s3:prefix": [objects]}},
        },
    ]
    if store.spec.server_side_encryption.startswith("aws:kms"):
        statements.append(
            {
                "Effect": "Allow",
                "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                "Resource": ["*"],
                "Condition": {"StringLike": {"kms:ViaService": ["s3.*"]}},
            }
        )
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
