"""Pods of other owners with our sidecar: their files have to be ashore too, and they stand for no pod of a Job."""

from uuid import UUID

import pytest

from pinnace.digests import manifest_sha256
from pinnace.records import FileState, Manifest, PodReport, PodStanding
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.observed import JobEnd, JobView, PodView
from pinnace_operator.proof import Standing, judge
from support.operator_world import World, manifest

SYNCED = ConditionType.ARTIFACTS_SYNCED
NOTHING = Manifest(count=0, sha256=manifest_sha256([]))


def suspended() -> World:
    world = World(manifest(suspend=True))
    world.settle()
    return world


def test_a_pod_of_another_owner_alone_comes_ashore_and_is_counted_and_nothing_is_called_proven() -> None:
    world = suspended()
    assert world.condition(SYNCED) == ("Unknown", "NotStarted")
    guest = world.inject_pod(0)
    world.write_file(guest)
    world.ship(guest)
    world.settle()
    assert world.condition(SYNCED) == ("False", "InProgress")
    assert world.condition(ConditionType.RUNNING) == ("True", "Suspended")
    assert world.status.artifacts.recorded == 1
    world.end_pod(guest)
    world.settle()
    assert world.condition(SYNCED) == ("False", "InProgress"), "the iteration itself has not run"
    assert world.condition(ConditionType.RUNNING) == ("False", "Suspended")


def test_without_its_final_report_the_experiment_is_unproven_for_as_long_as_nothing_proves_it() -> None:
    world = suspended()
    guest = world.inject_pod(0)
    world.end_pod(guest, exit_code=137, proven=False)
    world.settle()
    assert world.condition(SYNCED) == ("False", "Unproven")
    assert "pod guest-p0 ended" in world.message(SYNCED)
    world.edit(suspend=False)
    world.settle()
    world.end_pod(world.start_pod(0))
    world.settle()
    assert world.condition(SYNCED) == ("False", "Unproven")


def test_a_pod_that_was_there_before_the_job_does_not_make_the_iteration_lost() -> None:
    world = suspended()
    guest = world.inject_pod(0)
    world.settle()
    world.end_pod(guest)
    world.settle()
    world.edit(suspend=False)
    world.settle()
    assert world.status.lost == frozenset()
    world.end_pod(world.start_pod(0))
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_the_end_waits_for_a_pod_that_is_still_at_work() -> None:
    world = World(manifest())
    world.settle()
    guest = world.inject_pod(0)
    world.end_pod(world.start_pod(0))
    world.settle()
    assert world.condition(SYNCED) == ("False", "Draining")
    world.end_pod(guest)
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def standing(pod_uid: str, *, injected: bool) -> PodStanding:
    report = PodReport(
        iteration_id=UUID(int=1), pod_uid=pod_uid, sequence=7, final=True, injected=injected, manifest=NOTHING,
        files={FileState.RECORDED: 0},
    )  # fmt: skip
    return PodStanding(
        iteration_id=UUID(int=1), pod_uid=pod_uid, report=report, recorded=NOTHING, bytes_recorded=0, reported_at=None
    )


def guest(*, started: bool) -> PodView:
    return PodView(uid="guest", name="guest", index=0, injected=True, started=started, ended=True)


@pytest.mark.parametrize(
    ("pods", "reports"),
    [
        ([guest(started=True)], [standing("guest", injected=True)]),
        ([guest(started=False)], []),
        # Neither seen by this operator: the report itself says whose it is.
        ([], [standing("guest", injected=True)]),
    ],
    ids=["proven", "never-started", "unseen"],
)
def test_it_never_stands_for_a_pod_that_the_job_counted(pods: list[PodView], reports: list[PodStanding]) -> None:
    job = JobView(uid="job", name="sweep-0", index=0, end=JobEnd.SUCCEEDED, pods_succeeded=1)
    verdict = judge(job, pods, reports)
    assert verdict.standing is Standing.UNPROVEN
    assert "left neither a report nor a trace" in verdict.message
    assert judge(job, pods, [*reports, standing("own", injected=False)]).standing is Standing.SYNCED
