"""Asking cluster and metadata API about one Experiment."""

from collections.abc import Sequence

from pinnace.client import ApiError, Client, NotFound
from pinnace.kubectl.calls import MAX_LISTED, Kubectl
from pinnace.kubectl.objects import EXPERIMENTS, Experiment, Job, Pod
from pinnace.kubectl.standing import ExperimentStanding, Rows, standing
from pinnace.naming import EXPERIMENT_ID_LABEL
from pinnace.records import Shown

NOT_CONFIGURED = (
    "the metadata API is not configured, so what running pods still ship is not known: set PINNACE_API_URL and "
    "PINNACE_API_TOKEN, or use --api-url and --token-file"
)


def find(kubectl: Kubectl, name: str) -> Experiment:
    """Raises NotInCluster, KubernetesError."""
    return kubectl.get(EXPERIMENTS, name, Experiment)


def pods_of(kubectl: Kubectl, experiment: Experiment) -> Sequence[Pod]:
    meta = experiment.metadata
    return kubectl.listed(f"/api/v1/namespaces/{meta.namespace}/pods", {EXPERIMENT_ID_LABEL: meta.uid}, Pod)


def jobs_of(kubectl: Kubectl, experiment: Experiment) -> Sequence[Job]:
    meta = experiment.metadata
    return kubectl.listed(f"/apis/batch/v1/namespaces/{meta.namespace}/jobs", {EXPERIMENT_ID_LABEL: meta.uid}, Job)


def rows_of(api: Client | None, experiment: Experiment) -> Rows:
    """What the API holds. That it does not answer is part of the answer, not an error."""
    if api is None:
        return Rows(missing=NOT_CONFIGURED)
    identity = experiment.id
    try:
        return Rows(
            iterations=tuple(api.iterations(identity, lifecycle=Shown.ALL, limit=MAX_LISTED)),
            pods=tuple(api.pods(identity, limit=MAX_LISTED)),
        )
    except NotFound:
        return Rows(missing="the metadata API does not know this Experiment, or does not show it to you")
    except ApiError as error:
        return Rows(missing=f"the metadata API could not be asked what running pods still ship: {error.detail}")


def gather(kubectl: Kubectl, name: str, api: Client | None) -> ExperimentStanding:
    """Raises NotInCluster, KubernetesError."""
    experiment = find(kubectl, name)
    return standing(experiment, jobs_of(kubectl, experiment), pods_of(kubectl, experiment), rows_of(api, experiment))
