"""Sweeps that choose, end early or give up, from the first look to the last, on a model of the world."""

from typing import Any

import pytest

from pinnace.records import IterationState
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.ports import RefusedError
from support.operator_world import Crash, World, manifest, measure, measure_at

GRID = {"grid": {"n": [0, 1, 2, 3, 4, 5]}}
SPACE = {"lr": {"logUniform": {"min": 1e-4, "max": 0.1}}, "kind": {"choice": ["a", True, 1]}}
OPTUNA = {"optuna": {"count": 6, "seed": 3, "space": SPACE}}
LOSS = {"metric": "loss", "goal": "Minimize"}
SYNCED, RUNNING, SUCCEEDED, ACCEPTED = (
    ConditionType.ARTIFACTS_SYNCED,
    ConditionType.RUNNING,
    ConditionType.SUCCEEDED,
    ConditionType.ACCEPTED,
)


def run(world: World, index: int, *, exit_code: int = 0, loss: float | None = None) -> None:
    """Let iteration `index` run to its end."""
    pod = world.start_pod(index)
    world.look()
    world.write_file(pod)
    if loss is not None:
        measure(world, index, "loss", loss, loss)
    world.end_pod(pod, exit_code=exit_code)
    world.settle()


def parameters(world: World) -> dict[int, dict[str, Any]]:
    return {row.index: row.parameters for row in world.rows.values()}


# --- random


def test_a_random_sweep_runs_with_the_parameters_that_its_seed_gives() -> None:
    world = World(manifest(parameters={"random": {"count": 3, "seed": 7, "space": SPACE}}, parallelism=3))
    world.settle()
    first = parameters(world)
    assert len(first) == 3
    other = World(manifest(parameters={"random": {"count": 5, "seed": 7, "space": SPACE}}))
    other.settle()
    assert {index: parameters(other)[index] for index in first} == first


# --- asking


def test_an_asked_iteration_gets_its_parameters_when_its_turn_comes_and_remembers_them_first() -> None:
    world = World(manifest(parameters=OPTUNA, objective=LOSS, parallelism=2))
    world.look()
    assert world.open_jobs() == [0, 1]
    assert sorted(parameters(world)) == [0, 1]
    kinds = [write.split()[0] for write in world.writes if write != "status"]
    assert kinds == ["experiment", "iteration", "iteration", "hold", "job", "job"]
    run(world, 0, loss=0.5)
    assert world.open_jobs() == [1, 2]
    assert sorted(parameters(world)) == [0, 1, 2]


def test_an_asked_sweep_comes_to_its_end_and_jobs_carry_what_was_chosen() -> None:
    world = World(manifest(parameters=OPTUNA, objective=LOSS, parallelism=2))
    world.settle()
    while world.open_jobs():
        index = world.open_jobs()[0]
        container = world.job(index)["spec"]["template"]["spec"]["containers"][0]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert float(environment["PINNACE_PARAM_LR"]) == parameters(world)[index]["lr"]
        run(world, index, loss=float(index))
    assert world.condition(SUCCEEDED) == ("True", "AllSucceeded")
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    assert (world.status.iterations.best_iteration, world.status.iterations.best_value) == (0, "0")
    assert len({str(values) for values in parameters(world).values()}) == 6


def test_asking_waits_for_the_api_and_what_runs_does_not() -> None:
    world = World(manifest(parameters=OPTUNA, objective=LOSS, parallelism=1))
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.end_pod(pod)
    world.api_is_up = False
    world.settle()
    assert world.open_jobs() == []
    assert world.condition(RUNNING) == ("False", "AwaitingValues")
    world.api_is_up = True
    world.settle()
    assert world.open_jobs() == [1]


def test_an_operator_that_ends_between_asking_and_making_the_job_asks_nothing_twice() -> None:
    world = World(manifest(parameters=OPTUNA, objective=LOSS))
    world.job_error = RefusedError("exceeded quota: jobs")
    world.look()
    chosen = parameters(world)
    assert sorted(chosen) == [0]
    world.restart_operator()
    world.job_error = None
    world.settle()
    assert world.open_jobs() == [0]
    assert parameters(world) == chosen


