"""The simulation is worth what it finds: each bug planted here is found within a few hundred seeds, the rarest within a
few thousand. Several were no inventions: the simulation found them first.
"""

import pytest

from support.simulation.plants import PLANTS, SEARCHED, find
from support.simulation.world import simulate


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    plant = PLANTS[name]
    found = find(plant, range(plant.first, plant.first + SEARCHED))
    assert found, plant.bug
    assert simulate(found.seed).violations == (), "the seed fails without the bug too"
