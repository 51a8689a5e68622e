"""One holds the Lease, whatever the clocks say; the next gets it when it is free, or not renewed for its duration."""

from typing import Any

import pytest

from pinnace_operator.leadership import DURATION_S, HOLD_S, RENEW_S, Leadership, LostError, lease_name
from pinnace_operator.ports import RefusedError, UnavailableError
from support.operator_world import START


class FakeLeases:
    """One Lease, with the API server's rule that the version that was read must still be there."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0
        self.is_up = True

    def lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        self._need()
        return self.stored

    def put_lease(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._need()
        version = manifest["metadata"].get("resourceVersion")
        if (self.stored is None) != (version is None) or (version and version != str(self.version)):
            raise RefusedError("not that version", reason="Conflict")
        self.version += 1
        metadata = {**manifest["metadata"], "uid": "lease", "resourceVersion": str(self.version)}
        self.stored = {**manifest, "metadata": metadata}
        return self.stored

    @property
    def holder(self) -> str:
        assert self.stored is not None
        return str(self.stored["spec"]["holderIdentity"])

    def _need(self) -> None:
        if not self.is_up:
            raise UnavailableError("the API server does not answer")


class Candidate(Leadership):
    """With a clock of its own."""

    def __init__(self, leases: FakeLeases, identity: str) -> None:
        self.time = hash(identity) % 1000.0
        super().__init__(
            leases, namespace="here", name="lease", identity=identity, now=lambda: START, monotonic=lambda: self.time
        )


@pytest.fixture
def leases() -> FakeLeases:
    return FakeLeases()


def test_the_first_gets_it_and_the_second_does_not(leases: FakeLeases) -> None:
    first, second = Candidate(leases, "first"), Candidate(leases, "second")
    assert first.attempt()
    assert first.is_held()
    assert not second.attempt()
    assert not second.is_held()


def test_one_that_renews_keeps_it_for_ever(leases: FakeLeases) -> None:
    first, second = Candidate(leases, "first"), Candidate(leases, "second")
    for _ in range(20):
        assert first.attempt()
        assert not second.attempt()
        first.time += RENEW_S
        second.time += RENEW_S


def test_one_that_is_silent_loses_it_after_its_duration_by_the_clock_of_the_other(leases: FakeLeases) -> None:
    first, second = Candidate(leases, "first"), Candidate(leases, "second")
    first.attempt()
    assert not second.attempt()
    second.time += DURATION_S - 0.1
    assert not second.attempt()
    second.time += 0.1
    assert second.attempt()
    assert not first.attempt()
    with pytest.raises(LostError, match="is second's now"):
        first.attempt()


def test_whoever_can_not_renew_stops_writing_before_anybody_else_may_begin(leases: FakeLeases) -> None:
    first = Candidate(leases, "first")
    first.attempt()
    leases.is_up = False
    first.time += HOLD_S - 0.1
    assert first.is_held()
    with pytest.raises(UnavailableError):
        first.attempt()
    first.time += 0.1
    assert not first.is_held()
    assert HOLD_S < DURATION_S


def test_an_api_server_that_comes_back_finds_the_holder_where_it_was(leases: FakeLeases) -> None:
    first = Candidate(leases, "first")
    first.attempt()
    leases.is_up = False
    first.time += 1000
    leases.is_up = True
    assert first.attempt()
    assert first.is_held()


def test_released_it_is_free_at_once(leases: FakeLeases) -> None:
    first, second = Candidate(leases, "first"), Candidate(leases, "second")
    first.attempt()
    first.release()
    assert not first.is_held()
    assert second.attempt()
    assert leases.holder == "second"


def test_a_process_that_is_started_again_under_its_name_goes_on_at_once(leases: FakeLeases) -> None:
    Candidate(leases, "pod-0").attempt()
    assert Candidate(leases, "pod-0").attempt()


def test_of_two_that_write_at_once_one_gets_it(leases: FakeLeases) -> None:
    first, second = Candidate(leases, "first"), Candidate(leases, "second")
    first.attempt()
    first.release()
    stale = leases.stored
    assert second.attempt()
    leases.lease = lambda *_: stale  # type: ignore[method-assign]
    assert not first.attempt()


def test_by_force_it_is_taken_from_whoever_has_it(leases: FakeLeases) -> None:
    first, release = Candidate(leases, "first"), Candidate(leases, "release")
    first.attempt()
    assert release.attempt(by_force=True)
    assert not first.attempt()
    with pytest.raises(LostError):
        first.attempt()


def test_operators_of_different_experiments_have_different_leases() -> None:
    names = {lease_name("", ()), lease_name("a=b", ()), lease_name("", ("x",)), lease_name("a=b", ("x",))}
    assert len(names) == 4
    assert lease_name("", ("x", "y")) == lease_name("", ("y", "x"))
    assert all(len(name) <= 63 for name in names)
