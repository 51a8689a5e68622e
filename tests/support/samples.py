"""Records to send, made from what matters to a test."""

import hashlib
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import google_crc32c

from pinnace import ids
from pinnace.digests import manifest_sha256
from pinnace.records import Artifact, Location, Manifest, PodReport

MOMENT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def artifact(iteration: UUID, path: str = "model.bin", content: bytes = b"content", **fields: Any) -> Artifact:
    """The artifact that `content` at `path` of `iteration` is."""
    sha256 = hashlib.sha256(content).hexdigest()
    id_ = ids.artifact_id(iteration, path, sha256)
    whole: dict[str, Any] = {
        "id": id_,
        "iteration_id": iteration,
        "path": path,
        "size": len(content),
        "sha256": sha256,
        "crc32c": b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode(),
        "location": Location(
            endpoint="http://127.0.0.1:9000", region="us-east-1", bucket="pinnace", key=ids.object_key("", id_)
        ),
        "modified_at": MOMENT,
    }
    return Artifact(**{**whole, **fields})


def report(iteration: UUID, pod_uid: str, sequence: int, *artifacts: Artifact, **fields: Any) -> PodReport:
    """A pod's report that it shipped `artifacts`."""
    manifest = Manifest(count=len(artifacts), sha256=manifest_sha256(each.id for each in artifacts))
    return PodReport(iteration_id=iteration, pod_uid=pod_uid, sequence=sequence, manifest=manifest, **fields)
