"""Everything that carries the Experiments is killed, frozen and restarted by chance, and nothing is lost.

`make chaos` does the same for ten minutes with fifty Experiments.
"""

import random

import pytest

from support.chaos import chaos
from support.chaos_schedule import schedule
from support.system import System

EXPERIMENTS = 8
SECONDS = 75


@pytest.mark.timeout(600)
def test_what_is_struck_by_chance_comes_to_its_true_end(system: System) -> None:
    seed = random.randrange(2**32)
    print(f"python -m support.chaos --experiments {EXPERIMENTS} --seconds {SECONDS} --seed {seed}")
    outcome = chaos(system, schedule(seed, experiments=EXPERIMENTS, seconds=SECONDS), print)
    print(outcome)
    assert outcome.broken == []
    # It was no stroll.
    assert sum(outcome.strikes.values()) >= 8
    assert len(outcome.strikes) >= 6
    assert outcome.completed > 5 * EXPERIMENTS
