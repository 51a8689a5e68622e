"""Is everything that the pods of one iteration wrote ashore? The exit codes of sidecars say nothing; reports do.

A pod's proof is its sidecar's final report (the termination message, or the same report as the API holds it) with a
manifest equal to what the API itself recorded of that pod. An iteration is proven when its Job is over, every pod
that ran is proven, and no pod that the Job counted, or says that it left out of its count, is missing among them. Pods
of other owners, which carry the label for injection, have to be proven too, and never stand for one of the Job's.

The objects of other engines count no pods. There, every pod that was seen or heard of is to be proven, and at least one
where the object ended well; a pod that neither watch nor API ever saw is missed by nobody.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pinnace.records import FileState, PodReport, PodStanding
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.failures import is_ignored
from pinnace_operator.observed import JobEnd, JobView, PodEnd, PodView, Rescue


class Standing(IntEnum):
    """How an iteration's artifacts stand; the larger the more somebody has to look."""

    #: Everything is in the store and recorded. For ever.
    SYNCED = 0
    #: Its Job has neither ended nor been stopped.
    IN_PROGRESS = 1
    #: The training has ended, a sidecar still ships.
    DRAINING = 2
    #: A pod ended without a final report, and what it left on its claim is shipped now.
    RESCUING = 3
    #: The sidecar says it is done, and the API does not hold all of it.
    RECORDS_MISSING = 4
    #: Files that can't be shipped.
    QUARANTINED = 5
    #: A pod ended without a final report: what it wrote last may be lost.
    UNPROVEN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    standing: Standing
    #: What, and what to do; empty where nothing is to be said.
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """A pod that ended without a final report."""

    uid: str
    name: str


_WITHOUT_CLAIM: Final = "; with spec.artifacts.volume.persistentVolumeClaim they would have outlived it"


#: The verdict on an iteration that had to be started again because somebody deleted its Job.
LOST = Verdict(
    standing=Standing.UNPROVEN,
    message="its Job was deleted before it had ended and was made again, so nobody can tell what its earlier pods "
    "wrote: compare the recorded artifacts with what should be there",
)


#: The verdict on an iteration that had ended, and whose Job was then deleted too early.
FORGOTTEN = Verdict(
    standing=Standing.UNPROVEN,
    message="its Job was deleted before its artifacts were proven, so nobody can tell how many pods it had: "
    "compare the recorded artifacts with what should be there",
)


_NO_RESCUES: Final[Mapping[str, Rescue]] = {}


def judge(
    job: JobView | None,
    pods: Sequence[PodView],
    standings: Iterable[PodStanding],
    rescues: Mapping[str, Rescue] = _NO_RESCUES,
    *,
    persistent: bool = False,
) -> Verdict:
    """The verdict on an iteration of which Kubernetes knows `job` and `pods`, and the API `standings`.

    `pods` includes those that are gone, as far as they were seen. `persistent`: what pods leave outlives them, and
    `rescues`, by their UIDs, ship it. Never SYNCED on missing knowledge.
    """
    if job is None:
        return FORGOTTEN
    if not job.over:
        return Verdict(standing=Standing.IN_PROGRESS)
    return judge_ended(job, pods, standings, rescues, persistent=persistent)


def judge_ended(
    job: JobView,
    pods: Sequence[PodView],
    standings: Iterable[PodStanding],
    rescues: Mapping[str, Rescue] = _NO_RESCUES,
    *,
    persistent: bool = False,
) -> Verdict:
    """The same for a Job that makes no further pods, because it has ended, was halted, or is gone."""
    by_pod = {standing.pod_uid: standing for standing in standings}
    verdicts = [
        *_judge_pods(pods, by_pod, job.suspended_pods, rescues, persistent=persistent),
        _judge_count(job, pods, by_pod) if job.engine is EngineKind.JOB else _judge_presence(job, pods, by_pod),
    ]
    if any(not pod.ended for pod in pods):
        verdicts.append(Verdict(standing=Standing.DRAINING))
    return _weightiest(verdicts)


def judge_without_job(pods: Sequence[PodView], standings: Iterable[PodStanding], *, over: bool) -> Verdict | None:
    """The verdict on an iteration without a Job: on pods of other owners. None: there were none, as far as is known.

    `over`: it is never to have a Job.
    """
    at_work = {pod.uid for pod in pods if not pod.ended}
    by_pod = {standing.pod_uid: standing for standing in standings if standing.pod_uid not in at_work}
    if not pods and not by_pod:
        return None
    verdicts = _judge_pods([pod for pod in pods if pod.ended], by_pod)
    if not over or at_work:
        verdicts.append(Verdict(standing=Standing.IN_PROGRESS))
    return _weightiest([Verdict(standing=Standing.SYNCED), *verdicts])