def test_an_asked_iteration_whose_job_was_deleted_runs_again_with_the_same_parameters() -> None:
    world = World(manifest(parameters=OPTUNA, objective=LOSS))
    world.settle()
    before = world.job(0)["metadata"]["annotations"]["pinnace.dev/parameters"]
    world.start_pod(0)
    world.settle()
    world.delete_job(0)
    world.restart_operator()
    world.settle()
    assert world.job(0)["metadata"]["annotations"]["pinnace.dev/parameters"] == before


def test_a_row_that_the_api_lost_is_made_again_from_the_job() -> None:
    world = World(manifest(parameters=OPTUNA, objective=LOSS))
    world.settle()
    chosen = parameters(world)
    world.rows.clear()
    world.experiment_rows.clear()
    world.settle()
    assert parameters(world) == chosen


def test_parameters_that_the_training_adds_are_not_taken_for_chosen_ones() -> None:
    world = World(manifest(parameters=OPTUNA, objective=LOSS))
    world.settle()
    [(id_, row)] = world.rows.items()
    row.parameters["joined"] = 1
    world.rows[id_] = row
    job = world.job(0)
    job["metadata"]["annotations"] = {}
    world.touch(job)
    world.restart_operator()
    world.settle()
    assert world.condition(RUNNING) == ("False", "Starting")


def test_optuna_without_an_objective_is_refused_by_name() -> None:
    world = World(manifest(parameters=OPTUNA))
    world.settle()
    assert world.condition(ACCEPTED) == ("False", "InvalidParameters")
    assert "needs spec.objective" in world.message(ACCEPTED)


def test_early_stopping_without_an_objective_is_refused_by_name() -> None:
    world = World(manifest(parameters=GRID, earlyStopping={}))
    world.settle()
    assert world.condition(ACCEPTED) == ("False", "InvalidParameters")
    assert "spec.earlyStopping needs spec.objective" in world.message(ACCEPTED)


# --- failures


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_after_too_many_failures_no_iteration_begins(allowed: int) -> None:
    world = World(manifest(parameters=GRID, maxFailedIterations=allowed))
    world.settle()
    for index in range(allowed + 1):
        assert world.open_jobs() == [index]
        run(world, index, exit_code=3)
    assert world.open_jobs() == []
    assert world.condition(SUCCEEDED) == ("False", "TooManyFailures")
    assert "spec.maxFailedIterations" in world.message(SUCCEEDED)
    assert "exit code 3" in world.message(SUCCEEDED)
    assert world.condition(RUNNING) == ("False", "Finished")
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    counts = world.status.iterations
    assert (counts.failed, counts.skipped, counts.synced) == (allowed + 1, 5 - allowed, allowed + 1)
    assert counts.skipped_indexes == (f"{allowed + 1}-5")
    states = [row.state for row in sorted(world.rows.values(), key=lambda row: row.index)]
    assert states == [IterationState.FAILED] * (allowed + 1) + [IterationState.KILLED] * (5 - allowed)
    writes = list(world.writes)
    world.restart_operator()
    assert world.look() is None
    assert world.writes == writes


def test_those_that_run_beside_too_many_failures_go_on_to_their_end() -> None:
    world = World(manifest(parameters=GRID, parallelism=3, maxFailedIterations=0))
    world.settle()
    run(world, 1, exit_code=1)
    assert world.open_jobs() == [0, 2]
    assert world.condition(SUCCEEDED) == ("Unknown", "InProgress")
    assert world.status.iterations.skipped_indexes == "3-5"
    world.edit(suspend=True)
    world.settle()
    assert world.open_jobs() == []
    world.edit(suspend=False, parallelism=6)
    world.settle()
    assert world.open_jobs() == [0, 2]
    run(world, 0)
    run(world, 2)
    assert world.condition(SUCCEEDED) == ("False", "TooManyFailures")
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_failures_that_were_all_started_are_no_reason_to_give_up() -> None:
    world = World(manifest(parameters={"grid": {"n": [0, 1]}}, parallelism=2, maxFailedIterations=0))
    world.settle()
    run(world, 0, exit_code=1)
    run(world, 1)
    assert world.condition(SUCCEEDED) == ("False", "IterationsFailed")


