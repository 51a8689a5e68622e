"""Whole Experiments, from the first look to the last, on a model of the world."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pinnace.digests import manifest_sha256
from pinnace.records import IterationState, Manifest, Problem
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.ports import RefusedError, RejectedError
from pinnace_operator.sightings import RELIST
from support.operator_world import World, manifest, measure

GRID = {"grid": {"lr": [0.1, 0.01], "depth": [3, 5]}}
SYNCED, RUNNING, SUCCEEDED, ACCEPTED = (
    ConditionType.ARTIFACTS_SYNCED,
    ConditionType.RUNNING,
    ConditionType.SUCCEEDED,
    ConditionType.ACCEPTED,
)


def run_to_the_end(world: World, *, exit_code: int = 0) -> None:
    """Run whatever is started until nothing is left, two files for each pod."""
    world.settle()
    while world.open_jobs():
        for index in world.open_jobs():
            pod = world.start_pod(index)
            world.look()
            world.write_file(pod)
            world.ship(pod)
            world.look()
            world.write_file(pod)
            world.end_pod(pod, exit_code=exit_code)
        world.settle()


def test_tags_are_a_list_in_the_spec_and_an_object_in_the_row() -> None:
    world = World(manifest(tags=["baseline", "team=vision", "=odd", "team=audio=1"]))
    world.settle()
    (row,) = world.experiment_rows.values()
    assert row.tags == {"baseline": "", "team": "audio=1", "=odd": ""}


def test_a_sweep_runs_to_its_end_and_is_synced() -> None:
    world = World(manifest(parameters=GRID, parallelism=2))
    run_to_the_end(world)
    assert world.most_active == 2
    assert world.condition(ACCEPTED) == ("True", "Valid")
    assert world.condition(RUNNING) == ("False", "Finished")
    assert world.condition(SUCCEEDED) == ("True", "AllSucceeded")
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    counts = world.status.iterations
    assert (counts.total, counts.active, counts.succeeded, counts.failed, counts.synced) == (4, 0, 4, 0, 4)
    assert counts.succeeded_indexes == counts.synced_indexes == "0-3"
    assert (world.status.artifacts.recorded, world.status.artifacts.pending) == (8, 0)
    assert {row.state for row in world.rows.values()} == {IterationState.SUCCEEDED}
    assert [row.parameters for row in sorted(world.rows.values(), key=lambda row: row.index)] == [
        {"depth": 3, "lr": 0.1},
        {"depth": 3, "lr": 0.01},
        {"depth": 5, "lr": 0.1},
        {"depth": 5, "lr": 0.01},
    ]


def test_events_tell_each_thing_once() -> None:
    world = World(manifest())
    run_to_the_end(world)
    assert world.reasons() == ["Valid", "Running", "AllSucceeded", "AllRecorded"]


def test_that_a_pod_went_away_is_told_because_it_may_be_the_first_word_of_a_namespaces_end() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.delete_pod(pod)
    world.settle()
    assert world.condition(RUNNING) == ("False", "Starting")
    assert world.reasons() == ["Valid", "Running", "Starting"]


def test_all_conditions_are_there_from_the_first_look() -> None:
    world = World(manifest())
    world.api_is_up = False
    world.look()
    assert [condition.type for condition in world.status.conditions] == list(ConditionType)
    assert world.condition(SYNCED) == ("Unknown", "NotStarted")


def test_a_finished_experiment_costs_nothing_and_is_never_run_again() -> None:
    world = World(manifest(parameters=GRID))
    run_to_the_end(world)
    done = world.status
    for index in range(4):
        world.delete_job(index)
    world.standings.clear()
    world.api_is_up = world.cluster_is_up = False
    writes = list(world.writes)
    assert world.look() is None
    world.restart_operator()
    assert world.look() is None
    assert world.writes == writes
    assert world.status == done


def test_training_starts_and_ends_while_the_api_is_away_and_the_rows_are_caught_up() -> None:
    world = World(manifest(parameters=GRID, parallelism=4))
    world.api_is_up = False
    world.settle()
    assert world.open_jobs() == [0, 1, 2, 3]
    pods = [world.start_pod(index) for index in range(4)]
    world.look()
    assert world.condition(SYNCED) == ("False", "ApiUnreachable")
    assert "go on" in world.message(SYNCED)
    world.api_is_up = True
    world.settle()
    assert {row.state for row in world.rows.values()} == {IterationState.RUNNING}
    for pod in pods:
        world.write_file(pod)
        world.end_pod(pod)
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_the_api_being_away_at_the_end_withholds_the_proof() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.write_file(pod)
    world.end_pod(pod)
    world.api_is_up = False
    world.look()
    assert world.condition(SYNCED) == ("False", "ApiUnreachable")
    assert world.condition(SUCCEEDED) == ("True", "AllSucceeded")
    world.api_is_up = True
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_the_condition_says_why_the_sidecar_waits() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.write_file(pod)
    world.ship(pod, Problem(reason="StoreUnreachable", message="minio.test:9000 refuses connections", files=1))
    world.settle()
    assert world.condition(SYNCED) == ("False", "StoreUnreachable")
    assert "minio.test:9000" in world.message(SYNCED)
    assert world.status.artifacts.pending == 1
    world.ship(pod)
    world.settle()
    assert world.condition(SYNCED) == ("False", "InProgress")


def test_a_pod_without_a_final_report_leaves_the_experiment_unproven() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.write_file(pod)
    world.ship(pod, Problem(reason="StoreUnreachable", message="away", files=1))
    world.end_pod(pod, proven=False)
    world.settle()
    assert world.condition(SUCCEEDED) == ("True", "AllSucceeded")
    assert world.condition(SYNCED) == ("False", "Unproven")
    assert "compare its recorded artifacts" in world.message(SYNCED)


def test_the_final_report_in_the_api_proves_a_pod_that_is_gone() -> None:
    world = World(manifest(backoffLimit=1))
    world.settle()
    first = world.start_pod(0)
    world.settle()
    world.write_file(first)
    world.end_pod(first, exit_code=1, last=False)
    del world.pods_by_name[first]
    world.restart_operator()
    world.settle()
    second = world.start_pod(0)
    world.write_file(second)
    world.end_pod(second)
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_a_pod_that_the_job_counted_and_nobody_saw_leaves_it_unproven() -> None:
    world = World(manifest(backoffLimit=1))
    world.settle()
    world.job(0)["status"]["failed"] = 1
    pod = world.start_pod(0)
    world.settle()
    world.end_pod(pod)
    world.settle()
    assert world.condition(SYNCED) == ("False", "Unproven")
    assert "left neither a report nor a trace" in world.message(SYNCED)


def test_a_failed_training_is_told_with_its_exit_code_and_its_files_are_ashore() -> None:
    world = World(manifest())
    run_to_the_end(world, exit_code=3)
    assert world.condition(SUCCEEDED) == ("False", "IterationsFailed")
    assert "container train ended with exit code 3" in world.message(SUCCEEDED)
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    assert world.status.iterations.failed_indexes == "0"


def test_suspending_stops_what_runs_and_resuming_goes_on() -> None:
    world = World(manifest(parameters=GRID, parallelism=2))
    world.settle()
    assert world.open_jobs() == [0, 1]
    world.edit(suspend=True)
    world.settle()
    assert world.open_jobs() == []
    assert world.condition(RUNNING) == ("False", "Suspended")
    assert len(world.jobs_by_name) == 2
    world.edit(suspend=False, parallelism=1)
    world.settle()
    assert world.open_jobs() == [0]
    world.edit(suspend=False, parallelism=3)
    world.settle()
    assert world.open_jobs() == [0, 1, 2]


def test_a_job_that_a_queue_suspended_is_left_to_the_queue() -> None:
    world = World(manifest())
    world.settle()
    world.job(0)["spec"]["suspend"] = True
    world.touch(world.job(0))
    world.settle()
    assert world.open_jobs() == []
    assert world.condition(RUNNING) == ("False", "Queued")


def test_a_pod_that_a_queue_ended_is_missed_by_an_operator_that_has_never_seen_it() -> None:
    world = World(manifest())
    world.settle()
    world.api_is_up = False
    pod = world.start_pod(0)
    world.write_file(pod)
    world.settle()
    world.hold(0)
    world.settle()
    world.look()
    assert len([write for write in world.writes if write.startswith("note ")]) == 1
    world.drain_pod(pod, proven=False)
    world.restart_operator()
    world.api_is_up = True
    world.let_in(0)
    world.settle()
    world.end_pod(world.start_pod(0))
    world.settle()
    assert world.condition(SYNCED) == ("False", "Unproven")


def test_what_a_queue_has_let_in_is_not_suspended_against_it() -> None:
    body = manifest()
    body["spec"]["template"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "gpu"}}
    world = World(body)
    world.settle()
    world.start_pod(0)
    world.edit(suspend=True)
    world.settle()
    assert not world.job(0)["spec"].get("suspend")
    assert world.condition(ConditionType.RUNNING) == ("True", "Suspending")
    assert "until the queue stops it" in world.message(ConditionType.RUNNING)


def proven(world: World) -> World:
    """After the only pod of each iteration, every one of which is synced."""
    world.settle()
    for index in world.open_jobs():
        pod = world.start_pod(index)
        world.look()
        world.end_pod(pod)
    return world


def test_a_job_may_go_so_long_after_the_proof_however_long_that_took() -> None:
    world = World(manifest(ttlSecondsAfterFinished=60))
    world.settle()
    pod = world.start_pod(0)
    world.look()
    world.end_pod(pod)
    world.api_is_up = False
    world.pass_time(1000)
    world.settle()
    assert "ttlSecondsAfterFinished" not in world.job(0)["spec"]
    world.api_is_up = True
    world.settle()
    assert world.condition(ConditionType.ARTIFACTS_SYNCED) == ("True", "AllRecorded")
    assert world.job(0)["spec"]["ttlSecondsAfterFinished"] == 1060
    world.pass_time(59)
    assert world.expire_jobs() == []
    world.pass_time(1)
    assert world.expire_jobs() == [0]
    world.restart_operator()
    before, writes = world.status, len(world.writes)
    assert world.look() is None
    assert (world.status, len(world.writes)) == (before, writes)


def test_a_job_that_is_not_proven_stays_for_ever() -> None:
    world = World(manifest(ttlSecondsAfterFinished=0))
    world.settle()
    pod = world.start_pod(0)
    world.look()
    world.end_pod(pod, proven=False)
    world.settle()
    world.pass_time(10**6)
    world.settle()
    assert world.condition(ConditionType.ARTIFACTS_SYNCED) == ("False", "Unproven")
    assert world.expire_jobs() == []


def test_jobs_that_are_proven_go_while_the_others_of_the_sweep_run() -> None:
    world = World(manifest(ttlSecondsAfterFinished=0, parameters={"grid": {"n": [0, 1]}}))
    proven(world).settle()
    assert world.expire_jobs() == [0]
    world.settle()
    proven(world).settle()
    assert world.expire_jobs() == [1]
    assert world.status.iterations.succeeded_indexes == "0-1"
    assert world.condition(ConditionType.ARTIFACTS_SYNCED) == ("True", "AllRecorded")


def test_a_job_goes_only_when_the_status_remembers_its_proof() -> None:
    world = proven(World(manifest(ttlSecondsAfterFinished=0)))
    world.look()
    assert "status" in world.writes
    assert not [write for write in world.writes if write.startswith("expire")]
    world.look()
    assert [write for write in world.writes if write.startswith("expire")]


def test_an_outage_or_a_restart_before_a_job_was_told_does_not_keep_it() -> None:
    world = proven(World(manifest(ttlSecondsAfterFinished=5)))
    world.look()
    world.cluster_is_up = False
    assert world.look() is not None
    world.restart_operator()
    world.cluster_is_up = True
    world.settle()
    assert world.job(0)["spec"]["ttlSecondsAfterFinished"] >= 5
    assert world.look() is None


def test_a_time_to_live_that_is_set_after_the_end_counts_from_then_and_without_one_jobs_stay() -> None:
    world = proven(World(manifest()))
    world.settle()
    world.pass_time(500)
    assert "ttlSecondsAfterFinished" not in world.job(0)["spec"]
    world.edit(ttlSecondsAfterFinished=10)
    world.settle()
    assert world.job(0)["spec"]["ttlSecondsAfterFinished"] == 510


def test_workers_are_one_iteration_that_ends_with_the_last_of_them() -> None:
    world = World(manifest(workers=2, backoffLimit=1))
    world.settle()
    assert len(world.services) == 1
    assert world.writes[0] == "hold"
    assert world.writes[1].startswith("service")
    first, second = world.start_pod(0, 0), world.start_pod(0, 1)
    for pod in (first, second):
        world.write_file(pod)
        world.ship(pod)
    world.settle()
    world.end_pod(first)
    world.settle()
    assert world.condition(ConditionType.RUNNING)[0] == "True"
    assert world.condition(ConditionType.SUCCEEDED)[0] == "Unknown"
    world.end_pod(second, exit_code=1, last=False)
    world.settle()
    third = world.start_pod(0, 1)
    world.write_file(third)
    world.end_pod(third)
    world.settle()
    assert world.condition(ConditionType.SUCCEEDED)[0] == "True"
    assert world.condition(ConditionType.ARTIFACTS_SYNCED) == ("True", "AllRecorded")
    assert world.status.artifacts.recorded == 3


def test_one_worker_without_its_last_word_leaves_the_iteration_unproven() -> None:
    world = World(manifest(workers=3))
    world.settle()
    pods = [world.start_pod(0, worker) for worker in range(3)]
    world.look()
    for pod in pods:
        world.end_pod(pod, proven=pod is not pods[1])
    world.settle()
    assert world.condition(ConditionType.SUCCEEDED)[0] == "True"
    assert world.condition(ConditionType.ARTIFACTS_SYNCED) == ("False", "Unproven")


def test_nothing_starts_in_an_experiment_that_begins_suspended() -> None:
    world = World(manifest(suspend=True))
    world.settle()
    assert world.jobs_by_name == {}
    assert world.condition(RUNNING) == ("False", "Suspended")


def test_parallelism_can_be_raised_while_running() -> None:
    world = World(manifest(parameters=GRID, parallelism=1))
    world.settle()
    world.edit(parallelism=3)
    world.settle()
    assert world.open_jobs() == [0, 1, 2]


def test_a_job_deleted_by_hand_is_made_again_while_it_has_not_ended() -> None:
    world = World(manifest(parameters=GRID))
    world.settle()
    world.delete_job(0)
    world.settle()
    assert world.open_jobs() == [0]


def test_a_job_deleted_before_it_had_a_pod_costs_no_proof() -> None:
    world = World(manifest())
    world.settle()
    world.delete_job(0)
    run_to_the_end(world)
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_an_iteration_whose_job_was_deleted_while_it_ran_is_never_proven() -> None:
    world = World(manifest())
    world.api_is_up = False
    world.settle()
    lost = world.start_pod(0)
    world.settle()
    world.write_file(lost)
    world.delete_job(0)
    world.restart_operator()
    world.api_is_up = True
    run_to_the_end(world)
    world.restart_operator()
    world.settle()
    assert world.condition(SUCCEEDED) == ("True", "AllSucceeded")
    assert world.condition(SYNCED) == ("False", "Unproven")
    assert "made again" in world.message(SYNCED)


def test_an_iteration_that_ended_is_not_run_again_when_its_job_is_deleted() -> None:
    world = World(manifest(parameters=GRID, parallelism=1))
    world.settle()
    pod = world.start_pod(0)
    world.look()
    world.end_pod(pod)
    world.settle()
    world.delete_job(0)
    world.restart_operator()
    run_to_the_end(world)
    assert sum(write.startswith("job ") and write.endswith("-0") for write in world.writes) == 1
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_rows_that_the_api_does_not_hold_withhold_the_proof() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.write_file(pod)
    world.end_pod(pod)
    held = world.standings[pod]
    world.standings[pod] = msgspec.structs.replace(held, recorded=Manifest(count=0, sha256=manifest_sha256([])))
    world.settle()
    assert world.condition(SYNCED) == ("False", "RecordsMissing")
    assert "holds 0 artifacts" in world.message(SYNCED)
    world.standings[pod] = held
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_a_template_that_kubernetes_rejects_is_told_in_accepted_and_tried_again_when_it_changes() -> None:
    world = World(manifest())
    world.job_error = RejectedError('spec.template.spec.containers[0].ports: Invalid value: "x"')
    world.settle()
    assert world.condition(ACCEPTED) == ("False", "TemplateRejected")
    assert "containers[0].ports" in world.message(ACCEPTED)
    world.job_error = None
    world.settle()
    assert world.jobs_by_name == {}
    world.edit(parallelism=2)
    world.settle()
    assert world.open_jobs() == [0]
    assert world.condition(ACCEPTED) == ("True", "Valid")


@pytest.mark.parametrize(
    "wrong",
    [
        {"containers": [{"name": "train", "image": "training:1", "args": ["--token", 5, None]}]},
        {"containers": [{"name": "train", "image": "training:1", "command": "python train.py"}]},
        {"containers": [{"name": "train", "image": "training:1", "command": 5}]},
        {"securityContext": "restricted"},
        {"securityContext": ["restricted"]},
    ],
    ids=["a-number-among-arguments", "a-line-as-command", "a-number-as-command", "a-word-as-context", "a-list-of-it"],
)
@pytest.mark.parametrize("volume", [{}, {"persistentVolumeClaim": {"size": "50Gi"}}], ids=["folder", "claim"])
def test_what_the_definition_lets_pass_and_kubernetes_does_not_is_told_like_any_other(
    wrong: dict[str, Any], volume: dict[str, Any]
) -> None:
    world = World(manifest(pod=wrong, artifacts={"volume": volume}))
    world.job_error = RejectedError("failed to create typed patch object")
    world.settle()
    assert world.condition(ACCEPTED) == ("False", "TemplateRejected")
    world.edit(template={"spec": {"containers": [{"name": "train", "image": "training:1"}]}})
    world.job_error = None
    world.settle()
    assert world.condition(ACCEPTED) == ("True", "Valid")


def test_a_condition_that_somebody_else_added_keeps_nobody_from_looking() -> None:
    world = World(manifest())
    world.settle()
    theirs = {"type": "Healthy", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": "2026-01-01"}
    world.body["status"]["conditions"] = (theirs, *world.body["status"]["conditions"])
    world.end_pod(world.start_pod(0))
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


@pytest.mark.parametrize("told", [False, True])
def test_a_pod_that_was_last_seen_before_it_began_hides_no_loss(told: bool) -> None:
    world = World(manifest())
    world.settle()
    world.api_is_up = False
    pod = world.start_pod(0)
    body = world.pods_by_name[pod]
    running, body["status"] = body["status"], {"phase": "Pending"}
    world.touch(body)
    world.settle()
    if told:
        body["status"] = running
        world.touch(body)
        world.look()
    # From here on nothing is seen of it, and it is killed before the API is back.
    world.write_file(pod)
    world.end_pod(pod, exit_code=137, last=False, proven=False)
    world.lose_pod(pod)
    world.pass_time(RELIST.total_seconds() + 1)
    world.api_is_up = True
    world.settle()
    world.end_pod(world.start_pod(0))
    world.settle()
    assert not world.everything_is_ashore
    assert world.condition(SYNCED) == ("False", "Unproven")


def test_a_quota_holds_the_job_back_until_it_is_raised() -> None:
    world = World(manifest())
    world.job_error = RefusedError("exceeded quota: jobs")
    world.look()
    assert world.condition(ACCEPTED) == ("True", "Valid")
    assert world.condition(RUNNING) == ("False", "JobRefused")
    assert "exceeded quota" in world.message(RUNNING)
    tried = len(world.writes)
    world.look()
    assert len(world.writes) == tried
    world.job_error = None
    world.pass_time(6)
    world.settle()
    assert world.open_jobs() == [0]
    assert world.condition(RUNNING) == ("False", "Starting")


def test_refused_jobs_are_tried_at_growing_intervals() -> None:
    world = World(manifest())
    world.job_error = RefusedError("exceeded quota: jobs")
    for _ in range(60):
        world.look()
        world.pass_time(10)
    assert 5 <= sum(write.startswith("job ") for write in world.writes) <= 12


@pytest.mark.parametrize("what", ["cluster", "api"])
def test_an_outage_is_waited_out_with_growing_pauses(what: str) -> None:
    world = World(manifest())
    world.settle()
    setattr(world, f"{what}_is_up", False)
    world.memory.sightings.listed_at = None
    pauses = [world.look() or 0 for _ in range(8)]
    assert pauses == sorted(pauses)
    assert max(pauses) == 30
    setattr(world, f"{what}_is_up", True)
    world.settle()
    assert world.look() == 5


def test_the_best_iteration_follows_the_objective() -> None:
    world = World(manifest(parameters=GRID, parallelism=4, objective={"metric": "loss", "goal": "Minimize"}))
    world.settle()
    for index, (low, high) in enumerate([(0.5, 0.9), (0.2, 2.0), (0.3, 0.3), (0.2, 0.2)]):
        measure(world, index, "loss", low, high)
    world.settle()
    assert (world.status.iterations.best_iteration, world.status.iterations.best_value) == (1, "0.2")
    world.body["spec"]["objective"]["goal"] = "Maximize"
    world.edit()
    world.settle()
    assert (world.status.iterations.best_iteration, world.status.iterations.best_value) == (1, "2")


def test_events_tell_each_transition_once() -> None:
    world = World(manifest())
    run_to_the_end(world)
    told = [event["note"].partition(":")[0] for event in world.events]
    assert told.count("ArtifactsSynced=True") == 1
    assert told.count("Succeeded=True") == 1
    names = [event["metadata"]["name"] for event in world.events]
    assert len(names) == len(set(names))
    before = len(world.events)
    world.restart_operator()
    world.settle()
    assert len(world.events) == before


def test_last_transition_time_moves_only_with_the_status() -> None:
    world = World(manifest(parameters=GRID))
    world.settle()
    first = world.status.condition(ACCEPTED)
    world.pass_time(100)
    world.edit(parallelism=2)
    world.settle()
    second = world.status.condition(ACCEPTED)
    assert first is not None
    assert second is not None
    assert second.last_transition_time == first.last_transition_time
    assert second.observed_generation == first.observed_generation + 1


def test_a_pod_that_hangs_while_being_set_up_is_told_after_a_minute() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.pods_by_name[pod]["status"] = {
        "phase": "Pending",
        "containerStatuses": [{"name": "train", "state": {"waiting": {"reason": "PodInitializing"}}}],
    }
    world.touch(world.pods_by_name[pod])
    world.settle()
    assert world.condition(RUNNING) == ("False", "Starting")
    world.pass_time(timedelta(minutes=2).total_seconds())
    world.settle()
    assert world.condition(RUNNING) == ("False", "PodStartsSlowly")


def test_a_training_whose_image_can_not_be_pulled_is_not_running_although_its_sidecar_is() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    world.pods_by_name[pod]["status"] |= {
        "phase": "Pending",
        "containerStatuses": [{"name": "train", "state": {"waiting": waiting}}],
    }
    world.touch(world.pods_by_name[pod])
    world.settle()
    assert world.condition(RUNNING) == ("False", "ImagePullFailed")
    assert {row.state for row in world.rows.values()} == {IterationState.PENDING}


def test_an_edit_after_the_end_is_acknowledged_and_changes_nothing_else() -> None:
    world = World(manifest())
    run_to_the_end(world)
    conditions = world.status.conditions
    world.edit(parallelism=7)
    world.settle()
    assert world.status.observed_generation == 2
    assert world.status.conditions == conditions


def test_a_status_that_speaks_of_another_experiment_is_not_believed() -> None:
    finished = World(manifest())
    run_to_the_end(finished)
    world = World(manifest())
    world.body["status"] = finished.body["status"] | {"experimentId": "00000000-0000-0000-0000-000000000001"}
    run_to_the_end(world)
    assert world.open_jobs() == []
    assert len(world.truth) == 1
    assert world.status.experiment_id == world.body["metadata"]["uid"]


def test_a_slow_watch_does_not_make_the_operator_write_twice() -> None:
    world = World(manifest())
    stale = world.body
    world.settle()
    writes, events = list(world.writes), list(world.events)
    world.body = stale
    world.look()
    assert world.writes == writes
    assert world.events == events


def test_an_iterations_row_is_made_with_its_recipe_and_learns_once_which_images_ran() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    image = f"training@sha256:{'a' * 64}"
    [container] = world.pods_by_name[pod]["status"]["containerStatuses"]
    container["imageID"] = image
    world.touch(world.pods_by_name[pod])
    world.settle()
    ((_, environment),) = world.environments.items()
    assert environment["images"] == {"train": image}
    assert environment["kubernetes"]["spec"]["template"]["spec"] == manifest()["spec"]["template"]["spec"]
    assert (environment["kubernetes"]["name"], environment["kubernetes"]["namespace"]) == ("sweep", "team-a")
    world.restart_operator()
    world.settle()
    assert world.writes.count("environment ['images']") == 2  # once by each operator
