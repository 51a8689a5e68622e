"""What the trainings said against what store, API and cluster hold: every promise that was not kept, in words. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from pinnace.ids import artifact_id, object_key
from pinnace.records import Artifact, FileState, Iteration, IterationState, MetricPoint, PodStanding
from support.chaos_schedule import SILENCING, Fault, Trial
from support.chaos_writing import METRICS, RENAMED, Told, loss

#: Conditions tell their times in whole seconds.
_SECOND: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    type: str
    status: str
    reason: str
    message: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One Experiment after everything has come to rest."""

    trial: Trial
    #: Its pods, as the node's own logs know them.
    pods: Sequence[Told]
    conditions: Mapping[str, Condition]
    #: Statuses of ArtifactsSynced in the order in which they were seen.
    synced_history: Sequence[str]
    iterations: Sequence[Iteration]
    rows: Sequence[Artifact]
    standings: Sequence[PodStanding]
    #: By iteration.
    points: Mapping[str, Sequence[MetricPoint]]
    #: Name → "Complete", "Failed" or "".
    jobs: Mapping[str, str]
    #: UIDs of pods whose termination message is a final report.
    last_words: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is not one Experiment's."""

    #: SHA-256 and size by key, as another client than ours reads them.
    objects: Mapping[str, tuple[str, int]]
    bucket: str
    #: What the store still holds parts for, by `upload_name`.
    uploads: Sequence[str] = ()
    #: What is there although it should have ended or gone.
    stuck: Sequence[str] = ()


#: What was done to which pod, by its UID.
Struck = Mapping[str, frozenset[Fault]]


@dataclass(slots=True)
class Broken:
    """The promises that were not kept, each with the Experiment's name."""

    name: str
    found: list[str] = field(default_factory=list)

    def unless(self, kept: object, what: str) -> None:
        if not kept:
            self.found.append(f"{self.name}: {what}")


def verdict(seen: Iterable[Seen], world: World, struck: Struck) -> list[str]:
    """Every broken promise; empty when all were kept."""
    experiments = list(seen)
    found = [sentence for one in experiments for sentence in _experiment(one, world, struck)]
    found += _leftovers(experiments, world)
    return found + [f"stuck: {what}" for what in world.stuck]


def proven(one: Seen) -> set[str]:
    """UIDs of the pods whose sidecars came to their last word."""
    heard = {standing.pod_uid for standing in one.standings if standing.report is not None and standing.report.final}
    return heard | one.last_words


def silent(one: Seen) -> list[Told]:
    """The pods that wrote, or may have, and left no last word."""
    last_words = proven(one)
    return [pod for pod in one.pods if pod.iteration and pod.uid not in last_words]


def _experiment(one: Seen, world: World, struck: Struck) -> list[str]:
    broken = Broken(one.trial.name)
    for pod in silent(one):
        what = sorted(struck.get(pod.uid, frozenset()))
        broken.unless(
            SILENCING & struck.get(pod.uid, frozenset()),
            f"pod {pod.pod} left no final report, and nothing was done to it that excuses that: {what}",
        )
    _bytes(broken, one, world)
    _nothing_lost(broken, one)
    _points(broken, one)
    _conditions(broken, one, struck)
    _iterations(broken, one)
    return broken.found


def _bytes(broken: Broken, one: Seen, world: World) -> None:
    """Each row once, with its bytes, and written by one of its iteration's pods."""
    counted = Counter((row.iteration_id, row.path, row.sha256) for row in one.rows)
    for (iteration, path, sha256), times in counted.items():
        broken.unless(times == 1, f"doubled: {times} rows of {path} {sha256} in iteration {iteration}")
    for row in one.rows:
        held = world.objects.get(row.location.key)
        broken.unless(held == (row.sha256, row.size), f"a row without its bytes: {row.path} at {row.location.key}")
        writers = [pod for pod in one.pods if pod.iteration == str(row.iteration_id)]
        broken.unless(
            any(pod.explains(row.path, row.sha256, row.size) for pod in writers),
            f"nobody wrote this: {row.path} {row.sha256} of {row.size} bytes",
        )
        whole = any(pod.completed.get(row.path) == row.sha256 for pod in writers)
        broken.unless(not row.path.startswith(RENAMED) or whole, f"a part of {row.path}, which was never in its place")


def _nothing_lost(broken: Broken, one: Seen) -> None:
    there = {(str(row.iteration_id), row.path, row.sha256) for row in one.rows}
    last_words = proven(one)
    for pod in one.pods:
        missing = [path for path, sha256 in pod.completed.items() if (pod.iteration, path, sha256) not in there]
        broken.unless(pod.uid not in last_words or not missing, f"lost: {missing} of pod {pod.pod}")
    for standing in one.standings:
        report = standing.report
        if report is None or not report.final:
            continue
        count = report.files.get(FileState.QUARANTINED, 0)
        broken.unless(not count, f"{count} files of pod {standing.pod_uid} were quarantined: {report.problems}")


