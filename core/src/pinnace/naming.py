"""Names that are contracts between the parts, each once, with who reads it and what a rename breaks."""

from typing import Final

GROUP: Final = "pinnace.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "Experiment"
PLURAL: Final = "experiments"

#: Labels on Jobs and pods. The operator selects its Jobs and pods by the first; the API reads the third off the pod
#: behind a token to know which iteration it may write to; people filter with all of them. Never renamed in place.
EXPERIMENT_LABEL: Final = f"{GROUP}/experiment"  # the Experiment's name, cut to 63 characters
EXPERIMENT_ID_LABEL: Final = f"{GROUP}/experiment-id"  # its metadata.uid
ITERATION_ID_LABEL: Final = f"{GROUP}/iteration-id"
ITERATION_LABEL: Final = f"{GROUP}/iteration"  # the index

#: On pods that somebody else than the operator makes: "true" asks the admission webhook for the sidecar. The webhook's
#: objectSelector is this label, and the operator does not count such pods among those of its Jobs.
INJECT_LABEL: Final = f"{GROUP}/inject"

#: On pods that an engine (spec.engine) makes for an iteration, beside INJECT_LABEL: the engine's kind.
ENGINE_LABEL: Final = f"{GROUP}/engine"

#: On a pod that ships what another one left on a claim: that one's UID as a label and, because names are longer than
#: labels, its name as an annotation. The API lets it write in that one's name once that one has ended.
RESCUES_LABEL: Final = f"{GROUP}/rescues"
RESCUES_POD_ANNOTATION: Final = f"{GROUP}/rescues-pod"

#: The sidecar's container in a pod; the operator reads its termination message.
SIDECAR_CONTAINER: Final = "pinnace-sidecar"
#: The init container that brings a checkpoint back before everything else of a pod starts.
RESTORE_CONTAINER: Final = "pinnace-restore"

#: Audience of the projected service-account token; TokenReview in the API asks for it.
TOKEN_AUDIENCE: Final = "pinnace-api"  # noqa: S105 - a name, not a secret

#: Volumes that the operator adds to a pod. A user's volume of the same name is refused in the Accepted condition.
ARTIFACTS_VOLUME: Final = "pinnace-artifacts"
BUFFER_VOLUME: Final = "pinnace-buffer"
TOKEN_VOLUME: Final = "pinnace-token"  # noqa: S105
CREDENTIALS_VOLUME: Final = "pinnace-store-credentials"
CA_VOLUME: Final = "pinnace-store-ca"

#: What the training container finds in its environment.
PARAM_PREFIX: Final = "PINNACE_PARAM_"
ENV_PARAMS: Final = "PINNACE_PARAMS"
ENV_EXPERIMENT: Final = "PINNACE_EXPERIMENT"
ENV_ITERATION: Final = "PINNACE_ITERATION"
ENV_ITERATION_ID: Final = "PINNACE_ITERATION_ID"
ENV_PROJECT: Final = "PINNACE_PROJECT"
ENV_ARTIFACTS_DIR: Final = "PINNACE_ARTIFACTS_DIR"
#: Only with spec.workers > 1: which of the iteration's pods this is, counted from 0, and how many there are.
ENV_WORKER: Final = "PINNACE_WORKER"
ENV_WORKERS: Final = "PINNACE_WORKERS"
#: Only where volumes outlive pods, whose folders there are called by it; the sidecar's own setting of that name.
ENV_POD_UID: Final = "PINNACE_POD_UID"
#: Only with spec.metrics.system.enabled: where pinnace.system_metrics writes, and how often in seconds.
ENV_SYSTEM_METRICS_FILE: Final = "PINNACE_SYSTEM_METRICS_FILE"
ENV_SYSTEM_METRICS_SECONDS: Final = "PINNACE_SYSTEM_METRICS_SECONDS"

#: What pinnace.system_metrics writes, directly on the artifacts volume; the sidecar reads it like metrics.jsonl.
SYSTEM_METRICS_NAME: Final = "system-metrics.jsonl"

#: What pinnace.iteration writes there, one for metrics, which the sidecar reads too, and one for all else.
SDK_METRICS_NAME: Final = "pinnace-metrics.jsonl"
SDK_EVENTS_NAME: Final = "pinnace-events.jsonl"

#: Where the operator puts what it knows into an iteration's `environment`; `pinnace reproduce` reads it.
RECIPE: Final = "kubernetes"
RECIPE_IMAGES: Final = "images"

#: A file beside `<name>` that says `<name>` is complete. Markers themselves are not artifacts.
DONE_SUFFIX: Final = ".done"
#: A file that names the files of a set; it is recorded after all of them.
MANIFEST_NAME: Final = "pinnace-manifest.json"
