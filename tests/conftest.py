"""What holds for all tests."""

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes tells how busy the machine is, not whether the code is right.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# For `make check`, which is run after every change; `make test` runs them all.
settings.register_profile("quick", parent=settings.get_profile("patient"), max_examples=25)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--times", default="1", help="ask the API that many times as often as usual for what its document allows"
    )
