"""The judge of the chaos on the cluster: it is content with a world in order, and finds each planted violation."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from pinnace.ids import iteration_id, object_key
from pinnace.records import FileState, Iteration, IterationState, MetricPoint, PodStanding
from support.chaos_schedule import ENDING, Fault, Trial, schedule
from support.chaos_verdict import Condition, Seen, World, upload_name, verdict
from support.chaos_writing import METRICS, PROGRAM, Told, content, loss, metrics_content, told
from support.samples import artifact, report

EXPERIMENT = UUID(int=7)
ITERATION = iteration_id(EXPERIMENT, 0)
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
TRIAL = Trial(
    name="trial-0", starts_at=0, iterations=1, parallelism=1, small_files=2, big_mib=0, seconds=3, exit_code=0
)
SILENCED = {"uid-of-trial-0-a": frozenset({Fault.POD_DELETED_AT_ONCE})}


def pod(name: str, *, ended: int | None = 0) -> Told:
    """One that completed two files and its metrics of three steps."""
    one = Told(pod=name, uid=f"uid-of-{name}", namespace="chaos-1-0", iteration=str(ITERATION), experiment="trial-0")
    for path, size in (("renamed/0.bin", 40), ("plain/1.bin", 940)):
        one.begun[path] = size
        one.completed[path] = hashlib.sha256(content(one.uid, path, size)).hexdigest()
    one.steps, one.ended = 3, ended
    one.completed[METRICS] = hashlib.sha256(metrics_content(one.uid, 3)).hexdigest()
    return one


def written(one: Told) -> dict[str, bytes]:
    return {path: content(one.uid, path, size) for path, size in one.begun.items()} | {
        METRICS: metrics_content(one.uid, 3)
    }


def rows(one: Told, **fields: Any) -> list[Any]:
    return [
        artifact(ITERATION, path, body, **{"pod_uid": one.uid, "recorded_at": MOMENT, **fields})
        for path, body in written(one).items()
    ]


def standing(one: Told, *, final: bool = True, **fields: Any) -> PodStanding:
    last = report(ITERATION, one.uid, 9, *rows(one), final=final, **fields)
    return PodStanding(
        iteration_id=ITERATION,
        pod_uid=one.uid,
        report=last,
        recorded=last.manifest,
        bytes_recorded=0,
        reported_at=MOMENT,
    )


def points(one: Told) -> list[MetricPoint]:
    return [MetricPoint(key="loss", step=step, value=loss(one.uid, step)) for step in range(3)]


def condition(type_: str, status: str, reason: str, message: str = "") -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message, since=MOMENT + timedelta(seconds=1))


def conditions(*changed: Condition) -> dict[str, Condition]:
    good = (
        condition("Accepted", "True", "Accepted"),
        condition("Running", "False", "Finished"),
        condition("Succeeded", "True", "AllSucceeded"),
        condition("ArtifactsSynced", "True", "AllRecorded"),
    )
    return {one.type: one for one in (*good, *changed)}


def iteration(state: IterationState) -> Iteration:
    return Iteration(
        id=ITERATION,
        experiment_id=EXPERIMENT,
        index=0,
        parameters={},
        state=state,
        started_at=None,
        ended_at=None,
        metrics={},
    )


def in_order() -> Seen:
    one = pod("trial-0-a")
    return Seen(
        trial=TRIAL,
        pods=[one],
        conditions=conditions(),
        synced_history=["Unknown", "False", "True"],
        iterations=[iteration(IterationState.SUCCEEDED)],
        rows=rows(one),
        standings=[standing(one)],
        points={str(ITERATION): points(one)},
        jobs={"trial-0-0": "Complete"},
    )


def after_a_silenced_pod() -> Seen:
    """A pod that was deleted at once, and the one after it, which came to its last word."""
    first, second = pod("trial-0-a", ended=None), pod("trial-0-b")
    unproven = condition("ArtifactsSynced", "False", "Unproven", "iteration 0: pod trial-0-a ended without …")
    return replace(
        in_order(),
        pods=[first, second],
        conditions=conditions(unproven),
        synced_history=["Unknown", "False"],
        rows=[*rows(second), rows(first)[0]],
        standings=[standing(first, final=False), standing(second)],
        points={str(ITERATION): points(second)},
    )


def world(seen: Seen, **fields: Any) -> World:
    objects = {row.location.key: (row.sha256, row.size) for row in seen.rows}
    return World(**{"bucket": "pinnace", "objects": objects, **fields})


def test_a_world_in_order_breaks_no_promise() -> None:
    seen = in_order()
    assert verdict([seen], world(seen), {}) == []


def test_a_pod_that_was_silenced_may_miss_files_as_long_as_it_is_said() -> None:
    seen = after_a_silenced_pod()
    [missing, *_] = [row for row in rows(seen.pods[0]) if row not in seen.rows]
    sent = {object_key("", missing.id): (missing.sha256, missing.size)}
    there = world(seen, uploads=[upload_name("pinnace", object_key("", missing.id))])
    there = replace(there, objects={**there.objects, **sent})
    assert verdict([seen], there, SILENCED) == []


def test_what_a_silenced_pod_was_at_may_have_been_sent_as_far_as_it_came() -> None:
    seen = after_a_silenced_pod()
    silenced, second = seen.pods
    silenced.begun["plain/3.bin"] = 5000
    torn = [
        artifact(ITERATION, path, body)
        for path, body in (
            ("plain/3.bin", content(silenced.uid, "plain/3.bin", 5000)[:70]),
            (METRICS, metrics_content(silenced.uid, 2)),
        )
    ]
    objects = {row.location.key: (row.sha256, row.size) for row in (*seen.rows, *torn)}
    assert verdict([seen], world(seen, objects=objects), SILENCED) == []
    of_another = artifact(ITERATION, METRICS, metrics_content(second.uid, 2))
    objects[of_another.location.key] = (of_another.sha256, of_another.size)
    assert verdict([seen], world(seen, objects=objects), SILENCED) == [
        f"an object without a row: {of_another.location.key}"
    ]


def test_a_training_that_fails_as_it_was_told_to_is_in_order() -> None:
    seen = replace(
        in_order(),
        trial=replace(TRIAL, exit_code=3),
        conditions=conditions(condition("Succeeded", "False", "IterationsFailed")),
        iterations=[iteration(IterationState.FAILED)],
        jobs={"trial-0-0": "Failed"},
    )
    assert verdict([seen], world(seen), {}) == []


def test_a_file_that_was_torn_off_while_it_was_written_may_arrive() -> None:
    seen = in_order()
    seen.pods[0].begun["plain/3.bin"] = 5000
    torn = artifact(ITERATION, "plain/3.bin", content("uid-of-trial-0-a", "plain/3.bin", 5000)[:70], recorded_at=MOMENT)
    seen = replace(seen, rows=[*seen.rows, torn])
    assert verdict([seen], world(seen), {}) == []


def _changed(**fields: Any) -> Callable[[Seen], Seen]:
    return lambda seen: replace(seen, **fields)


def _more_rows(*more: Any) -> Callable[[Seen], Seen]:
    return lambda seen: replace(seen, rows=[*seen.rows, *more])


PLANTED: dict[str, tuple[Callable[[Seen], Seen], str]] = {
    "a file without a row": (lambda seen: replace(seen, rows=seen.rows[1:]), "lost: ['renamed/0.bin']"),
    "a row twice": (lambda seen: replace(seen, rows=[*seen.rows, seen.rows[0]]), "doubled: 2 rows of renamed/0.bin"),
    "a row that nobody wrote": (
        _more_rows(artifact(ITERATION, "plain/1.bin", b"other", recorded_at=MOMENT)),
        "nobody wrote this: plain/1.bin",
    ),
    "a part of a file that is renamed when it is whole": (
        _more_rows(
            artifact(ITERATION, "renamed/0.bin", content("uid-of-trial-0-a", "renamed/0.bin", 9), recorded_at=MOMENT),
        ),
        "a part of renamed/0.bin",
    ),
    "a pod without a last word": (
        _changed(standings=[standing(pod("trial-0-a"), final=False)]),
        "left no final report, and nothing was done to it that excuses that",
    ),
    "files that can't be shipped": (
        _changed(standings=[standing(pod("trial-0-a"), files={FileState.QUARANTINED: 1})]),
        "1 files of pod uid-of-trial-0-a were quarantined",
    ),
    "True before the last row": (
        _changed(
            rows=rows(pod("trial-0-a"), recorded_at=MOMENT + timedelta(seconds=9)),
        ),
        "ArtifactsSynced was True 8.0 s before the last row",
    ),
    "True and then something else": (
        _changed(synced_history=["Unknown", "True", "False", "True"]),
        "ArtifactsSynced was True and then something else",
    ),
    "a point twice": (
        _changed(points={str(ITERATION): points(pod("trial-0-a")) * 2}),
        "metric points that arrived more than once",
    ),
    "a point lost": (
        _changed(points={str(ITERATION): points(pod("trial-0-a"))[:-1]}),
        "metric points of pod trial-0-a are lost: steps [2]",
    ),
    "a point of nobody": (
        _changed(points={str(ITERATION): [*points(pod("trial-0-a")), MetricPoint(key="loss", step=1, value=0.5)]}),
        "metric points that nobody wrote",
    ),
    "Unproven although every pod spoke": (
        _changed(conditions=conditions(condition("ArtifactsSynced", "False", "Unproven"))),
        "ArtifactsSynced should be True AllRecorded and is False Unproven",
    ),
    "a success that is told as a failure": (
        _changed(conditions=conditions(condition("Succeeded", "False", "IterationsFailed"))),
        "Succeeded should be True AllSucceeded",
    ),
    "an end that never comes": (
        _changed(conditions=conditions(condition("Running", "True", "Running"))),
        "Running should be False Finished",
    ),
    "a condition that is not there": (_changed(conditions={}), "Accepted should be True  and is None"),
    "two Jobs of one iteration": (
        _changed(jobs={"trial-0-0": "Complete", "trial-0-0-again": "Complete"}),
        "1 Jobs should be Complete",
    ),
    "a Job without an end": (_changed(jobs={"trial-0-0": ""}), "1 Jobs should be Complete"),
    "an iteration without its state": (
        _changed(iterations=[iteration(IterationState.RUNNING)]),
        "1 iterations should be SUCCEEDED, and the API has ['RUNNING']",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name: str) -> None:
    plant, expected = PLANTED[name]
    seen = plant(in_order())
    found = verdict([seen], world(seen), {})
    assert any(expected in sentence for sentence in found), found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            _changed(conditions=conditions()),
            "ArtifactsSynced should be False Unproven and is True AllRecorded",
        ),
        (
            _changed(conditions=conditions(condition("ArtifactsSynced", "False", "Unproven", "something is missing"))),
            "Unproven does not say for which pod",
        ),
        (_changed(rows=rows(pod("trial-0-b"))[1:]), "lost: ['renamed/0.bin'] of pod trial-0-b"),
    ],
)
def test_a_silenced_pod_excuses_nothing_else(change: Callable[[Seen], Seen], expected: str) -> None:
    seen = change(after_a_silenced_pod())
    found = verdict([seen], world(seen), SILENCED)
    assert any(expected in sentence for sentence in found), found


@pytest.mark.parametrize("fault", sorted(ENDING - {Fault.POD_DELETED_AT_ONCE}))
def test_no_other_end_excuses_a_pod_without_a_last_word(fault: Fault) -> None:
    seen = after_a_silenced_pod()
    found = verdict([seen], world(seen), {"uid-of-trial-0-a": frozenset({fault})})
    assert any("pod trial-0-a left no final report" in sentence for sentence in found), found


def test_bytes_are_compared_and_leftovers_are_found() -> None:
    seen = in_order()
    there = world(seen)
    key = seen.rows[0].location.key
    other = replace(
        there,
        objects={**there.objects, key: ("0" * 64, 1), "00/stray": ("0" * 64, 1)},
        uploads=["f" * 64],
        stuck=["pod trial-0-a is Pending"],
    )
    assert verdict([seen], other, {}) == [
        f"trial-0: a row without its bytes: renamed/0.bin at {key}",
        "an object without a row: 00/stray",
        f"an upload was left dangling: {'f' * 64}",
        "stuck: pod trial-0-a is Pending",
    ]


def test_a_pod_struck_before_its_training_began_may_be_told_as_unproven_or_not_at_all() -> None:
    unborn = Told(pod="trial-0-z", uid="uid-z", namespace="chaos-1-0")
    struck = {"uid-z": frozenset({Fault.POD_DELETED_AT_ONCE})}
    quiet = replace(in_order(), pods=[*in_order().pods, unborn])
    careful = replace(
        quiet,
        conditions=conditions(condition("ArtifactsSynced", "False", "Unproven", "…")),
        synced_history=["False"],
    )
    assert verdict([quiet], world(quiet), struck) == []
    assert verdict([careful], world(careful), struck) == []
    assert verdict([careful], world(careful), {}) != []


def test_what_the_node_kept_is_read_whatever_else_stands_in_it() -> None:
    one, unborn = told(
        [
            "==> chaos-1-0_trial-0-a_uid-1",
            f"BEGIN {ITERATION} trial-0",
            "BEGUN 40 renamed/0 1.bin",
            "COMPLETED ab renamed/0 1.bin",
            "STEP 0",
            "ENDED 3",
            "torn",
            "==> chaos-1-0_trial-0-b_uid-2",
        ]
    )
    assert (unborn.pod, unborn.uid, unborn.iteration) == ("trial-0-b", "uid-2", "")
    assert (one.namespace, one.pod, one.uid, one.iteration) == ("chaos-1-0", "trial-0-a", "uid-1", str(ITERATION))
    assert (one.begun, one.completed) == ({"renamed/0 1.bin": 40}, {"renamed/0 1.bin": "ab"})
    assert (one.steps, one.ended) == (1, 3)


def test_what_the_training_writes_is_what_the_judge_expects(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for name, value in {
        "PINNACE_ARTIFACTS_DIR": str(folder),
        "LEDGER": str(tmp_path / "words"),
        "PINNACE_ITERATION_ID": str(ITERATION),
        "PINNACE_EXPERIMENT": "trial-0",
        "POD_UID": "uid",
        "SMALL_FILES": "4",
        "BIG_MIB": "1",
        "SECONDS_TO_RUN": "0.1",
        "EXIT_CODE": "3",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        exec(compile(PROGRAM, "training", "exec"), {})
    [one] = told(["==> ns_trial-0-a_uid", *(tmp_path / "words").read_text().splitlines()])
    assert end.value.code == one.ended == 3
    there = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".done"
    }
    assert {path: hashlib.sha256(body).hexdigest() for path, body in there.items()} == one.completed
    assert there[METRICS] == metrics_content("uid", one.steps)
    for path, body in there.items():
        assert one.explains(path, hashlib.sha256(body).hexdigest(), len(body))


def test_a_seed_gives_one_schedule_and_every_fault_has_its_turn() -> None:
    assert schedule(7, experiments=9, seconds=80) == schedule(7, experiments=9, seconds=80)
    assert schedule(7, experiments=9, seconds=80) != schedule(8, experiments=9, seconds=80)
    for seed in range(30):
        long = schedule(seed, experiments=50, seconds=600)
        assert {strike.fault for strike in long.strikes} == set(Fault)
        assert all(strike.at < 600 for strike in long.strikes)
        assert all(trial.starts_at < 600 for trial in long.trials)
        assert [trial.exit_code for trial in long.trials].count(3) == 8


@pytest.mark.parametrize("seed", range(20))
def test_what_is_restarted_with_growing_pauses_is_left_alone_for_a_while(seed: int) -> None:
    last = -1e9
    for strike in schedule(seed, experiments=50, seconds=600).strikes:
        if strike.fault is Fault.API_SERVER_KILLED:
            assert strike.at - last >= 150
            last = strike.at
