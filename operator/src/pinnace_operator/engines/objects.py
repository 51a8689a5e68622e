"""The object that runs one iteration on another engine than Job. Pure: values in, a manifest out.

Its pods get labels and no more: the webhook knows by them what to put in, parameters included.
"""

from typing import Any, Final

from pinnace import naming
from pinnace_operator.acceptance import Accepted
from pinnace_operator.engines.kinds import ENGINES, Engine, changed
from pinnace_operator.experiment import Experiment
from pinnace_operator.job import MANAGED_BY, MANAGED_BY_LABEL, iteration_tail, labels, name_with, owner, remembered
from pinnace_operator.search.values import Combination

#: Of the engines, KubeRay takes the shortest.
MAX_NAME: Final = 47


def object_name(experiment: Experiment, index: int) -> str:
    """As of a Job (`job_name`): the same for ever, and nobody else's. It begins with a letter, as engines want it."""
    head = experiment.name if experiment.name[:1].isalpha() else f"e{experiment.name}"
    return name_with(head, iteration_tail(experiment, index), MAX_NAME)


def build_object(experiment: Experiment, index: int, parameters: Combination, accepted: Accepted) -> dict[str, Any]:
    wanted = experiment.spec.engine
    engine, ours = ENGINES[wanted.kind], labels(experiment, index)
    chosen = remembered(parameters, accepted)
    return {
        "apiVersion": engine.resource.api_version,
        "kind": wanted.kind.value,
        "metadata": {
            "name": object_name(experiment, index),
            "namespace": experiment.namespace,
            "labels": {**wanted.metadata.labels, MANAGED_BY_LABEL: MANAGED_BY, **ours},
            "annotations": {**wanted.metadata.annotations, **chosen},
            "ownerReferences": [owner(experiment)],
        },
        "spec": _labelled(
            wanted.spec or {},
            engine,
            {
                "labels": {**ours, naming.INJECT_LABEL: "true", naming.ENGINE_LABEL: wanted.kind.value},
                **({"annotations": chosen} if chosen else {}),
            },
        ),
    }


def _labelled(spec: dict[str, Any], engine: Engine, metadata: dict[str, Any]) -> dict[str, Any]:
    """`spec` with `metadata` on all pods that will come of it."""
    for path in (*((*template, "metadata") for template in engine.templates), *engine.pod_metadata):
        spec = changed(spec, path, metadata)
    if engine.appended is not None:
        name, item = engine.appended
        spec = {**spec, name: [*spec.get(name, ()), item(metadata)]}
    return spec
