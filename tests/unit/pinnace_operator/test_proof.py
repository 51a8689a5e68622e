"""What is said of a pod that ended without its sidecar's last word."""

from uuid import UUID

import pytest

from pinnace.digests import manifest_sha256
from pinnace.records import FileState, Manifest, PodReport, PodStanding
from pinnace_operator.observed import JobEnd, JobView, PodView
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
