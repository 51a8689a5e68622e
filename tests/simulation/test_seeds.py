"""A thousand worlds, each of one seed: the sidecar's real code on simulated disk, volume, store, API and clock."""

import os
import subprocess
import sys

import pytest

from support.simulation.world import simulate

_CHUNK = 50
_EVENTS = (
    "kill -9",
    "power cut",
    "ENOSPC",
    "EIO",
    "404",
    "refused: AccessDenied",
    "no answer (done)",
    "no answer (to be done later)",
    "acknowledged, and lost",
    "damaged content arrives",
    "the store forgets",
    "disk: rots",
    "the disk is away",
    "meddle with",
    "the wall clock jumps",
    "shares an object",
    "of the journal changes",
    "the journal is cut",
    "the journal is gone",
    "journal set aside",
    ".zst",
)


@pytest.mark.parametrize("first", range(0, 1000, _CHUNK))
def test_every_promise_is_kept_in_every_world(first: int) -> None:
    broken = {
        outcome.seed: outcome.violations[0]
        for seed in range(first, first + _CHUNK)
        if (outcome := simulate(seed)).violations
    }
    assert not broken, "replay with `python -m support.simulation --seed N`"


def test_the_worlds_are_not_all_alike() -> None:
    """What the thousand seeds are worth: crashes, faults and rows are in the first of them already."""
    unseen = set(_EVENTS)
    outcomes = []
    for seed in range(600):
        outcome = simulate(seed, tracing=bool(unseen))
        outcomes.append(outcome)
        unseen = {event for event in unseen if not any(event in line for line in outcome.trace)}
        if seed >= 50 and not unseen:
            break
    assert not unseen
    assert sum(outcome.rows for outcome in outcomes) > 3 * len(outcomes)
    assert sum(outcome.processes > 1 for outcome in outcomes) > len(outcomes) / 4


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """Python's own hashes differ from process to process; nothing may depend on them."""
    traces = {
        subprocess.run(
            [sys.executable, "-m", "support.simulation", "--seed", "5"],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": hashes, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for hashes in ("1", "2", "3")
    }
    (trace,) = traces
    assert b"FINAL" in trace
