"""Several pods for one iteration: how they find each other, and what each of them is told. Pure.

They are the indexes of one Job. A headless Service gives each a name in the cluster's DNS, ready or not, because the
first thing they do is to wait for each other.
"""

from typing import Any, Final

from pinnace import naming
from pinnace_operator.experiment import Experiment

#: The Job controller writes it on every pod of an Indexed Job.
INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"

#: Where worker 0 listens: torch.distributed's own default.
MASTER_PORT: Final = 29500

#: What each worker finds beside PINNACE_WORKER and PINNACE_WORKERS. The first five are what `env://` of
#: torch.distributed and programs like it read; PET_… is how torchrun spells its own options in the environment.
RENDEZVOUS: Final = (
    "RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NODE_RANK",
    "PET_NNODES",
    "PET_NODE_RANK",
    "PET_MASTER_ADDR",
    "PET_MASTER_PORT",
)


def service_name(job: str) -> str:
    """Of the Service of a Job's pods. Unlike a Job's, a Service's name begins with a letter."""
    return job if job[0].isalpha() else f"w{job}"


def service(job: dict[str, Any], selector: dict[str, str]) -> dict[str, Any]:
    """The headless Service of `job`'s pods, found by the labels of `selector`."""
    meta = job["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(meta["name"]),
            "namespace": meta["namespace"],
            # Not the queue's: a Service is nothing to queue.
            "labels": {name: value for name, value in meta["labels"].items() if name.partition("/")[0] in _OURS},
            "ownerReferences": meta["ownerReferences"],
        },
        "spec": {"clusterIP": "None", "selector": selector, "publishNotReadyAddresses": True},
    }


def variables(experiment: Experiment, job: str) -> list[dict[str, Any]]:
    """The environment of a worker; nothing for an iteration of one pod."""
    workers = experiment.spec.workers
    if workers == 1:
        return []
    address, port = f"{job}-0.{service_name(job)}", str(MASTER_PORT)
    return [
        *map(index_variable, (naming.ENV_WORKER, "RANK", "NODE_RANK", "PET_NODE_RANK")),
        *({"name": name, "value": str(workers)} for name in (naming.ENV_WORKERS, "WORLD_SIZE", "PET_NNODES")),
        *({"name": name, "value": address} for name in ("MASTER_ADDR", "PET_MASTER_ADDR")),
        *({"name": name, "value": port} for name in ("MASTER_PORT", "PET_MASTER_PORT")),
    ]


def index_variable(name: str) -> dict[str, Any]:
    """A variable with the number of the worker whose container has it."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX_ANNOTATION}']"}}}


_OURS: Final = (naming.GROUP, "app.kubernetes.io")
