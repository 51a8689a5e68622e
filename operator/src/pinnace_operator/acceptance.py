"""Can this Experiment be carried out? What the CRD's rules can't see is decided here, before any Job exists.

Whatever Pinnace adds to a pod and the user has set already is refused by name; nothing of the user's is overwritten.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pinnace.errors import PinnaceError
from pinnace_operator import quantity
from pinnace_operator.engines import mistakes as engines
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_spec import AccessMode, Artifacts, EngineKind, Store
from pinnace_operator.search import Search, search_of
from pinnace_operator.search.values import SearchError
from pinnace_operator.settings import Platform
from pinnace_operator.stores import ChosenStore, Offers, StoreError, choose
from pinnace_operator.workers import RENDEZVOUS

#: What the sidecar gets to end properly after its own drain deadline.
GRACE_MARGIN_S: Final = 30

#: Names that begin so, in a pod, are ours.
NAME_PREFIX: Final = "pinnace-"
VARIABLE_PREFIX: Final = "PINNACE_"
LABEL_PREFIX: Final = "pinnace.dev/"


class NotAcceptedError(PinnaceError):
    """The spec can't be carried out until somebody changes it; `reason` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What follows from a spec that can be carried out."""

    #: How many iterations there are, and how their parameters come to be.
    search: Search
    #: Or why there is none for the moment: then no Job is begun, and what has begun goes on.
    choice: ChosenStore | StoreError

    @property
    def withheld(self) -> StoreError | None:
        return self.choice if isinstance(self.choice, StoreError) else None

    @property
    def store(self) -> ChosenStore:
        """For the pods of Jobs, which there are none of while it is withheld."""
        assert isinstance(self.choice, ChosenStore), self.choice
        return self.choice


def accept(experiment: Experiment, platform: Platform, offers: Offers | None = None) -> Accepted:
    """Raises NotAcceptedError with a message that names the field and says what to write instead.

    `offers` is what the Experiment's namespace is offered; None: the operator serves no ArtifactStores.
    """
    try:
        search = search_of(experiment.spec.parameters, experiment.spec.objective)
    except SearchError as error:
        raise NotAcceptedError("InvalidParameters", str(error)) from error
    if experiment.spec.early_stopping is not None and experiment.spec.objective is None:
        raise NotAcceptedError(
            "InvalidParameters",
            "spec.earlyStopping needs spec.objective, because it compares values of its metric: name the metric there",
        )
    artifacts = experiment.spec.artifacts
    for reason, mistake in engines.mistakes(experiment, platform):
        raise NotAcceptedError(reason, mistake)
    is_job = experiment.spec.engine.kind is EngineKind.JOB
    for clash in _template_clashes(experiment) if is_job else _engine_clashes(experiment):
        raise NotAcceptedError("NameClash", clash)
    for mistake in _failure_policy_mistakes(experiment):
        raise NotAcceptedError("InvalidPodFailurePolicy", mistake)
    _check_sizes(artifacts)
    _check_access(experiment)
    return Accepted(search=search, choice=_choice(artifacts.store, offers, platform))


def grace_seconds(experiment: Experiment) -> int:
    """What a pod of `experiment` needs at least between SIGTERM and SIGKILL."""
    return experiment.spec.artifacts.drain_timeout_seconds + GRACE_MARGIN_S


def is_counted_in_pods(experiment: Experiment) -> bool:
    """Whether a try is a pod: with restartPolicy OnFailure it is a container, and Kubernetes takes no rules for it."""
    return bool(experiment.spec.template.spec.get("restartPolicy", "Never") == "Never")


def _failure_policy_mistakes(experiment: Experiment) -> Iterator[str]:
    policy, pod = experiment.spec.pod_failure_policy, experiment.spec.template.spec
    if policy is None:
        return
    if not is_counted_in_pods(experiment):
        yield (
            "spec.podFailurePolicy needs restartPolicy Never: leave spec.template.spec.restartPolicy out, or remove "
            "spec.podFailurePolicy"
        )
    known = {_name(container) for _, _, container in _containers(pod)}
    for position, rule in enumerate(policy.rules):
        named = rule.on_exit_codes.container_name if rule.on_exit_codes else None
        if named is not None and named not in known:
            yield (
                f"spec.podFailurePolicy.rules[{position}].onExitCodes.containerName: {named} is no container of "
                f"spec.template: name one of {', '.join(sorted(known))}, or leave it out for all"
            )


def _choice(wanted: Store, offers: Offers | None, platform: Platform) -> ChosenStore | StoreError:
    try:
        return choose(wanted, offers, platform)
    except StoreError as error:
        if not error.mendable:
            raise NotAcceptedError(error.reason, str(error)) from error
        return error


def _check_sizes(artifacts: Artifacts) -> None:
    claim, folder = artifacts.volume.persistent_volume_claim, artifacts.volume.empty_dir
    if folder is not None:
        _bytes("volume.emptyDir.sizeLimit", folder.size_limit)
    buffer = _bytes("buffer.sizeLimit", artifacts.buffer.size_limit)
    if claim is not None and _bytes("volume.persistentVolumeClaim.size", claim.size) <= buffer:
        raise NotAcceptedError(
            "InvalidSize",
            f"spec.artifacts.volume.persistentVolumeClaim.size is {claim.size} and holds the buffer too, which may "
            f"grow to {artifacts.buffer.size_limit}, beside the artifacts of each pod of an iteration: raise it, or "
            "lower spec.artifacts.buffer.sizeLimit",
        )


