"""The sidecar in pods that somebody else than the operator makes. Pure: a pod and its Experiment in, a decision out.

What is added is what pod.py adds to the operator's own pods, by the same function. Asked again, also after another
webhook changed the pod, it adds what is missing to containers that came since, and leaves alone what is there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from pinnace.ids import iteration_id
from pinnace.naming import (
    ENGINE_LABEL,
    ENV_ITERATION_ID,
    EXPERIMENT_ID_LABEL,
    EXPERIMENT_LABEL,
    INJECT_LABEL,
    ITERATION_LABEL,
    SIDECAR_CONTAINER,
)
from pinnace_operator.acceptance import Accepted, NotAcceptedError, accept, clashes, grace_seconds
from pinnace_operator.admission.review import Decision, refused
from pinnace_operator.deletion import is_deleted
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.job import PARAMETERS_ANNOTATION, job_name, labels
from pinnace_operator.pod import fitted
from pinnace_operator.search.values import Combination
from pinnace_operator.settings import Platform
from pinnace_operator.stores import Offers
from pinnace_operator.volumes import is_persistent

INJECT: Final = "true"

_GRACE: Final = "terminationGracePeriodSeconds"


class RefusedPodError(Exception):
    """The pod can't be given a sidecar; the text says what to change."""


def wants(pod: Mapping[str, Any]) -> bool:
    """Whether the pod carries our label. Raises RefusedPodError for a value that means nothing."""
    value = _labels(pod).get(INJECT_LABEL)
    if value not in (None, INJECT, "false"):
        raise RefusedPodError(f'metadata.labels: {INJECT_LABEL} is "{value}": write "true", or remove the label')
    return value == INJECT


def experiment_of(pod: Mapping[str, Any]) -> str:
    """The name of the Experiment that the pod is to belong to. Raises RefusedPodError."""
    name = _labels(pod).get(EXPERIMENT_LABEL, "")
    if not name:
        raise RefusedPodError(
            f"metadata.labels: {INJECT_LABEL} is set and {EXPERIMENT_LABEL} is not: name an Experiment of the pod's "
            "own namespace there"
        )
    return name


def inject(
    pod: Mapping[str, Any], experiment: Experiment, platform: Platform, offers: Offers | None = None
) -> Decision:
    """The decision about a pod that wants the sidecar of `experiment`, which is the one that it names."""
    try:
        accepted = accept(experiment, platform, offers)
        if accepted.withheld is not None:
            return refused(
                f"Experiment {experiment.name} has no store, so its pods get no sidecar: {accepted.withheld}"
            )
        index = _index(pod, experiment, accepted.search.count)
        wanted = labels(experiment, index)
        _check_labels(pod, wanted)
        _check_names(pod["spec"], experiment, index)
        _check_volume(experiment)
        parameters = _parameters(pod, experiment, accepted, index)
        _check_engine(pod, experiment)
    except NotAcceptedError as error:
        return refused(f"Experiment {experiment.name} can't be carried out, so its pods get no sidecar: {error}")
    except RefusedPodError as error:
        return refused(str(error))
    spec = pod["spec"]
    grace = max(spec.get(_GRACE, 0), grace_seconds(experiment))
    changed = fitted(
        {**spec, _GRACE: grace},
        experiment,
        index,
        accepted,
        platform,
        job=job_name(experiment, index),
        parameters=parameters,
        injected=ENGINE_LABEL not in _labels(pod),
    )
    patch = [
        *_changes("/metadata", dict(pod["metadata"]), {**pod["metadata"], "labels": {**_labels(pod), **wanted}}),
        *_changes("/spec", spec, changed),
    ]
    return Decision(patch=tuple(patch), warnings=tuple(_doubts(spec)))


