"""The Experiment resource as a value: the manifest is parsed here, once, and travels no further.

With the defaults of its spec it reads the same with and without an API server between.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace_operator.experiment_spec import Spec
from pinnace_operator.experiment_status import ConditionType, Status
from pinnace_operator.manifest import MalformedError, Manifest, Metadata


class Experiment(Manifest, frozen=True, kw_only=True):
    metadata: Metadata
    spec: Spec
    status: Status = Status()

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "Experiment":
        """A status that speaks of another Experiment (by experimentId) is not taken over, nor are others' conditions.

        Raises MalformedError when the manifest is not what the CRD promises (another version of it).
        """
        try:
            experiment = msgspec.convert(_with_own_conditions(manifest), cls)
        except msgspec.ValidationError as error:
            name = manifest.get("metadata", {}).get("name", "?")
            raise MalformedError(
                f"Experiment {name} can't be read: {error}",
                hint="the installed CRD is of another version than this operator: upgrade both together",
            ) from error
        if experiment.status.experiment_id not in ("", experiment.metadata.uid):
            # Restored from a backup, or written late for a deleted one of the same name: it speaks of another.
            return msgspec.structs.replace(experiment, status=Status())
        return experiment

    @property
    def id(self) -> UUID:
        return UUID(self.metadata.uid)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def settled(self) -> bool:
        """Done, and nothing is left to be done about its Jobs either."""
        wants_release = self.spec.ttl_seconds_after_finished is not None
        return self.status.done and (
            not wants_release or self.status.synced <= self.status.released | self.status.skipped
        )

    @property
    def project(self) -> str:
        return self.spec.project or self.metadata.namespace


def _with_own_conditions(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition lets everybody who may write a status add a type of condition."""
    status = manifest.get("status")
    if not (isinstance(status, Mapping) and status.get("conditions")):
        return manifest
    ours = [condition for condition in status["conditions"] if condition["type"] in _TYPES]
    return {**manifest, "status": {**status, "conditions": ours}}


_TYPES: Final = frozenset(ConditionType)
