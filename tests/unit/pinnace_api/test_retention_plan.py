"""The plan of retention: what is protected never appears in it, whatever the facts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.records import Backend, Location, ModelStage, RetentionTarget
from pinnace_api.retention.plan import (
    Because,
    Contents,
    Piece,
    Rule,
    Run,
    Step,
    Version,
    batches,
    may_go,
    plan,
    plan_versions,
    version_may_go,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)
DAYS = st.integers(0, 40).map(lambda days: NOW - timedelta(days=days))
BOOLS = st.booleans()
VERSION = Version(
    id=UUID(int=1), model="m", number=1, stage=ModelStage.ARCHIVED, staged_at=NOW - timedelta(days=9), trashed_at=None
)


def location(key: int) -> Location:
    return Location(backend=Backend.S3, endpoint="", region="", bucket="bucket", key=str(key))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Rule, list[Run], dict[UUID, Contents]]:
    target = draw(st.sampled_from([each for each in RetentionTarget if each is not RetentionTarget.VERSIONS]))
    rule = Rule.of(target, draw(st.none() | st.integers(0, 30)), draw(st.none() | st.integers(1, 3)))
    runs, contents, last = [], {}, 1000
    for number in range(draw(st.integers(0, 6))):
        pieces = []
        for _ in range(draw(st.integers(0, 6))):
            last += 1
            because = draw(st.sampled_from([None, None, None, Because.HELD, Because.MODEL_VERSION, Because.DATASET]))
            at = location(draw(st.integers(0, 3)) if draw(BOOLS) else last)
            pieces.append(Piece(id=UUID(int=last), size=10, location=at, because=because))
        members = st.lists(st.sampled_from([piece.id for piece in pieces]), min_size=2, unique=True)
        sets = draw(st.lists(members, max_size=3)) if len(pieces) > 1 else []
        run = Run(
            id=UUID(int=number),
            ended_at=draw(DAYS),
            is_ended=draw(st.integers(0, 4)) > 0,
            is_synced=draw(st.integers(0, 4)) > 0,
            is_held=draw(st.integers(0, 4)) == 0,
            is_registered=draw(st.integers(0, 4)) == 0,
            is_whole=draw(st.integers(0, 4)) == 0,
            trashed_at=draw(DAYS) if target is RetentionTarget.TRASH else None,
            is_purged=draw(BOOLS) and target is RetentionTarget.TRASH,
            artifacts=len(pieces),
        )
        runs.append(run)
        contents[run.id] = Contents(pieces=pieces, sets=sets)
    return rule, runs, with_users(runs, contents)


def with_users(runs: Sequence[Run], contents: dict[UUID, Contents]) -> dict[UUID, Contents]:
    every = [piece.location for run in runs for piece in contents[run.id].pieces]
    return {
        id_: replace(each, pieces=[replace(piece, users=every.count(piece.location)) for piece in each.pieces])
        for id_, each in contents.items()
    }


def gone(step: Step) -> set[UUID]:
    return {piece.id for group in step.groups for piece in group}


@given(worlds())
def test_what_something_needs_never_appears(world: tuple[Rule, list[Run], dict[UUID, Contents]]) -> None:
    rule, runs, contents = world
    for step in plan(rule, runs, NOW, contents.__getitem__):
        run = step.run
        removed = gone(step)
        if step.goes or removed:
            assert run.is_ended
            assert run.is_synced
            assert not run.is_held
            assert not (run.is_whole and rule.target is RetentionTarget.ARTIFACTS)
            assert may_go(rule, run, NOW)
        if step.goes:
            assert not run.is_registered
            assert not run.is_purged
            assert not contents[run.id].is_needed
        needed = {piece.id for piece in contents[run.id].pieces if piece.because}
        assert not removed & needed
        for each in contents[run.id].sets:
            assert removed.isdisjoint(each) or removed.issuperset(each)
            if needed.intersection(each):
                assert removed.isdisjoint(each)


@given(worlds())
def test_of_each_iteration_is_said_what_becomes_of_all_of_it(
    world: tuple[Rule, list[Run], dict[UUID, Contents]],
) -> None:
    rule, runs, contents = world
    steps = list(plan(rule, runs, NOW, contents.__getitem__))
    assert [step.run for step in steps] == runs
    for step in steps:
        if step.because is None and rule.target is not RetentionTarget.ITERATIONS:
            assert len(gone(step)) + sum(step.kept.values()) == len(contents[step.run.id].pieces)
        else:
            assert not step.groups


@given(worlds())
def test_the_best_stay_and_those_that_are_passed_over_anyhow_do_not_count(
    world: tuple[Rule, list[Run], dict[UUID, Contents]],
) -> None:
    rule, runs, contents = world
    steps = list(plan(rule, runs, NOW, contents.__getitem__))
    counting = [step for step in steps if step.because in (None, Because.KEPT, Because.YOUNG, Because.IN_PART)]
    kept = [step for step in counting if step.because is Because.KEPT]
    assert kept == counting[: rule.keep or 0]


@given(worlds())
def test_freed_is_what_nothing_has_afterwards(world: tuple[Rule, list[Run], dict[UUID, Contents]]) -> None:
    rule, runs, contents = world
    steps = list(plan(rule, runs, NOW, contents.__getitem__))
    every = {piece.id: piece for each in contents.values() for piece in each.pieces}
    left = {piece.location for id_, piece in every.items() if not any(id_ in gone(step) for step in steps)}
    objects = {every[id_].location for step in steps for id_ in gone(step)} - left
    assert sum(step.freed for step in steps) == 10 * len(objects)


def test_batches_divide_no_group() -> None:
    groups = [tuple(Piece(id=UUID(int=n), size=1, location=location(0)) for n in range(size)) for size in (1, 3, 1, 1)]
    assert [[len(group) for group in batch] for batch in batches(groups, 2)] == [[1, 3], [1, 1]]


@pytest.mark.parametrize(
    ("changes", "stays"),
    [
        ({}, None),
        ({"is_held": True}, Because.HELD),
        ({"is_in_use": True}, Because.IN_USE),
        ({"stage": ModelStage.PRODUCTION}, Because.IN_USE),
        ({"trashed_at": NOW}, Because.YOUNG),
        ({"trashed_at": None}, Because.YOUNG),
    ],
)
def test_a_version_goes_when_it_has_lain_in_the_trash_for_long(
    changes: dict[str, object], stays: Because | None
) -> None:
    version = replace(VERSION, **{"trashed_at": NOW - timedelta(days=9), **changes})  # type: ignore[arg-type]
    rule = Rule.of(RetentionTarget.TRASH, 7, None)
    assert list(plan_versions(rule, [version], NOW)) == [(version, stays)]
    assert version_may_go(rule, version, NOW) is (stays is None)


@given(
    st.lists(
        st.builds(
            Version,
            id=st.uuids(),
            model=st.sampled_from("ab"),
            number=st.integers(1, 9),
            stage=st.sampled_from(ModelStage),
            staged_at=DAYS,
            is_held=st.integers(0, 4).map(lambda each: each == 0),
            is_in_use=st.integers(0, 4).map(lambda each: each == 0),
        ),
        max_size=12,
    ),
    st.sets(st.sampled_from(ModelStage), min_size=1),
    st.none() | st.integers(0, 30),
    st.none() | st.integers(1, 3),
)
def test_versions_go_from_the_stages_that_are_named_but_for_production_and_the_best(
    versions: list[Version], stages: set[ModelStage], days: int | None, keep: int | None
) -> None:
    rule = Rule.of(RetentionTarget.VERSIONS, days, keep, stages)
    planned = list(plan_versions(rule, versions, NOW))
    assert [version for version, _ in planned] == versions
    for version, because in planned:
        if because is None:
            assert (version.is_held, version.is_in_use) == (False, False)
            assert version.stage in stages - {ModelStage.PRODUCTION}
            assert NOW - version.staged_at >= timedelta(days=days or 0)
            assert version_may_go(rule, version, NOW)
            assert not version_may_go(rule, replace(version, trashed_at=NOW), NOW)
    for model in "ab":
        own = [because for version, because in planned if version.model == model]
        counting = [because for because in own if because in (None, Because.KEPT, Because.YOUNG)]
        assert [because is Because.KEPT for because in counting] == [at < (keep or 0) for at in range(len(counting))]


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": ModelStage.STAGING},
        {"stage": ModelStage.PRODUCTION},
        {"staged_at": NOW},
        {"is_held": True},
        {"is_in_use": True},
        {"trashed_at": NOW},
    ],
)
def test_a_version_that_changed_after_the_plan_may_not_go(changes: dict[str, object]) -> None:
    rule = Rule.of(RetentionTarget.VERSIONS, 7, None, (ModelStage.ARCHIVED, ModelStage.PRODUCTION))
    assert version_may_go(rule, VERSION, NOW)
    assert not version_may_go(rule, replace(VERSION, **changes), NOW)  # type: ignore[arg-type]


def test_what_was_taken_back_meanwhile_may_not_go() -> None:
    run = Run(id=UUID(int=1), ended_at=NOW - timedelta(days=9), is_ended=True, is_synced=True)
    assert not may_go(Rule.of(RetentionTarget.TRASH, 0, None), run, NOW)
    assert may_go(Rule.of(RetentionTarget.ARTIFACTS, 9, None), run, NOW)
    assert not may_go(Rule.of(RetentionTarget.ARTIFACTS, 10, None), run, NOW)