def _points(broken: Broken, one: Seen) -> None:
    last_words = proven(one)
    for iteration, points in one.points.items():
        counted = Counter((point.step, float(point.value)) for point in points)
        doubled = sorted(point for point, times in counted.items() if times > 1)
        broken.unless(not doubled, f"metric points that arrived more than once: {doubled[:5]}")
        pods = [pod for pod in one.pods if pod.iteration == iteration]
        # A line may have been written and not yet told of.
        known = {(step, loss(pod.uid, step)) for pod in pods for step in range(pod.steps + 1)}
        broken.unless(set(counted) <= known, f"metric points that nobody wrote: {sorted(set(counted) - known)[:5]}")
    for pod in one.pods:
        if pod.uid in last_words and pod.ended is not None:
            arrived = {(point.step, float(point.value)) for point in one.points.get(pod.iteration, ())}
            missing = [step for step in range(pod.steps) if (step, loss(pod.uid, step)) not in arrived]
            broken.unless(not missing, f"metric points of pod {pod.pod} are lost: steps {missing[:5]}")


def _conditions(broken: Broken, one: Seen, struck: Struck) -> None:
    def says(type_: str, status: str, *reasons: str) -> Condition | None:
        condition = one.conditions.get(type_)
        told = condition and f"{condition.status} {condition.reason}: {condition.message}"
        holds = condition is not None and condition.status == status and (not reasons or condition.reason in reasons)
        broken.unless(holds, f"{type_} should be {status} {'/'.join(reasons)} and is {told}")
        return condition if holds else None

    says("Accepted", "True")
    says("Running", "False", "Finished")
    if one.trial.exit_code:
        says("Succeeded", "False", "IterationsFailed")
    else:
        says("Succeeded", "True", "AllSucceeded")
    unproven = silent(one)
    if unproven:
        condition = says("ArtifactsSynced", "False", "Unproven")
        names = [word for pod in unproven for word in (pod.pod, pod.uid)]
        if condition is not None:
            told = any(word in condition.message for word in names) or " left neither a report nor a trace" in (
                condition.message
            )
            broken.unless(told, f"Unproven does not say for which pod: {condition.message}")
    elif _never_began(one, struck):
        # Struck before its training began: nothing was written, and not everybody can know that.
        status = one.conditions["ArtifactsSynced"].status if "ArtifactsSynced" in one.conditions else "True"
        says("ArtifactsSynced", status, *(["Unproven"] if status == "False" else []))
    else:
        says("ArtifactsSynced", "True", "AllRecorded")
    _not_too_soon(broken, one)


def _never_began(one: Seen, struck: Struck) -> bool:
    last_words = proven(one)
    seen = [pod.uid for pod in one.pods if not pod.iteration and pod.uid not in last_words]
    return any(SILENCING & struck.get(pod, frozenset()) for pod in seen)


def _not_too_soon(broken: Broken, one: Seen) -> None:
    condition = one.conditions.get("ArtifactsSynced")
    history = list(one.synced_history)
    if "True" in history:
        after = set(history[history.index("True") :])
        broken.unless(after == {"True"}, f"ArtifactsSynced was True and then something else: {history}")
    if condition is None or condition.status != "True":
        return
    recorded = [row.recorded_at for row in one.rows if row.recorded_at is not None]
    if recorded:
        early = (max(recorded) - condition.since).total_seconds()
        broken.unless(early < _SECOND, f"ArtifactsSynced was True {early:.1f} s before the last row")


def _iterations(broken: Broken, one: Seen) -> None:
    wanted = IterationState.FAILED if one.trial.exit_code else IterationState.SUCCEEDED
    states = [iteration.state for iteration in one.iterations]
    broken.unless(
        states == [wanted] * one.trial.iterations,
        f"{one.trial.iterations} iterations should be {wanted}, and the API has {[str(state) for state in states]}",
    )
    end = "Failed" if one.trial.exit_code else "Complete"
    broken.unless(
        list(one.jobs.values()) == [end] * one.trial.iterations,
        f"{one.trial.iterations} Jobs should be {end}, and there are {dict(one.jobs)}",
    )


def _leftovers(experiments: Sequence[Seen], world: World) -> list[str]:
    """Objects and uploads that no row tells of. Only a pod that was silenced may leave some, and only its own."""
    rows = {row.location.key for one in experiments for row in one.rows}
    excused = {key for one in experiments for key in _of_the_silent(one, world)}
    left = [f"an object without a row: {key}" for key in sorted(set(world.objects) - rows - excused)]
    uploads = {upload_name(world.bucket, key) for key in excused}
    return left + [f"an upload was left dangling: {name}" for name in sorted(set(world.uploads) - uploads)]


def _of_the_silent(one: Seen, world: World) -> Iterator[str]:
    """Keys that their pods may have sent something to: what they completed, and what they were at."""
    for pod in silent(one):
        iteration = UUID(pod.iteration)
        for path, sha256 in pod.completed.items():
            yield object_key("", artifact_id(iteration, path, sha256))
        for key, (sha256, size) in world.objects.items():
            if any(
                key == object_key("", artifact_id(iteration, path, sha256)) and pod.explains(path, sha256, size)
                for path in (*pod.begun, METRICS)
            ):
                yield key


def upload_name(bucket: str, key: str) -> str:
    """What MinIO calls an object's uploads in parts."""
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()
