"""Many more files on the volume than the sidecar holds in memory, as a process. `make soak` takes 100,000."""

import pytest

from support.many_files import ship
from support.scenario import Scenario

FILES = 4_000


@pytest.mark.timeout(240)
def test_memory_is_bounded_while_many_files_come_ashore(pod: Scenario) -> None:
    few = {"PINNACE_TUNING_WATCHED_FILES": "700", "PINNACE_TUNING_BUFFERED_FILES": "300"}
    assert ship(pod, FILES, FILES // 2, **few).broken == []
