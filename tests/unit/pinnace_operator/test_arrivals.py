"""Kinds that come and go while the operator runs: what is missing is asked for, and the watches begin anew."""

import asyncio

import pytest

from pinnace_operator.arrivals import Arrivals
from pinnace_operator.engines.kinds import Resource, resource_of
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.watches import Watches

RAY, TORCH = resource_of(EngineKind.RAY_JOB), resource_of(EngineKind.PYTORCH_JOB)


@pytest.fixture
def watches() -> Watches:
    """Of RayJobs in one namespace, and of nothing else."""
    watches = Watches()
    watches.begin("/apis/ray.io/v1/namespaces/team-a/rayjobs")
    return watches


def test_a_kind_that_is_wanted_and_not_watched_is_asked_for_until_it_comes(watches: Watches) -> None:
    asked: list[Resource] = []

    def serves(resource: Resource) -> bool:
        asked.append(resource)
        return len(asked) == 3

    arrivals = Arrivals([RAY, TORCH], watches, serves, pause=0.001)
    asyncio.run(arrivals.look_out())
    assert arrivals.changed.is_set()
    assert asked == [TORCH] * 3


def test_a_watch_of_the_same_name_in_another_group_or_version_is_another_one(watches: Watches) -> None:
    assert watches.has("ray.io/v1", "rayjobs")
    assert not watches.has("ray.io/v1alpha1", "rayjobs")
    assert not watches.has("array.io/v1", "rayjobs")
    assert not watches.has("ray.io/v1", "jobs")


def test_a_watch_of_what_is_no_more_is_a_change_and_new_watches_know_nothing_of_it(watches: Watches) -> None:
    watches.is_bereft = True
    arrivals = Arrivals([RAY], watches, lambda _: False, pause=0.001)
    asyncio.run(arrivals.look_out())
    assert arrivals.changed.is_set()
    watches.forget()
    assert not watches.is_bereft
    assert not watches.has("ray.io/v1", "rayjobs")
