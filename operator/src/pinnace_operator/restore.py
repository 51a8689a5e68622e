"""The container that brings an iteration's last checkpoint, or a worker's shard of it, back before anything else of a
pod starts. Pure.
"""

from typing import Any, Final
from uuid import UUID

import msgspec

from pinnace.naming import RESTORE_CONTAINER
from pinnace_operator import sidecar, volumes, workers
from pinnace_operator.acceptance import Accepted
from pinnace_operator.experiment import Experiment
from pinnace_operator.settings import Platform

_PREFIX: Final = "PINNACE_RESTORE_"


def containers(experiment: Experiment, iteration: UUID, accepted: Accepted, platform: Platform) -> list[dict[str, Any]]:
    """Before the sidecar, so that it never sees a file that is on its way back; none where nothing is wanted."""
    wanted = experiment.spec.restore
    if not wanted.enabled:
        return []
    plain = sidecar.plain_container(
        RESTORE_CONTAINER,
        sidecar.settings(experiment, iteration, platform),
        accepted,
        platform,
        mounts=[volumes.artifacts_mount(experiment)],
    )
    own = {
        "INCLUDE": msgspec.json.encode(wanted.include).decode(),
        "TIMEOUT_SECONDS": str(wanted.timeout_seconds),
        "SHARDS": wanted.shards.value,
        "WORKERS": str(experiment.spec.workers),
    }
    variables = [{"name": f"{_PREFIX}{name}", "value": sidecar.literal(value)} for name, value in own.items()]
    # The only one there is needs no number, and pods of other engines have none that is ours.
    number = [workers.index_variable(f"{_PREFIX}WORKER")] if experiment.spec.workers > 1 else []
    return [{**plain, "args": ["restore"], "env": [*plain["env"], *variables, *number]}]