def test_raising_the_limit_in_time_lets_the_sweep_go_on_and_too_late_does_not() -> None:
    world = World(manifest(parameters=GRID, maxFailedIterations=1))
    world.settle()
    run(world, 0, exit_code=1)
    world.edit(maxFailedIterations=2)
    run(world, 1, exit_code=1)
    assert world.open_jobs() == [2]
    run(world, 2, exit_code=1)
    assert world.condition(SUCCEEDED) == ("False", "TooManyFailures")
    world.edit(maxFailedIterations=5)
    world.settle()
    assert world.open_jobs() == []


# --- the target


def test_the_target_ends_the_sweep_and_names_the_iteration_and_its_value() -> None:
    world = World(manifest(parameters=GRID, parallelism=2, objective={**LOSS, "target": 0.1}))
    world.settle()
    other, winner = (world.start_pod(index) for index in (0, 1))
    world.settle()
    for pod in (other, winner):
        world.write_file(pod)
    measure(world, 1, "loss", 0.05, 2.0)
    world.settle()
    assert world.open_jobs() == [1]
    assert "target" in world.job(0)["metadata"]["annotations"]["pinnace.dev/stopped"]
    assert "pinnace.dev/stopped" not in world.job(1)["metadata"].get("annotations", {})
    assert world.condition(SUCCEEDED) == ("Unknown", "InProgress")
    assert "iteration 1 reached the target with loss = 0.05" in world.message(SUCCEEDED)
    world.drain_pod(other)
    world.settle()
    assert world.condition(SYNCED)[0] == "False"
    world.write_file(winner)
    world.end_pod(winner)
    world.settle()
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")
    assert "iteration 1 reached the target with loss = 0.05" in world.message(SUCCEEDED)
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    assert world.everything_is_ashore
    counts = world.status.iterations
    assert (counts.stopped_indexes, counts.succeeded_indexes, counts.skipped_indexes) == ("0", "1", "2-5")
    assert (counts.synced_indexes, counts.target_iteration, counts.target_value) == ("0-1", 1, "0.05")
    succeeded = [row.index for row in world.rows.values() if row.state is IterationState.SUCCEEDED]
    assert succeeded == [1]
    assert {row.state for row in world.rows.values() if row.index != 1} == {IterationState.KILLED}
    assert world.status.done


def test_a_target_that_was_reached_stays_reached_whatever_is_edited() -> None:
    world = World(manifest(parameters=GRID, parallelism=2, objective={**LOSS, "target": 0.1}))
    world.settle()
    other, winner = (world.start_pod(index) for index in (0, 1))
    world.settle()
    measure(world, 1, "loss", 0.05, 2.0)
    world.settle()
    measure(world, 1, "loss", 1.0, 2.0)
    world.edit(objective=LOSS, suspend=False, parallelism=6)
    world.restart_operator()
    world.settle()
    assert world.open_jobs() == [1]
    world.drain_pod(other)
    world.end_pod(winner)
    world.settle()
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")


def test_a_stopped_iteration_that_did_not_ship_everything_is_unproven() -> None:
    world = World(manifest(parameters=GRID, parallelism=2, objective={**LOSS, "target": 0.1}))
    world.settle()
    other, winner = (world.start_pod(index) for index in (0, 1))
    world.settle()
    world.write_file(other)
    measure(world, 1, "loss", 0.05, 2.0)
    world.settle()
    world.drain_pod(other, proven=False)
    world.end_pod(winner)
    world.settle()
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")
    assert world.condition(SYNCED) == ("False", "Unproven")


