"""The pod of a failure scenario; see support.scenario."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.scenario import Scenario, scenario


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Scenario]:
    with scenario(tmp_path) as pod:
        yield pod
