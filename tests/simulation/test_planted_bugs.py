"""The simulation is worth what it finds: each bug planted here is found within a few dozen seeds, though for the rarer
ones in worlds where more goes wrong. Several were no inventions: the simulation found them first.
"""

import pytest

from support.simulation.plants import PLANTS, SEARCHED, find


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    plant = PLANTS[name]
    found = find(plant, range(SEARCHED))
    assert found, plant.bug
    assert plant.world(found.seed).run().violations == (), "the seed fails without the bug too"
