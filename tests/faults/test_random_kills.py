"""Killed at any moment, over and over, in front of a store that fails in every way: nothing lost, nothing doubled.

`make soak` does the same for hours.
"""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support import soak_stores
from support.soak import soak
from support.soak_stores import SoakStore


def test_killed_at_random_25_times_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with soak_stores.misbehaving(tmp_path, seed=25) as store:
        outcome = soak(tmp_path, store, kills=25, seed=25)
    assert not outcome.broken, "\n".join(outcome.broken)
    # It was no stroll: files of every kind, faults, and kills in the middle of it.
    assert outcome.completed > 100
    assert outcome.points > 200
    assert outcome.kills_in_mid_work > 5
    assert len(outcome.faults) > 3


@pytest.mark.parametrize("kind", ["minio", "weed"])
def test_killed_at_random_in_front_of(kind: str, tmp_path: Path) -> None:
    stores: dict[str, AbstractContextManager[SoakStore]] = {
        "minio": soak_stores.minio(tmp_path),
        "weed": soak_stores.weed(tmp_path),
    }
    with stores[kind] as store:
        outcome = soak(tmp_path, store, kills=4, seed=5)
    assert not outcome.broken, "\n".join(outcome.broken)
    assert outcome.completed > 20
