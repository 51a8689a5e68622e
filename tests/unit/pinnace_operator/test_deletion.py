"""A deleted Experiment waits for its pods' last files, for a bounded time, and says what may be missing."""

import re
from datetime import timedelta
from typing import Any

import pytest

from pinnace.records import IterationState
from pinnace_operator.deletion import FINALIZER, FORCE_ANNOTATION
from pinnace_operator.events import build_announcement
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.observed import Observed
from pinnace_operator.plan import plan
from pinnace_operator.ports import RefusedError
from support.operator_world import PLATFORM, START, World, experiment, manifest

TIMEOUT_S = 900


def running(policy: str = "Retain") -> tuple[World, str]:
    """An Experiment with one pod that has written a file, and the pod's UID."""
    return started({"deletionPolicy": policy})


def started(artifacts: dict[str, Any]) -> tuple[World, str]:
    world = World(manifest(artifacts={**artifacts, "deletionTimeoutSeconds": TIMEOUT_S}))
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.write_file(pod)
    world.settle()
    return world, pod


def note(world: World) -> str:
    return str(world.events[-1]["note"])


def test_the_finalizer_is_there_before_the_first_job() -> None:
    world = World(manifest())
    world.settle()
    assert world.writes[:2] == ["hold", f"job {world.job(0)['metadata']['name']}"]
    assert world.finalizers == [FINALIZER]


def test_an_experiment_that_is_proven_is_held_no_more_so_nothing_is_needed_to_delete_it() -> None:
    world, pod = running()
    world.end_pod(pod)
    world.settle()
    assert world.finalizers == []
    world.delete()
    assert world.gone_at is not None


def test_one_that_never_began_is_not_held() -> None:
    world = World(manifest(suspend=True))
    world.settle()
    assert world.finalizers == []


def test_deleting_asks_the_pods_to_end_waits_for_their_last_files_and_lets_go() -> None:
    world, pod = running()
    world.delete()
    world.settle()
    assert world.is_halted(0)
    assert world.condition(ConditionType.RUNNING) == ("False", "Deleting")
    assert FORCE_ANNOTATION in world.message(ConditionType.RUNNING)
    world.pass_time(TIMEOUT_S - 1)
    world.settle()
    assert world.gone_at is None
    world.drain_pod(pod)
    world.settle()
    assert world.gone_at == world.now
    assert world.reasons()[-2:] == ["Deleting", "ArtifactsAshore"]
    assert not world.trashed
    [row] = world.rows.values()
    assert row.state is IterationState.KILLED


def test_when_its_time_is_over_it_goes_and_an_event_says_what_may_be_missing() -> None:
    world, _ = running()
    world.delete()
    world.settle()
    world.pass_time(TIMEOUT_S)
    world.look()
    assert world.gone_at == world.now
    assert world.reasons()[-1] == "DeletionTimedOut"
    assert world.events[-1]["type"] == "Warning"
    assert "1 of 1 iterations that had begun are not proven" in note(world)
    assert "had not shipped its last files" in note(world)


def test_the_next_look_is_not_after_the_deadline() -> None:
    world, _ = running()
    world.delete()
    world.settle()
    world.pass_time(TIMEOUT_S - 2)
    pause = world.look()
    assert pause is not None
    assert pause <= 2


def test_the_annotation_skips_the_wait() -> None:
    world, _ = running("Delete")
    world.delete()
    world.settle()
    world.annotate(FORCE_ANNOTATION, "true")
    world.look()
    assert world.gone_at is not None
    assert world.reasons()[-1] == "DeletionForced"
    assert world.trashed


def test_another_value_of_the_annotation_skips_nothing() -> None:
    world, _ = running()
    world.annotate(FORCE_ANNOTATION, "no")
    world.delete()
    world.settle()
    assert world.gone_at is None


def test_a_pod_that_was_killed_without_its_last_word_is_not_waited_for() -> None:
    world, pod = running()
    world.delete()
    world.settle()
    world.drain_pod(pod, proven=False)
    world.settle()
    assert world.gone_at is not None
    assert world.reasons()[-1] == "ArtifactsUnproven"
    assert "without the final report" in note(world)


