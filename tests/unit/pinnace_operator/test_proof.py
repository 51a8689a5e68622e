"""What is said of a pod that ended without its sidecar's last word, and of pods that nobody can tell of."""

from collections import Counter
from dataclasses import dataclass, replace
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.digests import manifest_sha256
from pinnace.records import FileState, Manifest, PodReport, PodStanding
from pinnace_operator.experiment_spec import PodFailurePolicy
from pinnace_operator.failures import policy
from pinnace_operator.observed import JobEnd, JobView, PodEnd, PodView
from pinnace_operator.proof import Standing, judge

JOB = JobView(uid="job-1", name="sweep-0", index=0, end=JobEnd.FAILED, pods_failed=1)
NOTHING = Manifest(count=0, sha256=manifest_sha256([]))


def last_heard(files: dict[FileState, int]) -> PodStanding:
    report = PodReport(iteration_id=UUID(int=1), pod_uid="pod-1", sequence=7, files=files, manifest=NOTHING)
    return PodStanding(
        iteration_id=UUID(int=1),
        pod_uid="pod-1",
        report=report,
        recorded=NOTHING,
        bytes_recorded=0,
        reported_at=None,
    )


def pod(failure: str = "") -> PodView:
    return PodView(uid="pod-1", name="sweep-0-abcde", index=0, started=True, ended=True, failure=failure)


def test_why_the_pod_ended_is_said_where_something_may_be_missing() -> None:
    verdict = judge(JOB, [pod("Evicted: too much on its disk")], [last_heard({})])
    assert verdict.standing is Standing.UNPROVEN
    assert "pod sweep-0-abcde ended (Evicted: too much on its disk) without the final report" in verdict.message


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({FileState.BUFFERED: 2, FileState.SEEN: 1, FileState.RECORDED: 9}, "the 3 that were on their way"),
        ({FileState.RECORDED: 9}, "may be missing: compare"),
    ],
)
def test_files_on_their_way_when_a_pod_was_last_heard_of_are_counted(files: dict[FileState, int], says: str) -> None:
    assert says in judge(JOB, [pod()], [last_heard(files)]).message


def test_a_pod_that_was_never_heard_of_is_called_so() -> None:
    assert "nothing was ever heard of it" in judge(JOB, [pod()], []).message


@dataclass(frozen=True)
class Life:
    """What became of one pod: how it ended, and who can still tell that it was there."""

    worker: int
    #: "succeeded", "failed" (counted), "ignored", or "suspended" (with its Job, and gone by it).
    end: str
    ignored_before: int
    #: "operator", "api" or "nobody".
    seen_by: str

    @property
    def uid(self) -> str:
        return f"pod-{id(self)}"

    @property
    def view(self) -> PodView:
        return PodView(
            uid=self.uid,
            name=self.uid,
            index=0,
            worker=self.worker,
            started=True,
            ended=True,
            end=PodEnd.SUCCEEDED if self.end == "succeeded" else PodEnd.FAILED,
            counted=self.end != "suspended",
            ignored_before=self.ignored_before,
            conditions=frozenset({("DisruptionTarget", "True")}) if self.end == "ignored" else frozenset(),
        )

    @property
    def standing(self) -> PodStanding:
        report = PodReport(
            iteration_id=UUID(int=1), pod_uid=self.uid, sequence=1, final=True, files={}, manifest=NOTHING
        )
        return PodStanding(
            iteration_id=UUID(int=1),
            pod_uid=self.uid,
            report=report,
            recorded=NOTHING,
            bytes_recorded=0,
            reported_at=None,
        )


@st.composite
def histories(draw: st.DrawFn, witnesses: list[str]) -> list[Life]:
    """Of an iteration that ended well: each worker failed some times, for reasons that count or do not."""
    lives = []
    for worker in range(draw(st.integers(1, 3))):
        ends = [*draw(st.lists(st.sampled_from(["failed", "ignored", "suspended"]), max_size=3)), "succeeded"]
        for position, end in enumerate(ends):
            before = ends[:position].count("ignored")
            lives.append(Life(worker, end, before, draw(st.sampled_from(witnesses))))
    return lives


def verdict_on(lives: list[Life]) -> Standing:
    ends = Counter(life.end for life in lives)
    suspended = frozenset(life.uid for life in lives if life.end == "suspended")
    job = JobView(
        uid="job-1",
        name="sweep-0",
        index=0,
        end=JobEnd.SUCCEEDED,
        pods_succeeded=ends["succeeded"],
        pods_failed=ends["failed"],
        failure_policy=msgspec.convert(policy(None), PodFailurePolicy),
        suspended_pods=suspended,
        uncounted_pods=suspended,
    )
    pods = [life.view for life in lives if life.seen_by == "operator"]
    return judge(job, pods, [life.standing for life in lives if life.seen_by != "nobody"]).standing


@given(histories(["operator", "operator", "operator", "nobody"]))
def test_an_iteration_of_several_workers_is_proven_exactly_when_no_pod_of_any_is_missing(lives: list[Life]) -> None:
    complete = all(life.seen_by != "nobody" for life in lives)
    assert verdict_on(lives) is (Standing.SYNCED if complete else Standing.UNPROVEN)


@given(histories(["operator", "api"]))
def test_pods_of_which_only_the_api_can_tell_are_as_good(lives: list[Life]) -> None:
    assert verdict_on(lives) is Standing.SYNCED


def test_a_pod_that_ended_before_the_suspension_came_to_it_stands_for_the_one_that_the_job_counted() -> None:
    life = Life(0, "failed", 0, "operator")
    job = replace(JOB, suspended_pods=frozenset({life.uid}), uncounted_pods=frozenset({life.uid}))
    assert judge(job, [life.view], [life.standing]).standing is Standing.SYNCED
    assert judge(job, [], [life.standing]).standing is Standing.UNPROVEN
