"""As many files as one likes on the volume: the sidecar's memory does not grow with them. `make soak` takes 100,000."""

import pytest

from support.many_files import ship
from support.scenario import Scenario

FILES = 8_000


@pytest.mark.timeout(240)
@pytest.mark.parametrize("per_folder", [FILES, 20], ids=["one folder", "many folders"])
def test_memory_does_not_grow_with_the_number_of_files(pod: Scenario, per_folder: int) -> None:
    assert ship(pod, FILES, per_folder).broken == []
