"""What `kubectl pinnace status` says, on a world in which the operator itself has worked."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinnace.cli.kubectl.tree import age, lines
from pinnace.kubectl.objects import Experiment, Job, Pod, indexes
from pinnace.kubectl.standing import ExperimentStanding, Rows, Stage, standing
from pinnace.records import FileState, Problem
from support.operator_world import START, World, manifest, measure_at

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "kubectl.md"
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
GRID = {"grid": {"lr": [0.1, 0.01], "depth": [3, 5]}}


def world(**spec: Any) -> World:
    made = World(manifest("iris-sweep", **{"project": "iris", "parameters": GRID, "parallelism": 2, **spec}))
    made.settle()
    return made


def seen(of: World, *, api: bool = True) -> ExperimentStanding:
    rows = (
        Rows(iterations=tuple(of.rows.values()), pods=tuple(of.standings.values())) if api else Rows(missing="no API")
    )
    return standing(
        msgspec.convert(of.body, Experiment),
        [msgspec.convert(job, Job) for job in of.jobs_by_name.values()],
        [msgspec.convert(pod, Pod) for pod in of.pods_by_name.values()],
        rows,
    )


def text(of: World, *, api: bool = True, limit: int = 0) -> str:
    return "\n".join(lines(seen(of, api=api), of.now, limit=limit))


def stages(of: World) -> list[Stage]:
    return [iteration.stage for iteration in seen(of).iterations]


def finish(of: World, index: int, **ending: Any) -> str:
    pod = of.start_pod(index)
    of.write_file(pod)
    of.settle()
    of.ship(pod)
    of.end_pod(pod, **ending)
    of.settle()
    return pod


def training(**state: Any) -> dict[str, Any]:
    """A status of the training's container."""
    return {"name": "train", "state": state}


def test_iterations_have_the_stage_that_a_person_would_call_it() -> None:
    of = world()
    assert stages(of) == [Stage.STARTING, Stage.STARTING, Stage.WAITING, Stage.WAITING]
    finish(of, 0)
    pod = of.start_pod(1)
    of.settle()
    assert stages(of) == [Stage.SUCCEEDED, Stage.RUNNING, Stage.STARTING, Stage.WAITING]
    of.pods_by_name[pod]["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 0}}
    assert stages(of)[1] is Stage.DRAINING
    of.end_pod(pod, exit_code=3)
    of.settle()
    assert stages(of)[1] is Stage.FAILED


def test_a_suspended_experiment_is_told_from_a_queued_one() -> None:
    of = world()
    of.edit(suspend=True)
    of.settle()
    assert set(stages(of)[:2]) == {Stage.SUSPENDED}
    assert seen(of).suspended
    assert "something else than Pinnace" not in text(of)
    of.edit(suspend=False)
    of.settle()
    of.job(0)["spec"]["suspend"] = True
    assert "! its Job is suspended by something else than Pinnace" in text(of)


def test_a_target_leaves_iterations_that_were_stopped_and_some_that_never_began() -> None:
    of = world(objective={"metric": "loss", "goal": "Minimize", "target": 0.1})
    other, winner = (of.start_pod(index) for index in (0, 1))
    of.settle()
    measure_at(of, 1, "loss", 1, 0.05)
    of.settle()
    of.drain_pod(other)
    of.end_pod(winner)
    of.settle()
    assert stages(of) == [Stage.STOPPED, Stage.SUCCEEDED, Stage.SKIPPED, Stage.SKIPPED]
    assert "0  stopped, all ashore" in text(of)
    assert "2  skipped" in text(of)


def test_a_rescue_is_not_taken_for_the_iteration_that_it_ships_the_rest_of() -> None:
    of = world(
        parameters={"list": [{}]}, backoffLimit=0, artifacts={"volume": {"persistentVolumeClaim": {"size": "50Gi"}}}
    )
    pod = of.start_pod(0)
    of.settle()
    of.write_file(pod)
    of.end_pod(pod, exit_code=1, proven=False)
    of.settle()
    assert of.open_rescues == [pod]
    [iteration] = seen(of).iterations
    assert iteration.stage is Stage.FAILED
    assert [each.uid for each in iteration.pods] == [pod]
    assert "Rescuing" in text(of)


def test_only_what_the_operator_has_proven_is_called_ashore() -> None:
    of = world()
    finish(of, 0)
    finish(of, 1, proven=False)
    first, second = seen(of).iterations[:2]
    assert (first.synced, second.synced) == (True, False)
    said = text(of)
    assert "0  succeeded, all ashore" in said
    assert "1  succeeded, not all ashore" in said
    assert "! it ended without a final report of its sidecar" in said


def test_files_of_a_running_pod_come_from_the_api_and_without_it_the_pod_is_still_shown() -> None:
    of = world()
    pod = of.start_pod(0)
    of.settle()
    of.write_file(pod)
    of.ship(pod, Problem(reason="AccessDenied", message="the key may not write: grant s3:PutObject", files=1))
    (state,) = seen(of).iterations[0].pods
    assert state.files == {FileState.RECORDED: 0, FileState.BUFFERED: 1}
    assert state.troubles == ("AccessDenied: the key may not write: grant s3:PutObject (1 file)",)
    (state,) = seen(of, api=False).iterations[0].pods
    assert (state.files, state.phase) == (None, "Running")
    assert text(of, api=False).endswith("\nNote: no API")


def test_a_pod_that_has_ended_speaks_for_itself_without_the_api() -> None:
    of = world()
    finish(of, 0)
    (state,) = seen(of, api=False).iterations[0].pods
    assert state.final
    assert state.files is not None
    assert state.files[FileState.RECORDED] == 1


def test_a_pod_that_only_the_api_knows_is_not_forgotten() -> None:
    of = world()
    pod = finish(of, 0)
    del of.pods_by_name[pod]
    (state,) = seen(of).iterations[0].pods
    assert (state.phase, state.uid, state.troubles) == ("Gone", pod, ())


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            {"conditions": [UNSCHEDULABLE]},
            "finds no node: 0/3 nodes",
        ),
        (
            {"containerStatuses": [training(waiting={"reason": "ImagePullBackOff", "message": "no"})]},
            "container train waits: ImagePullBackOff: no",
        ),
        (
            {"containerStatuses": [training(terminated={"exitCode": 137, "reason": "OOMKilled"})]},
            "container train ended with exit code 137 (OOMKilled)",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "the node was low on disk"}, "Evicted: the node was low"),
    ],
    ids=["no node", "image", "memory", "evicted"],
)
def test_what_holds_a_pod_up_stands_below_it(status: dict[str, Any], said: str) -> None:
    of = world()
    pod = of.start_pod(0)
    of.pods_by_name[pod]["status"] = {"phase": "Pending", **status}
    assert f"│     ! {said}" in text(of)


