"""What holds for all tests."""

import gc
from collections.abc import Iterator

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


def pytest_collection_finish() -> None:
    """What has been imported stays, and is not looked through again by each collection: half a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _kubectl_remembers_no_server_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a server knows is kept for hours by its address, and tests start servers at ports that others have had."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECACHEDIR", str(tmp_path_factory.mktemp("kubectl")))
        yield