def test_the_event_of_a_long_name_has_a_name_that_kubernetes_takes() -> None:
    for end in ("a", "-", "."):
        long = experiment("a" * 229 + end + "a" * 20)
        event = build_announcement(long, "Deleting", "it waits", "test", START, is_good=True)
        assert re.fullmatch(
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", event["metadata"]["name"]
        )


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("proven", "says"), [(True, "ArtifactsAshore"), (False, "ArtifactsUnproven")])
def test_where_only_others_made_pods_those_alone_are_judged(proven: bool, says: str, restarted: bool) -> None:
    world = World(manifest(suspend=True))
    world.settle()
    guest = world.inject_pod(0)
    world.write_file(guest)
    world.ship(guest)
    world.settle()
    world.end_pod(guest, exit_code=0 if proven else 137, proven=proven)
    world.settle()
    if restarted:
        world.delete_pod(guest)
        world.restart_operator()
    world.delete()
    world.settle()
    assert world.gone_at is not None
    assert world.reasons()[-1] == says


def test_deleted_while_the_operator_was_down_is_handled_at_its_start() -> None:
    world, pod = running()
    world.delete()
    world.restart_operator()
    world.settle()
    world.drain_pod(pod)
    world.restart_operator()
    world.settle()
    assert world.gone_at is not None
    assert world.reasons()[-1] == "ArtifactsAshore"


def test_with_the_policy_delete_its_records_go_to_the_trash_once_all_is_ashore() -> None:
    world, pod = running("Delete")
    world.delete()
    world.settle()
    assert not world.trashed
    world.drain_pod(pod)
    world.settle()
    assert world.trashed
    assert world.gone_at is not None


def test_a_finished_one_with_the_policy_delete_is_held_until_it_is_deleted() -> None:
    world, pod = running("Delete")
    world.end_pod(pod)
    world.settle()
    assert world.status.done
    assert world.finalizers == [FINALIZER]
    writes = len(world.writes)
    world.settle()
    assert len(world.writes) == writes
    world.delete()
    world.settle()
    assert world.trashed
    assert world.gone_at is not None


def test_the_policy_of_a_finished_one_can_still_be_changed() -> None:
    world, pod = running()
    world.end_pod(pod)
    world.settle()
    world.edit(artifacts={"deletionPolicy": "Delete"})
    world.settle()
    assert world.finalizers == [FINALIZER]
    world.edit(artifacts={"deletionPolicy": "Retain"})
    world.settle()
    assert world.finalizers == []


def test_while_the_api_is_away_the_policy_delete_waits_for_it_but_not_for_ever() -> None:
    world, pod = running("Delete")
    world.delete()
    world.settle()
    world.drain_pod(pod)
    world.api_is_up = False
    world.settle()
    assert world.gone_at is None
    world.pass_time(TIMEOUT_S)
    world.settle()
    assert world.gone_at is not None
    assert "metadata API does not answer" in note(world)


def test_a_namespace_that_is_deleted_does_not_wait_for_an_api_that_is_away() -> None:
    world, pod = running()
    world.api_is_up = False
    world.namespace_ends = True
    world.delete()
    world.settle()
    assert world.gone_at is None
    world.end_pod(pod, exit_code=143, last=False)
    world.delete_job(0)
    world.settle()
    assert world.gone_at == world.now


def test_in_a_namespace_that_is_deleted_jobs_are_ended_because_nothing_can_replace_their_pods() -> None:
    world, pod = running()
    world.namespace_ends = True
    world.end_pod(pod, exit_code=143, last=False)
    world.settle()
    assert [write for write in world.writes if write.startswith("end")]
    world.end_job_in_time(0)
    world.delete()
    world.settle()
    assert world.gone_at == world.now


def test_a_job_that_was_told_to_end_and_has_not_is_told_anew_after_some_minutes_and_not_before() -> None:
    world, pod = running()
    world.namespace_ends = True
    world.end_pod(pod, exit_code=143, last=False)
    world.settle()

    def told() -> list[str]:
        return [write for write in world.writes if write.startswith("end")]

    begun, deadlines = len(told()), set()
    for minutes in range(1, 25):
        world.now += timedelta(minutes=1)
        world.settle()
        [job] = world.jobs_by_name.values()
        deadlines.add(job["spec"]["activeDeadlineSeconds"])
        assert len(told()) - begun <= 1 + minutes // 6
    assert len(told()) - begun == 4
    assert deadlines == {1, 2}