def test_one_that_reached_the_target_and_then_failed_has_reached_it() -> None:
    world = World(manifest(parameters=GRID, objective={**LOSS, "target": 0.1}))
    world.settle()
    run(world, 0, exit_code=1, loss=0.05)
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")
    assert world.open_jobs() == []


def test_the_last_of_all_reaching_the_target_by_itself_is_reached_too() -> None:
    world = World(manifest(parameters={"grid": {"n": [0]}}, objective={**LOSS, "target": 0.1}))
    world.settle()
    run(world, 0, loss=0.01)
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")
    assert world.status.iterations.succeeded_indexes == "0"


def test_a_suspended_sweep_that_reached_its_target_ends_with_the_one_that_reached_it() -> None:
    world = World(manifest(parameters=GRID, objective={**LOSS, "target": 0.1}))
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.edit(suspend=True)
    world.settle()
    world.drain_pod(pod)
    measure(world, 0, "loss", 0.05, 2.0)
    world.settle()
    assert world.condition(SUCCEEDED) == ("Unknown", "InProgress")
    world.edit(suspend=False)
    world.settle()
    run(world, 0)
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_a_target_with_the_api_away_is_not_forgotten_and_starts_nothing() -> None:
    world = World(manifest(parameters=GRID, parallelism=2, objective={**LOSS, "target": 0.1}))
    world.settle()
    other = world.start_pod(1)
    world.settle()
    measure(world, 0, "loss", 0.05, 2.0)
    world.settle()
    world.drain_pod(other)
    world.api_is_up = False
    world.restart_operator()
    world.settle()
    assert world.open_jobs() == [0]
    world.api_is_up = True
    world.settle()
    assert len(world.jobs_by_name) == 2


def test_a_job_that_the_watch_has_not_shown_yet_is_not_taken_for_skipped() -> None:
    world = World(manifest(parameters={"grid": {"n": [0, 1]}}, objective={**LOSS, "target": 0.1}))
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.end_pod(pod)
    world.reconciliation.look(world.experiment, world.memory)
    world.look()
    assert len(world.jobs_by_name) == 2
    measure(world, 0, "loss", 0.05, 2.0)
    # No watch has told of the second Job; what the API server answered has.
    world.reconciliation.look(world.experiment, world.memory)
    assert world.status.iterations.skipped_indexes == ""
    assert not world.status.done


def test_a_pod_that_was_suspended_unproven_is_not_forgotten_by_an_operator_that_starts_again() -> None:
    world = World(manifest())
    world.settle()
    first = world.start_pod(0)
    world.settle()
    world.write_file(first)
    world.edit(suspend=True)
    world.settle()
    world.api_is_up = False
    world.drain_pod(first)
    world.restart_operator()
    world.api_is_up = True
    world.edit(suspend=False)
    world.settle()
    run(world, 0)
    assert world.condition(SYNCED) == ("False", "Unproven")