def test_a_container_that_is_being_made_is_no_trouble() -> None:
    of = world()
    pod = of.start_pod(0)
    waiting = training(waiting={"reason": "PodInitializing"})
    of.pods_by_name[pod]["status"] = {"phase": "Pending", "containerStatuses": [waiting]}
    assert seen(of).iterations[0].pods[0].troubles == ()


def test_parameters_come_from_the_job_and_else_from_the_api() -> None:
    of = world(parameters={"list": [{"cost": "5$"}, {"cost": "$(HOME)"}]})
    assert [iteration.parameters for iteration in seen(of, api=False).iterations] == [
        {"cost": "5$"},
        {"cost": "$(HOME)"},
    ]
    of.jobs_by_name.clear()
    assert [iteration.parameters for iteration in seen(of).iterations] == [{"cost": "5$"}, {"cost": "$(HOME)"}]
    assert [iteration.parameters for iteration in seen(of, api=False).iterations] == [None, None]


def test_where_not_all_are_shown_those_that_need_a_person_come_first() -> None:
    of = world(parameters={"list": [{"seed": seed} for seed in range(12)]}, parallelism=12)
    for index in range(10):
        finish(of, index, exit_code=1 if index == 7 else 0)
    of.start_pod(11)
    said = text(of, limit=3)
    shown = [line.split()[1] for line in said.splitlines() if line.startswith(("├─", "└─"))]
    assert shown == ["7", "10", "11"]
    assert "… and 9 more (9 succeeded): --limit 0 shows all" in said


def test_names_that_others_chose_can_not_move_the_cursor() -> None:
    of = world(parameters={"list": [{"note": "\x1b[2Jgone"}]})
    assert "\x1b" not in text(of)
    assert "\\x1b[2Jgone" in text(of)


def test_an_experiment_that_no_operator_has_seen_says_so() -> None:
    bare = manifest("unseen")
    found = standing(msgspec.convert(bare, Experiment), [], [], Rows())
    assert "has an operator seen it?" in "\n".join(lines(found, START, limit=0))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (-5, "0s"),
    ],
)
def test_ages_are_written_as_kubectl_does(seconds: int, said: str) -> None:
    assert age(seconds) == said


@pytest.mark.parametrize(("text", "said"), [("", set()), ("0-2,7", {0, 1, 2, 7}), ("5", {5}), ("x,3-y,4", {4})])
def test_sets_of_indexes_are_read_leniently(text: str, said: set[int]) -> None:
    assert indexes(text) == said


def test_the_page_shows_what_the_command_writes() -> None:
    of = world(objective={"metric": "accuracy", "goal": "Maximize"})
    finish(of, 0)
    of.pass_time(60)
    stuck = of.start_pod(1)
    of.settle()
    for _ in range(2):
        of.write_file(stuck)
    of.ship(stuck, Problem(reason="AccessDenied", message="the key may not write to the bucket", files=2))
    waiting = of.start_pod(2)
    of.pods_by_name[waiting]["status"] = {
        "phase": "Pending",
        "containerStatuses": [training(waiting={"reason": "ImagePullBackOff", "message": "no such image"})],
    }
    of.settle()
    of.pass_time(150)
    said = "\n".join(line.rstrip() for line in text(of).splitlines())
    assert f"```\n$ kubectl pinnace status iris-sweep -n team-a\n{said}\n```" in PAGE.read_text(), said
