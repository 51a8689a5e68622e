"""Is everything that the pods of one iteration wrote ashore? The exit codes of sidecars say nothing; reports do.

A pod's proof is its sidecar's final report (the termination message, or the same report as the API holds it) with a
manifest equal to what the API itself recorded of that pod. An iteration is proven when its Job is over, every pod
that ran is proven, and no pod that the Job counted, or says that it left out of its count, is missing among them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum

from pinnace.records import FileState, PodReport, PodStanding
from pinnace_operator.failures import is_ignored
from pinnace_operator.observed import JobView, PodEnd, PodView


class Standing(IntEnum):
    """How an iteration's artifacts stand; the larger the more somebody has to look."""

    #: Everything is in the store and recorded. For ever.
    SYNCED = 0
    #: Its Job has neither ended nor been stopped.
    IN_PROGRESS = 1
    #: The training has ended, a sidecar still ships.
    DRAINING = 2
    #: The sidecar says it is done, and the API does not hold all of it.
    RECORDS_MISSING = 3
    #: Files that can't be shipped.
    QUARANTINED = 4
    #: A pod ended without a final report: what it wrote last may be lost.
    UNPROVEN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    standing: Standing
    #: What, and what to do; empty where nothing is to be said.
    message: str = ""


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


def judge(job: JobView | None, pods: Sequence[PodView], standings: Iterable[PodStanding]) -> Verdict:
    """The verdict on an iteration of which Kubernetes knows `job` and `pods`, and the API `standings`.

    `pods` includes those that are gone, as far as they were seen. Never SYNCED on missing knowledge.
    """
    if job is None:
        return FORGOTTEN
    if not job.over:
        return Verdict(standing=Standing.IN_PROGRESS)
    return judge_ended(job, pods, standings)


def judge_ended(job: JobView, pods: Sequence[PodView], standings: Iterable[PodStanding]) -> Verdict:
    """The same for a Job that makes no further pods, because it has ended, was halted, or is gone."""
    by_pod = {standing.pod_uid: standing for standing in standings}
    ran = {pod.uid for pod in pods if pod.started} | set(by_pod) | job.suspended_pods
    seen = {pod.uid: pod for pod in pods}
    verdicts = [_judge_pod(seen.get(uid), by_pod.get(uid), uid) for uid in sorted(ran)]
    if any(not pod.ended for pod in pods):
        verdicts.append(Verdict(standing=Standing.DRAINING))
    verdicts.append(_judge_count(job, pods, ran))
    return max(verdicts, key=lambda verdict: verdict.standing)


def final_report(pod: PodView | None, standing: PodStanding | None) -> PodReport | None:
    """The last word of a pod's sidecar; None while, or if, there is none."""
    reports = [pod.report if pod else None, standing.report if standing else None]
    finals = [report for report in reports if report is not None and report.final]
    return max(finals, key=lambda report: report.sequence, default=None)


def _judge_pod(pod: PodView | None, standing: PodStanding | None, uid: str) -> Verdict:
    name = pod.name if pod else uid
    report = final_report(pod, standing)
    if report is None:
        if pod is not None and not pod.ended:
            return Verdict(standing=Standing.DRAINING)
        return Verdict(
            standing=Standing.UNPROVEN,
            message=f"pod {name} ended{_why(pod)} without the final report of its sidecar, so files that it wrote last "
            f"may be missing{_last_heard(standing)}: compare its recorded artifacts with what it should have written, "
            "and run the Experiment again if some are missing",
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


def _judge_count(job: JobView, pods: Sequence[PodView], known: Set[str]) -> Verdict:
    """Whether every pod that there was is among `pods` and the UIDs `known`.

    Three kinds are expected: pods that succeeded and pods that failed, as the Job counts them, and failed ones that its
    rules leave out, as each pod tells of those before it. A pod whose end is known stands for one of its own kind, so
    that an evicted pod never hides that the one after it is missing.
    """
    ended: Counter[str] = Counter(_kind(job, pod) for pod in pods if pod.ended)
    unseen = len(known - {pod.uid for pod in pods})
    expected = {"succeeded": job.pods_succeeded, "failed": job.pods_failed, "ignored": _ignored(pods)}
    missing = sum(max(0, count - ended[kind]) for kind, count in expected.items()) - unseen - ended["unknown"]
    if missing > 0:
        return Verdict(
            standing=Standing.UNPROVEN,
            message=f"{missing} of the {sum(expected.values())} pods of Job {job.name} left neither a report nor a "
            "trace, so files that they wrote may be missing: compare the recorded artifacts with what should be there",
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
