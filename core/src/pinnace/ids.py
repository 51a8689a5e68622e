"""Identities that make retries harmless: the same thing always gets the same UUID.

The id of an experiment in a cluster is its custom resource's `metadata.uid`. Every other id is a UUIDv5 derived from
its parent, so the operator, the sidecar and a second run of either arrive at it without asking anybody.
"""

from hashlib import sha1
from uuid import UUID, uuid5

import msgspec

#: Root of the names that have no parent. Changing it changes every project id ever stored.
NAMESPACE = UUID("6a1c2c5e-5c0f-5f7b-9d3e-70696e6e6163")


def project_id(name: str) -> UUID:
    """The id of the project called `name` (project names are unique per API)."""
    return uuid5(NAMESPACE, f"project:{name}")


def experiment_id(project: str, name: str) -> UUID:
    """The id of the experiment `name` in `project` where no custom resource gives it one."""
    return uuid5(project_id(project), f"experiment:{name}")


def iteration_id(experiment: UUID, index: int) -> UUID:
    """The id of iteration `index` (counted from 0) of `experiment`."""
    return uuid5(experiment, str(index))


def artifact_id(iteration: UUID, path: str, sha256: str) -> UUID:
    """The id of one content of one path: `path` relative to the volume, `sha256` in lower-case hex.

    Same id means same bytes; a path written again with other bytes gets another id, a new version.
    """
    # As uuid5(…) does, in half of the time: there is one for each file.
    digest = bytearray(sha1(iteration.bytes + f"{sha256}:{path}".encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return msgspec.convert(digest.hex(), UUID)


def dataset_id(project: str, name: str, digest: str) -> UUID:
    """The id of one content of the dataset `name` in `project`: another digest is another dataset."""
    return uuid5(project_id(project), f"{digest}:{name}")


def model_id(project: str, name: str) -> UUID:
    """The id of the model `name` in `project`."""
    return uuid5(project_id(project), f"model:{name}")


def object_name(artifact: UUID, stored_sha256: str = "") -> str:
    """What the bytes of `artifact` are called: by its id, and where they lie compressed by their own SHA-256 too.

    Another release of the library compresses the same content to other bytes: they are never called the same.
    """
    return f"{artifact}.{stored_sha256[:16]}.zst" if stored_sha256 else str(artifact)


def artifact_of(name: str) -> UUID:
    """The artifact whose bytes are called `name`, by `object_name`."""
    # As UUID(…) does, in a quarter of the time.
    return msgspec.convert(name.partition(".")[0], UUID)


def object_key(prefix: str, artifact: UUID, stored_sha256: str = "") -> str:
    """Where the bytes of `artifact` lie in the bucket."""
    return key_of(prefix, object_name(artifact, stored_sha256))


def key_of(prefix: str, name: str) -> str:
    """Where the bytes called `name` lie in the bucket: `<prefix>/<aa>/<name>`, `aa` the id's first two digits."""
    prefix = prefix.strip("/")
    return f"{prefix}/{name[:2]}/{name}" if prefix else f"{name[:2]}/{name}"


def is_own_key(key: str, artifact: UUID, stored_sha256: str = "") -> bool:
    """Whether `key` is where the bytes of `artifact` lie under some prefix, and not where another's do."""
    return f"/{key}".endswith(f"/{object_key('', artifact, stored_sha256)}")