def _check_access(experiment: Experiment) -> None:
    claim, workers = experiment.spec.artifacts.volume.persistent_volume_claim, experiment.spec.workers
    if claim is not None and workers > 1 and claim.access_mode is not AccessMode.MANY:
        raise NotAcceptedError(
            "InvalidVolume",
            f"spec.artifacts.volume.persistentVolumeClaim.accessMode is {claim.access_mode}, and the {workers} workers "
            "of an iteration share its claim: write ReadWriteMany, or leave the claim out",
        )


def _bytes(field: str, size: int | str) -> int:
    try:
        return quantity.to_bytes(size)
    except ValueError as error:
        raise NotAcceptedError("InvalidSize", f"spec.artifacts.{field}: {error}: write for instance 10Gi") from error


def clashes(pod: Mapping[str, Any], field: str, mount_path: str) -> Iterator[str]:
    """What a pod spec, which is at `field` of its object, has already of what Pinnace is to add."""
    for volume in pod.get("volumes") or ():
        if _name(volume).startswith(NAME_PREFIX):
            yield f"{field}.volumes: {_name(volume)} is a name of Pinnace's: rename the volume"
    for kind, position, container in _containers(pod):
        yield from _container_clashes(container, f"{field}.{kind}[{position}]", mount_path)


def _engine_clashes(experiment: Experiment) -> Iterator[str]:
    for label in experiment.spec.engine.metadata.labels:
        if label.startswith(LABEL_PREFIX):
            yield f"spec.engine.metadata.labels: {label} is set by Pinnace: choose another prefix"
    for field, template in engines.pods(experiment):
        for label in (template.get("metadata") or {}).get("labels") or ():
            if label.startswith(LABEL_PREFIX):
                yield f"{field}.metadata.labels: {label} is set by Pinnace: choose another prefix"
        yield from clashes(template["spec"], f"{field}.spec", experiment.spec.artifacts.mount_path)


def _template_clashes(experiment: Experiment) -> Iterator[str]:
    template, mount_path = experiment.spec.template, experiment.spec.artifacts.mount_path
    pod = template.spec
    for label in template.metadata.labels:
        if label.startswith(LABEL_PREFIX):
            yield f"spec.template.metadata.labels: {label} is set by Pinnace: choose another prefix"
    yield from clashes(pod, "spec.template.spec", mount_path)
    yield from _worker_clashes(experiment)
    if not pod.get("containers"):
        yield "spec.template.spec.containers is empty: describe at least one container"
    if pod.get("restartPolicy", "Never") not in ("Never", "OnFailure"):
        yield "spec.template.spec.restartPolicy must be Never or OnFailure: leave it out for Never"
    grace = pod.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < grace_seconds(experiment):
        yield (
            f"spec.template.spec.terminationGracePeriodSeconds is {grace} and must be at least "
            f"{grace_seconds(experiment)} (spec.artifacts.drainTimeoutSeconds + {GRACE_MARGIN_S}): raise it, "
            "or leave it out"
        )


def _worker_clashes(experiment: Experiment) -> Iterator[str]:
    """What the pods of a Job, and several ones for one iteration, are given."""
    pod, several = experiment.spec.template.spec, experiment.spec.workers > 1
    for field in ("hostname", "subdomain") if several else ("hostname",):
        if pod.get(field):
            yield f"spec.template.spec.{field} is set by the Job, which numbers its pods: leave it out"
    for kind, position, container in _containers(pod) if several else ():
        for variable in container.get("env") or ():
            if _name(variable) in RENDEZVOUS:
                yield (
                    f"spec.template.spec.{kind}[{position}].env: {_name(variable)} is set by Pinnace with spec.workers "
                    "above 1: remove the variable"
                )


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """With the list that each is in, and its place there."""
    for kind in ("initContainers", "containers"):
        for position, container in enumerate(pod.get(kind) or ()):
            yield kind, position, container


def _container_clashes(container: dict[str, Any], field: str, mount_path: str) -> Iterator[str]:
    if _name(container).startswith(NAME_PREFIX):
        yield f"{field}.name: {_name(container)} is a name of Pinnace's: rename the container"
    for variable in container.get("env") or ():
        if _name(variable).startswith(VARIABLE_PREFIX):
            yield f"{field}.env: {_name(variable)} is set by Pinnace: rename the variable"
    for mount in container.get("volumeMounts") or ():
        if _name(mount).startswith(NAME_PREFIX):
            yield (
                f"{field}.volumeMounts: {_name(mount)} is a volume of Pinnace's (the artifacts volume is mounted at "
                f"{mount_path} by itself): remove this mount"
            )
        if str(mount.get("mountPath", "")).rstrip("/") == mount_path:
            yield (
                f"{field}.volumeMounts: {mount_path} is where the artifacts volume is mounted: mount "
                f"{_name(mount)} elsewhere, or set spec.artifacts.mountPath to another folder"
            )


def _name(item: dict[str, Any]) -> str:
    return str(item.get("name", ""))