def abandoned(
    pods: Sequence[PodView], standings: Iterable[PodStanding], rescues: Mapping[str, Rescue]
) -> list[Abandoned]:
    """Pods that ran and ended without a final report. One whose name nobody knows can't be spoken for."""
    by_pod = {standing.pod_uid: standing for standing in standings}
    seen = {pod.uid: pod for pod in pods}
    found: list[Abandoned] = []
    for uid in sorted(_ran(pods, by_pod)):
        pod, standing = seen.get(uid), by_pod.get(uid)
        name = _name(pod, standing)
        alive = pod is not None and not pod.ended
        if name and not alive and final_report(pod, standing, rescues.get(uid)) is None:
            found.append(Abandoned(uid=uid, name=name))
    return found


def final_report(pod: PodView | None, standing: PodStanding | None, rescue: Rescue | None = None) -> PodReport | None:
    """The last word of a pod's sidecar, or of whoever spoke for it; None while, or if, there is none."""
    reports = [pod.report if pod else None, standing.report if standing else None]
    reports += rescue.reports if rescue else ()
    finals = [report for report in reports if report is not None and report.final]
    return max(finals, key=lambda report: report.sequence, default=None)


def _judge_pods(
    pods: Sequence[PodView],
    standings: Mapping[str, PodStanding],
    others: Set[str] = frozenset(),
    rescues: Mapping[str, Rescue] = _NO_RESCUES,
    *,
    persistent: bool = False,
) -> list[Verdict]:
    """Of each that ran, and of `others` that are known to have run."""
    seen = {pod.uid: pod for pod in pods}
    return [
        _judge_pod(seen.get(uid), standings.get(uid), uid, rescues.get(uid), persistent=persistent)
        for uid in sorted(_ran(pods, standings) | others)
    ]


def _ran(pods: Iterable[PodView], standings: Mapping[str, PodStanding]) -> set[str]:
    return {pod.uid for pod in pods if pod.started} | set(standings)


def _weightiest(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=lambda verdict: verdict.standing)


def _judge_pod(
    pod: PodView | None, standing: PodStanding | None, uid: str, rescue: Rescue | None, *, persistent: bool
) -> Verdict:
    name = _name(pod, standing) or uid
    report = final_report(pod, standing, rescue)
    if report is None:
        if pod is not None and not pod.ended:
            return Verdict(standing=Standing.DRAINING)
        ended = f"pod {name} ended{_why(pod)} without the final report of its sidecar"
        if persistent and _name(pod, standing):
            return _judge_rescue(ended, standing, rescue)
        return Verdict(
            standing=Standing.UNPROVEN,
            message=f"{ended}, so files that it wrote last "
            f"may be missing{_last_heard(standing)}: compare its recorded artifacts with what it should have written, "
            "and run the Experiment again if some are missing"
            f"{'' if persistent else _WITHOUT_CLAIM}",
        )
    quarantined = report.files.get(FileState.QUARANTINED, 0)
    if quarantined:
        why = "; ".join(f"{problem.reason}: {problem.message}" for problem in report.problems)
        return Verdict(
            standing=Standing.QUARANTINED,
            message=f"{quarantined} files of pod {name} can't be shipped{': ' + why if why else ''}",
        )
    if standing is None or standing.recorded != report.manifest:
        held = standing.recorded.count if standing else 0
        return Verdict(
            standing=Standing.RECORDS_MISSING,
            message=f"the metadata API holds {held} artifacts of pod {name}, which differ from the "
            f"{report.manifest.count} that its sidecar shipped",
        )
    return Verdict(standing=Standing.SYNCED)


def _judge_rescue(ended: str, standing: PodStanding | None, rescue: Rescue | None) -> Verdict:
    if rescue is None:
        return Verdict(standing=Standing.RESCUING, message=f"{ended}; what it left on its claim is about to be shipped")
    name = rescue.job.name
    if rescue.job.end is None:
        problems = standing.report.problems if standing is not None and standing.report is not None else ()
        waits = rescue.trouble or "; ".join(f"{problem.reason}: {problem.message}" for problem in problems)
        return Verdict(
            standing=Standing.RESCUING,
            message=f"{ended}; Job {name} ships what it left on its claim{', and waits: ' + waits if waits else ''}",
        )
    return Verdict(
        standing=Standing.UNPROVEN,
        message=f"{ended}, and what it left on its claim could not be shipped by Job {name}"
        f"{': ' + rescue.failure if rescue.failure else ''}{_last_heard(standing)}: mend that and delete the Job, and "
        "it is tried again; or compare its recorded artifacts with what it should have written",
    )


