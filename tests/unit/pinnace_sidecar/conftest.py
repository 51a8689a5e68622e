"""A pod whose sidecar runs in the test's own process; see support.pod."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pod import Pod


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    yield pod
    pod.stop()