def _index(pod: Mapping[str, Any], experiment: Experiment, total: int) -> int:
    """The iteration that the pod is to belong to, which must not be closed."""
    own_id, given = _labels(pod).get(EXPERIMENT_ID_LABEL), _labels(pod).get(ITERATION_LABEL, "0" if total == 1 else "")
    if own_id not in (None, experiment.metadata.uid):
        raise RefusedPodError(
            f"metadata.labels: {EXPERIMENT_ID_LABEL} is {own_id}, and Experiment {experiment.name} is "
            f"{experiment.metadata.uid}: it was deleted and made again; make the pod again for the new one"
        )
    if is_deleted(experiment):
        raise RefusedPodError(f"Experiment {experiment.name} is being deleted: make the pod for another Experiment")
    if not (given.isascii() and given.isdigit()) or str(int(given)) != given or int(given) >= total:
        raise RefusedPodError(
            f'metadata.labels: {ITERATION_LABEL} is "{given}", and Experiment {experiment.name} has the iterations '
            f'"0" to "{total - 1}": write one of them'
        )
    if experiment.status.done or int(given) in experiment.status.synced:
        raise RefusedPodError(
            f"iteration {given} of Experiment {experiment.name} has ended and all its artifacts are proven ashore, "
            "which files of one more pod would make untrue: make an Experiment with another name for them"
        )
    return int(given)


def _check_volume(experiment: Experiment) -> None:
    if is_persistent(experiment):
        raise RefusedPodError(
            f"Experiment {experiment.name} keeps its files on claims (spec.artifacts.volume.persistentVolumeClaim), "
            "which are made with the operator's own pods: use an Experiment with emptyDir for pods of other owners"
        )


def _check_engine(pod: Mapping[str, Any], experiment: Experiment) -> None:
    given, kind = _labels(pod).get(ENGINE_LABEL), experiment.spec.engine.kind
    if given is not None and (given != kind.value or kind is EngineKind.JOB):
        raise RefusedPodError(
            f"metadata.labels: {ENGINE_LABEL} is {given}, and Experiment {experiment.name} runs with {kind}: remove "
            "the label, which is for the operator to set"
        )


def _parameters(pod: Mapping[str, Any], experiment: Experiment, accepted: Accepted, index: int) -> Combination:
    """What was chosen for an engine's pods stands on them."""
    text = pod["metadata"].get("annotations", {}).get(PARAMETERS_ANNOTATION, "{}")
    try:
        found = accepted.search.parameters_of(index, msgspec.json.decode(text, type=dict[str, Any]))
    except msgspec.DecodeError as error:
        raise RefusedPodError(f"metadata.annotations: {PARAMETERS_ANNOTATION} is no JSON object: remove it") from error
    if found is None:
        raise RefusedPodError(
            f"the parameters of iteration {index} of Experiment {experiment.name} are chosen when the operator starts "
            "it (spec.parameters.optuna), so no pod of another owner can have them: use grid, list or random"
        )
    return found


def _check_labels(pod: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        given = _labels(pod).get(name, value)
        if given != value:
            raise RefusedPodError(f'metadata.labels: {name} is "{given}" and must be "{value}": correct or remove it')


def _check_names(spec: Mapping[str, Any], experiment: Experiment, index: int) -> None:
    if _is_injected(spec, str(iteration_id(experiment.id, index))):
        return
    for clash in clashes(spec, "spec", experiment.spec.artifacts.mount_path):
        raise RefusedPodError(clash)


def _is_injected(spec: Mapping[str, Any], iteration: str) -> bool:
    """Whether the sidecar is there already, of this iteration: it was put in when we were first asked."""
    return any(
        container.get("name") == SIDECAR_CONTAINER
        and container.get("restartPolicy") == "Always"
        and {"name": ENV_ITERATION_ID, "value": iteration} in (container.get("env") or ())
        for container in spec.get("initContainers") or ()
    )


def _changes(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Whole fields: `add` takes the place of what is there."""
    for name, value in after.items():
        if before.get(name) != value:
            yield {"op": "add", "path": f"{path}/{name}", "value": value}


def _doubts(spec: Mapping[str, Any]) -> Iterator[str]:
    if spec.get("restartPolicy", "Always") == "Always":
        yield (
            "spec.restartPolicy is Always: the pod never ends by itself, and its artifacts are proven only once it is "
            "deleted: set Never or OnFailure if it has an end"
        )


def _labels(pod: Mapping[str, Any]) -> Mapping[str, str]:
    return pod.get("metadata", {}).get("labels") or {}