def _name(pod: PodView | None, standing: PodStanding | None) -> str:
    """As Kubernetes calls it; empty when nobody knows."""
    return pod.name if pod is not None else standing.name if standing is not None else ""


def _why(pod: PodView | None) -> str:
    return f" ({pod.failure})" if pod is not None and pod.failure else ""


def _last_heard(standing: PodStanding | None) -> str:
    """What the sidecar said of files on their way when it was heard of last."""
    if standing is None or standing.report is None:
        return ", and nothing was ever heard of it"
    pending = standing.report.pending
    if not pending:
        return ""
    return f", among them the {pending} that were on their way when it was last heard of"


def _judge_count(job: JobView, pods: Sequence[PodView], standings: Mapping[str, PodStanding]) -> Verdict:
    """Whether every pod of the Job that there was is among `pods` and `standings`.

    Three kinds are expected: pods that succeeded and pods that failed, as the Job counts them, and failed ones that its
    rules leave out, as each pod tells of those before it. A pod whose end is known stands for one of its own kind, so
    that an evicted pod never hides that the one after it is missing; and one that a suspension ended stands for none.
    """
    others = {pod.uid for pod in pods if pod.injected} | {
        uid for uid, standing in standings.items() if standing.report is not None and standing.report.injected
    }
    others |= job.uncounted_pods - {pod.uid for pod in pods if pod.counted}
    ignored = _ignored([pod for pod in pods if not pod.injected])
    pods = [pod for pod in pods if pod.uid not in others]
    ended: Counter[str] = Counter(_kind(job, pod) for pod in pods if pod.ended)
    unseen = len((_ran(pods, standings) | job.suspended_pods) - others - {pod.uid for pod in pods})
    expected = {"succeeded": job.pods_succeeded, "failed": job.pods_failed, "ignored": ignored}
    missing = sum(max(0, count - ended[kind]) for kind, count in expected.items()) - unseen - ended["unknown"]
    if missing > 0:
        return Verdict(
            standing=Standing.UNPROVEN,
            message=f"{missing} of the {sum(expected.values())} pods of Job {job.name} left neither a report nor a "
            "trace, so files that they wrote may be missing: compare the recorded artifacts with what should be there",
        )
    return Verdict(standing=Standing.SYNCED)


def _judge_presence(job: JobView, pods: Sequence[PodView], standings: Mapping[str, PodStanding]) -> Verdict:
    """Whether any pod was seen or heard of, where an engine's object ended well. Nobody says how many there were."""
    known = {pod.uid for pod in pods if pod.started and not pod.injected} | job.suspended_pods
    seen = {pod.uid for pod in pods}
    known |= {
        uid
        for uid, standing in standings.items()
        if uid not in seen and (standing.report is None or not standing.report.injected)
    }
    if job.end is JobEnd.SUCCEEDED and not known:
        return Verdict(
            standing=Standing.UNPROVEN,
            message=f"{job.engine} {job.name} ended well, and no pod of it left a report or a trace, so files that "
            "they wrote may be missing: compare the recorded artifacts with what should be there",
        )
    return Verdict(standing=Standing.SYNCED)


def _kind(job: JobView, pod: PodView) -> str:
    if pod.end is None:
        return "unknown"
    if pod.end is PodEnd.SUCCEEDED:
        return "succeeded"
    return "ignored" if is_ignored(job.failure_policy, pod.exit_codes, pod.conditions) else "failed"


def _ignored(pods: Sequence[PodView]) -> int:
    """How many failures the Job left out of its count, as the last pod of each worker tells."""
    before: dict[int, int] = {}
    for pod in pods:
        before[pod.worker] = max(before.get(pod.worker, 0), pod.ignored_before)
    return sum(before.values())


def standings_by_iteration(standings: Iterable[PodStanding], ids: Mapping[str, int]) -> dict[int, list[PodStanding]]:
    """`standings` by iteration index; `ids` maps iteration ids to indexes."""
    found: dict[int, list[PodStanding]] = {}
    for standing in standings:
        index = ids.get(str(standing.iteration_id))
        if index is not None:
            found.setdefault(index, []).append(standing)
    return found
