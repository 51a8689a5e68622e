"""How kopf is used: as a source of events that writes nothing itself."""

import kopf
import pytest

from pinnace_operator.attendance import Attendance
from pinnace_operator.cluster_objects import job_view
from pinnace_operator.experiment_spec import EngineKind
from pinnace_operator.handlers import build_registry, configure
from support.operator_world import World, manifest


def no_login() -> kopf.ConnectionInfo:
    raise kopf.LoginError("nobody is asked")


@pytest.fixture(scope="module")
def settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    configure(settings)
    return settings


def test_only_event_handlers_are_registered_so_kopf_writes_to_no_object() -> None:
    registry = build_registry(Attendance(World(manifest()).reconciliation), no_login, engines=[EngineKind.RAY_JOB])
    watched = {handler.id for handler in registry._watching.get_all_handlers()}
    assert watched == {"experiment", "jobs", "rayjobs", "pod"}
    assert list(registry._changing.get_all_handlers()) == []
    assert list(registry._spawning.get_all_handlers()) == []


def test_a_silent_watch_is_noticed(settings: kopf.OperatorSettings) -> None:
    watching = settings.watching
    assert watching.server_timeout == 300
    assert watching.client_timeout is not None
    assert watching.client_timeout > watching.server_timeout
    assert watching.connect_timeout is not None
    assert watching.inactivity_timeout < watching.server_timeout


def test_only_what_carries_our_label_is_watched(settings: kopf.OperatorSettings) -> None:
    selectors = set(settings.watching.label_selectors.values())
    assert selectors == {"pinnace.dev/experiment-id"}
    assert len(settings.watching.label_selectors) == 2


def test_rights_on_the_whole_cluster_are_not_needed(settings: kopf.OperatorSettings) -> None:
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert not settings.posting.enabled


def test_a_job_of_somebody_else_is_malformed_and_not_guessed_at() -> None:
    with pytest.raises(Exception, match="no index in its label"):
        job_view({"metadata": {"name": "x", "uid": "u", "labels": {"pinnace.dev/experiment-id": "e"}}})
