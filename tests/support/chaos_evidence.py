"""What is looked at when the chaos is over: conditions, Jobs, rows, reports, objects, as seen from outside."""

import subprocess
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

import msgspec

from cluster.kubectl import CommandFailed, get, items
from pinnace.naming import EXPERIMENT_ID_LABEL, SIDECAR_CONTAINER
from pinnace.records import PodReport
from support.chaos_schedule import Schedule, Trial
from support.chaos_verdict import Condition, Seen, World
from support.chaos_writing import Told
from support.ledger import objects, read_back
from support.system import Experiment, System

_SYNCED: Final = (
    'jsonpath={.metadata.namespace}/{.metadata.name} {.status.conditions[?(@.type=="ArtifactsSynced")].status}{"\\n"}'
)
_ENDED: Final = ("Succeeded", "Failed")


class History:
    """Every status that ArtifactsSynced had, as a watch shows it. The watch is begun again whenever it ends."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen: dict[str, list[str]] = defaultdict(list)
        self._over = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(timeout=30)

    def of(self, namespace: str, name: str) -> list[str]:
        return list(self._seen[f"{namespace}/{name}"])

    def _watch(self) -> None:
        command = ["kubectl", "get", "experiments", "--all-namespaces", "--watch", f"--output={_SYNCED}"]
        while not self._over.is_set():
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
                self._process = process
                assert process.stdout is not None
                for line in process.stdout:
                    name, _, status = line.strip().partition(" ")
                    seen = self._seen[name]
                    if name.startswith(self._prefix) and status and seen[-1:] != [status]:
                        seen.append(status)
            self._over.wait(0.5)


def at_rest(plan: Schedule, namespaces: Sequence[str]) -> bool:
    return not remaining(plan, namespaces)


def remaining(plan: Schedule, namespaces: Sequence[str]) -> list[str]:
    """What has not come to its end yet."""
    try:
        experiments = [each for namespace in namespaces for each in items("experiments", namespace)]
        pods = [pod for namespace in namespaces for pod in items("pods", namespace)]
    except CommandFailed as error:
        return [f"the cluster's API does not answer: {error}"]
    found = [
        f"pod {pod['metadata']['name']} is {pod['status'].get('phase')}"
        for pod in pods
        if pod["status"].get("phase") not in _ENDED
    ]
    if len(experiments) < len(plan.trials):
        found.append(f"there are {len(experiments)} Experiments of {len(plan.trials)}")
    for each in experiments:
        said = {one["type"]: (one["status"], one["reason"]) for one in each.get("status", {}).get("conditions", [])}
        running, synced = said.get("Running", ("", "")), said.get("ArtifactsSynced", ("", ""))
        if running[1] != "Finished" or (synced[0] != "True" and synced[1] not in ("Unproven", "Quarantined")):
            found.append(f"{each['metadata']['name']}: Running {running}, ArtifactsSynced {synced}")
    return found


def evidence(system: System, trial: Trial, namespace: str, pods: Sequence[Told], history: History) -> Seen:
    manifest = get("experiment", trial.name, namespace)
    if manifest is None:
        raise AssertionError(f"{trial.name} is gone")
    id_ = Experiment(system, namespace, trial.name).id
    iterations = list(system.api.iterations(id_))
    return Seen(
        trial=trial,
        pods=[pod for pod in pods if pod.namespace == namespace and pod.pod.startswith(f"{trial.name}-")],
        conditions={one["type"]: _condition(one) for one in manifest.get("status", {}).get("conditions", [])},
        synced_history=history.of(namespace, trial.name),
        iterations=iterations,
        rows=system.rows(id_),
        standings=list(system.api.pods(id_)),
        points={str(iteration.id): list(system.api.metrics(iteration.id, key="loss")) for iteration in iterations},
        jobs={job["metadata"]["name"]: _end(job) for job in items("jobs", namespace, f"{EXPERIMENT_ID_LABEL}={id_}")},
        last_words=_last_words(namespace, id_),
    )


def _condition(told: dict[str, Any]) -> Condition:
    since = datetime.fromisoformat(told["lastTransitionTime"])
    return Condition(
        type=told["type"], status=told["status"], reason=told["reason"], message=told["message"], since=since
    )


def _end(job: dict[str, Any]) -> str:
    conditions = job.get("status", {}).get("conditions", [])
    return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), "")


def _last_words(namespace: str, experiment: UUID) -> frozenset[str]:
    """UIDs of the pods that still exist and whose sidecar's termination message is a final report."""
    found = set()
    for pod in items("pods", namespace, f"{EXPERIMENT_ID_LABEL}={experiment}"):
        for container in pod["status"].get("initContainerStatuses", []):
            if container["name"] != SIDECAR_CONTAINER:
                continue
            message = container["state"].get("terminated", {}).get("message", "")
            with suppress(msgspec.DecodeError):
                if msgspec.json.decode(message, type=PodReport).final:
                    found.add(pod["metadata"]["uid"])
    return frozenset(found)


def world(system: System, before: set[str], stuck: Sequence[str]) -> World:
    name = system.bucket_name
    ours = objects(system.bucket, name) - before
    read = {}
    for key in ours:
        sha256, size = read_back(system.bucket, name, key)
        read[key] = (sha256, size)
    # …/.minio.sys/multipart/<SHA-256 of bucket and key>/<upload>/xl.meta
    uploads = [path.partition("/multipart/")[2].partition("/")[0] for path in system.uploads_under_way()]
    return World(bucket=name, objects=read, uploads=uploads, stuck=stuck)