def queued(**spec: Any) -> World:
    """The queue has let in the Job of iteration 0, which has a pod, and holds back another one."""
    body = manifest(parameters=GRID, parallelism=3, **spec)
    body["spec"]["template"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
    world = World(body)
    world.settle()
    world.hold(2)
    world.start_pod(0)
    world.settle()
    return world


def test_what_a_queue_let_in_and_what_it_holds_back_is_stopped_when_the_target_is_reached() -> None:
    world = queued(objective={**LOSS, "target": 0.1}, ttlSecondsAfterFinished=60)
    let_in = world.start_pod(1)
    world.settle()
    measure(world, 0, "loss", 0.05, 2.0)
    world.settle()
    assert world.status.iterations.stopped_indexes == "2"
    world.let_in(2)
    assert world.vacancies() == []
    world.drain_pod(let_in)
    [winner] = [uid for uid, pod in world.pods_by_name.items() if pod["status"]["phase"] == "Running"]
    world.end_pod(winner)
    world.settle()
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    counts = world.status.iterations
    assert (counts.succeeded_indexes, counts.stopped_indexes, counts.skipped_indexes) == ("0", "1-2", "3-5")
    world.pass_time(60)
    assert world.expire_jobs() == [0, 1, 2]


def test_what_a_queue_holds_back_never_begins_once_too_many_have_failed_and_what_had_begun_goes_on() -> None:
    world = queued(maxFailedIterations=0)
    begun = world.start_pod(1)
    world.settle()
    world.hold(1)
    world.drain_pod(begun)
    world.settle()
    [pod] = [uid for uid, pod in world.pods_by_name.items() if pod["status"]["phase"] == "Running"]
    world.end_pod(pod, exit_code=1)
    world.settle()
    counts = world.status.iterations
    assert (counts.failed_indexes, counts.stopped_indexes, counts.skipped_indexes) == ("0", "2", "3-5")
    assert "a queue held it" in world.job(2)["metadata"]["annotations"]["pinnace.dev/stopped"]
    world.let_in(1)
    run(world, 1)
    assert world.condition(SUCCEEDED) == ("False", "TooManyFailures")
    assert world.status.done


def test_an_experiment_with_stopped_iterations_and_a_time_to_live_comes_to_rest() -> None:
    spec: dict[str, Any] = {"parameters": GRID, "parallelism": 2, "objective": {**LOSS, "target": 0.1}}
    world = World(manifest(**spec, ttlSecondsAfterFinished=0))
    world.settle()
    other, winner = (world.start_pod(index) for index in (0, 1))
    world.settle()
    measure(world, 1, "loss", 0.05, 2.0)
    world.settle()
    world.drain_pod(other)
    world.end_pod(winner)
    world.settle()
    assert world.status.done
    assert world.look() is None


# --- early stopping

MEDIAN: dict[str, Any] = {
    "parameters": GRID,
    "parallelism": 6,
    "objective": LOSS,
    "earlyStopping": {"minIterations": 3},
}


def six_running(**spec: Any) -> tuple[World, list[str]]:
    world = World(manifest(**{**MEDIAN, **spec}))
    world.settle()
    pods = [world.start_pod(index) for index in range(6)]
    world.settle()
    return world, pods


def test_a_hopeless_iteration_is_stopped_for_good_and_proven() -> None:
    world, pods = six_running()
    for index in range(5):
        measure_at(world, index, "loss", 10, 0.1 * index)
    measure_at(world, 5, "loss", 9, 7.0)
    world.pass_time(6)
    world.settle()
    # At step 10 the fourth and fifth are worse than the median of the others, and at step 9 nobody else was measured.
    stopped = [index for index in range(6) if index not in world.open_jobs()]
    assert stopped == [3, 4]
    assert "spec.earlyStopping: loss is 0.4" in world.job(4)["metadata"]["annotations"]["pinnace.dev/stopped"]
    for index in stopped:
        world.write_file(pods[index])
        world.drain_pod(pods[index])
    world.edit(parallelism=1, suspend=True)
    world.settle()
    others = sorted(set(range(6)) - set(stopped))
    for index in others:
        world.drain_pod(pods[index])
    world.edit(parallelism=6, suspend=False)
    world.restart_operator()
    world.settle()
    assert [index for index in range(6) if index not in world.open_jobs()] == stopped
    for index in others:
        world.end_pod(world.start_pod(index))
    world.settle()
    assert world.condition(SUCCEEDED) == ("True", "NoneFailed")
    assert "2 were stopped early" in world.message(SUCCEEDED)
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    counts = world.status.iterations
    assert (counts.stopped, counts.stopped_indexes, counts.succeeded) == (2, "3-4", 4)
    killed = {row.index for row in world.rows.values() if row.state is IterationState.KILLED}
    assert killed == {3, 4}


def test_nothing_is_stopped_during_the_warm_up_or_among_too_few() -> None:
    for rule in ({"minIterations": 3, "warmupSteps": 11}, {"minIterations": 6}):
        world, _ = six_running(earlyStopping=rule)
        for index in range(6):
            measure_at(world, index, "loss", 10, float(index))
        world.pass_time(6)
        world.settle()
        assert world.open_jobs() == [0, 1, 2, 3, 4, 5]
        assert world.curve_requests == 0


def test_curves_are_asked_for_once_a_poll_at_most_and_only_for_news() -> None:
    world, _ = six_running(earlyStopping={"minIterations": 3})
    for index in range(5):
        measure_at(world, index, "loss", 10, 0.2)
    measure_at(world, 5, "loss", 10, 0.1)
    measure_at(world, 5, "loss", 11, 0.1)
    measure_at(world, 0, "loss", 20, 0.01)
    world.pass_time(6)
    for _ in range(5):
        world.look()
    before = world.curve_requests
    assert before <= 1
    for _ in range(5):
        world.pass_time(6)
        world.look()
    assert world.curve_requests == before


def test_a_stopped_job_that_somebody_resumes_is_stopped_again() -> None:
    world, _ = six_running()
    for index in range(6):
        measure_at(world, index, "loss", 10, float(index))
    world.pass_time(6)
    world.settle()
    assert 5 not in world.open_jobs()
    job = world.job(5)
    job["spec"] |= {"completions": 1, "parallelism": 1}
    world.touch(job)
    assert 5 in world.open_jobs()
    world.settle()
    assert 5 not in world.open_jobs()


def test_a_stopped_iteration_whose_job_is_deleted_is_not_run_again() -> None:
    world, pods = six_running()
    for index in range(6):
        measure_at(world, index, "loss", 10, float(index))
    world.pass_time(6)
    world.settle()
    world.drain_pod(pods[5])
    world.settle()
    world.delete_job(5)
    world.restart_operator()
    world.settle()
    assert 5 not in world.open_jobs()
    assert 5 in world.status.stopped


def test_the_place_of_a_stopped_iteration_is_taken_by_the_next() -> None:
    world = World(manifest(**{**MEDIAN, "parallelism": 4}))
    world.settle()
    for index in range(4):
        world.start_pod(index)
    world.settle()
    for index in range(4):
        measure_at(world, index, "loss", 10, float(index))
    world.pass_time(6)
    world.settle()
    assert world.open_jobs() == [0, 1, 4, 5]
    assert world.most_active == 4


def test_the_best_iteration_stays_true_when_others_are_stopped() -> None:
    world, _ = six_running()
    for index in range(6):
        measure_at(world, index, "loss", 10, float(index))
    world.pass_time(6)
    world.settle()
    assert (world.status.iterations.best_iteration, world.status.iterations.best_value) == (0, "0")


# --- with restarts of the operator between any two requests


@pytest.mark.parametrize("survives", range(12))
def test_a_crash_after_any_request_changes_nothing_in_the_end(survives: int) -> None:
    body = manifest(parameters=OPTUNA, objective={**LOSS, "target": 0.1}, parallelism=2, maxFailedIterations=1)
    world = World(body)
    ran: dict[int, str] = {}
    crashed = 0
    for step in range(60):
        world.crash_after = survives if step % 3 == 0 else None
        try:
            world.settle()
        except Crash:
            crashed += 1
            world.restart_operator()
        world.crash_after = None
        for index in world.open_jobs():
            annotation = world.job(index)["metadata"]["annotations"]["pinnace.dev/parameters"]
            assert ran.setdefault(index, annotation) == annotation
            pods = [uid for uid, pod in world.pods_by_name.items() if pod["status"]["phase"] == "Running"]
            if len(pods) < 2 and index not in {world.index_of(uid) for uid in pods}:
                world.start_pod(index)
        for uid in [uid for uid, pod in world.pods_by_name.items() if pod["status"]["phase"] == "Running"]:
            index = world.index_of(uid)
            if world.is_halted(index):
                world.drain_pod(uid)
            elif world.rows:
                world.write_file(uid)
                measure(world, index, "loss", 0.5 / (index + 1), 1.0)
                if index < 3 or world.status.iterations.target_iteration == index:
                    world.end_pod(uid)
    world.settle()
    assert crashed or survives > 3
    assert world.condition(SUCCEEDED) == ("True", "TargetReached")
    assert world.status.done
    assert world.everything_is_ashore