def test_jobs_that_vanished_with_their_namespace_are_still_judged_by_what_was_seen_of_them() -> None:
    world, pod = running()
    world.delete()
    world.settle()
    world.drain_pod(pod)
    world.delete_job(0)
    world.settle()
    assert world.reasons()[-1] == "ArtifactsAshore"


def queued(policy: str = "Retain") -> World:
    body = manifest(parameters={"grid": {"n": [0, 1]}}, parallelism=2, artifacts={"deletionPolicy": policy})
    body["spec"]["template"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
    world = World(body)
    world.settle()
    world.hold(1)
    return world


def test_what_a_queue_let_in_and_what_it_holds_back_ends_with_its_experiment() -> None:
    world = queued()
    pod = world.start_pod(0)
    world.write_file(pod)
    world.settle()
    world.delete()
    world.settle()
    assert world.is_halted(0)
    world.let_in(1)
    world.settle()
    assert world.vacancies() == [], "the queue lets in what needs no pods any more"
    world.drain_pod(pod)
    world.settle()
    assert world.gone_at == world.now
    assert world.everything_is_ashore
    assert {row.state for row in world.rows.values()} == {IterationState.KILLED}


def test_what_a_queue_let_in_ends_with_its_namespace() -> None:
    world = queued()
    world.start_pod(0)
    world.settle()
    world.namespace_ends = True
    world.delete()
    world.settle()
    assert world.job(0)["spec"]["activeDeadlineSeconds"] == 1


def test_orphaned_jobs_go_on() -> None:
    world, _ = running("Delete")
    world.delete(cascade="orphan")
    world.settle()
    assert world.gone_at is not None
    assert not world.trashed
    assert world.job(0)["spec"].get("suspend") is None


def test_a_finalizer_that_was_taken_away_by_hand_comes_back_while_it_runs_and_not_when_it_is_deleted() -> None:
    world, _ = running()
    world.remove_finalizer()
    world.settle()
    assert world.finalizers == [FINALIZER]
    world.delete()
    world.settle()
    world.remove_finalizer()
    assert world.gone_at is not None
    assert world.look() is None


def test_what_others_hold_is_left_to_them() -> None:
    world, pod = running()
    world.delete(cascade="backup.example.com/copy")
    world.settle()
    world.drain_pod(pod)
    world.settle()
    assert world.finalizers == ["backup.example.com/copy"]
    writes = len(world.writes)
    world.settle()
    assert len(world.writes) == writes
    assert world.gone_at is None


def test_without_the_finalizer_no_job_is_made() -> None:
    world = World(manifest())
    world.hold_error = RefusedError("not allowed")
    world.look()
    assert not world.jobs_by_name


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_deleted_experiment_whose_spec_became_unacceptable_goes_all_the_same(policy: str) -> None:
    world, pod = running(policy)
    world.edit(parameters={"grid": {"not a name!": [1]}})
    world.settle()
    world.delete()
    world.settle()
    world.drain_pod(pod)
    world.settle()
    assert world.gone_at is not None
    assert world.trashed == (policy == "Delete")


def test_nothing_is_planned_for_a_deleted_one_that_we_do_not_hold() -> None:
    world = World(manifest(suspend=True))
    world.delete()
    body = world.body
    assert plan(Experiment.from_manifest(body), Observed(), PLATFORM, world.now) == ()


def running_on_a_claim() -> tuple[World, str]:
    return started({"volume": {"persistentVolumeClaim": {"size": "50Gi"}}})


def test_what_a_pod_left_on_a_claim_is_shipped_before_the_claim_goes_with_its_experiment() -> None:
    world, pod = running_on_a_claim()
    world.delete()
    world.settle()
    assert world.open_rescues == []
    world.drain_pod(pod, proven=False)
    world.settle()
    assert world.gone_at is None
    assert world.open_rescues == [pod]
    world.rescue(pod)
    world.settle()
    assert world.gone_at is not None
    assert world.everything_is_ashore
    assert world.reasons()[-1] == "ArtifactsAshore"


def test_a_rescue_is_waited_for_no_longer_than_anything_else() -> None:
    world, pod = running_on_a_claim()
    world.delete()
    world.settle()
    world.drain_pod(pod, proven=False)
    world.pass_time(TIMEOUT_S)
    world.settle()
    assert world.gone_at is not None
    assert world.reasons()[-1] == "DeletionTimedOut"
