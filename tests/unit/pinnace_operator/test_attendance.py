"""Who is looked at and when: one at a time, coalesced, and nobody for nothing."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from pinnace_operator.attendance import Attendance
from pinnace_operator.experiment import Experiment
from pinnace_operator.reconcile import Memory
from support.operator_world import UID, manifest

PATIENCE_S = 10


class Looks:
    """Stands for the reconciliation: notes each look, and lets the test decide when it ends and what it says."""

    def __init__(self, pause: float | None = None) -> None:
        self.pause = pause
        self.generations: list[int] = []
        self.memories: list[Memory] = []
        self.at_once = self.most_at_once = 0
        self.failing = False
        self.gate = threading.Event()
        self.gate.set()
        self._changed = threading.Condition()

    def look(self, experiment: Experiment, memory: Memory) -> float | None:
        with self._changed:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.generations.append(experiment.metadata.generation)
            self.memories.append(memory)
            self._changed.notify_all()
        self.gate.wait(PATIENCE_S)
        with self._changed:
            self.at_once -= 1
            self._changed.notify_all()
        if self.failing:
            raise RuntimeError("a defect")
        return self.pause

    async def begun(self, number: int) -> None:
        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self.generations) >= number, PATIENCE_S)

        assert await asyncio.to_thread(wait), f"{len(self.generations)} looks instead of {number}"


def body(generation: int, uid: str = UID, version: int = 0, status: dict[str, Any] | None = None) -> dict[str, Any]:
    found = manifest()
    found["metadata"] |= {"generation": generation, "uid": uid, "resourceVersion": str(version or generation)}
    return found | ({"status": status} if status else {})


def run(looks: Looks, scenario: Callable[[Attendance], Awaitable[None]]) -> None:
    async def main() -> None:
        attendance = Attendance(looks, breath=0)
        try:
            await scenario(attendance)
        finally:
            looks.gate.set()
            await attendance.close()

    asyncio.run(main())


def test_an_experiment_is_looked_at_when_it_is_seen() -> None:
    looks = Looks()

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        await looks.begun(1)

    run(looks, scenario)
    assert looks.generations[0] == 1


def test_events_during_a_look_are_answered_by_one_more_look_at_the_newest() -> None:
    looks = Looks()
    looks.gate.clear()

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        await looks.begun(1)
        for generation in range(2, 50):
            attendance.see_experiment(body(generation))
        looks.gate.set()
        await looks.begun(2)

    run(looks, scenario)
    assert looks.generations == [1, 49]
    assert looks.most_at_once == 1


def test_an_older_event_that_comes_late_is_not_believed() -> None:
    looks = Looks()

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(5))
        attendance.see_experiment(body(4))
        await looks.begun(1)

    run(looks, scenario)
    assert set(looks.generations) == {5}


def test_the_timer_wakes_it_without_any_event() -> None:
    looks = Looks(pause=0.01)

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        await looks.begun(4)

    run(looks, scenario)
    assert len({id(memory) for memory in looks.memories}) == 1


def test_two_experiments_do_not_wait_for_each_other() -> None:
    looks = Looks()
    looks.gate.clear()

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        attendance.see_experiment(body(1, uid=UID.replace("3f", "4f")))
        await looks.begun(2)

    run(looks, scenario)
    assert looks.most_at_once == 2


def test_a_finished_experiment_is_let_go_of() -> None:
    looks = Looks()
    done = {
        "iterations": {"total": 1, "succeeded": 1},
        "conditions": [
            {
                "type": "ArtifactsSynced",
                "status": "True",
                "reason": "AllRecorded",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "observedGeneration": 1,
            }
        ],
    }

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1, status=done))
        await looks.begun(1)
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("attend")]
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
        assert len(attendance) == 0

    run(looks, scenario)


def test_a_deleted_experiment_is_forgotten() -> None:
    looks = Looks()

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        await looks.begun(1)
        attendance.see_experiment(body(1), deleted=True)
        assert len(attendance) == 0

    run(looks, scenario)


def test_a_defect_in_a_look_does_not_end_the_attendance() -> None:
    looks = Looks()
    looks.failing = True

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        await looks.begun(1)
        attendance.see_experiment(body(2))
        await looks.begun(2)

    run(looks, scenario)


def labelled(namespace: str, uid: str) -> dict[str, Any]:
    """A Job or pod whose labels name the Experiment."""
    labels = {"pinnace.dev/experiment-id": UID, "pinnace.dev/iteration": "0"}
    return {
        "metadata": {
            "name": "sweep-0",
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": "7",
            "labels": labels,
        }
    }


def test_jobs_and_pods_wake_the_experiment_that_they_belong_to_and_no_other() -> None:
    looks = Looks()
    job = labelled("team-a", "j")

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        await looks.begun(1)
        before = len(looks.generations)
        attendance.see_job({"metadata": {"name": "x", "labels": {"pinnace.dev/experiment-id": "another"}}})
        attendance.see_pod({"metadata": {"name": "x"}})
        attendance.see_job(job)
        await looks.begun(before + 1)

    run(looks, scenario)
    assert looks.memories[0].sightings.jobs()[0].uid == "j"


def test_whoever_knows_an_experiments_id_can_not_give_it_jobs_and_pods_from_another_namespace() -> None:
    looks = Looks()
    stranger = labelled("team-b", "stranger")

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(body(1))
        await looks.begun(1)
        done = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}
        attendance.see_job(stranger | {"status": done})
        attendance.see_pod(stranger | {"status": {"phase": "Succeeded"}})

    run(looks, scenario)
    assert looks.memories[0].sightings.jobs() == {}
    assert looks.memories[0].sightings.pods() == ()


def test_a_manifest_of_another_version_is_left_alone() -> None:
    looks = Looks()
    broken = body(1)
    broken["spec"]["parallelism"] = "many"

    async def scenario(attendance: Attendance) -> None:
        attendance.see_experiment(broken)
        assert len(attendance) == 0

    run(looks, scenario)
    assert looks.generations == []
