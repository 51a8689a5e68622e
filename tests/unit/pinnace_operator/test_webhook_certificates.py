"""Certificates that replace each other: whatever happens, nobody serves what the API server does not trust."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace_operator.admission.certificates import Serving, is_for, issue, split, validity
from pinnace_operator.admission.keeping import FolderKeeper, SecretKeeper
from pinnace_operator.admission.rotation import Keep, Kept, Plan, Publish, next_step
from pinnace_operator.ports import GoneError, RefusedError, UnavailableError
from support.examples import examples

START = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ("pinnace-webhook.pinnace-system.svc", "10.0.0.1")
PLAN = Plan(hosts=HOSTS, lifetime=timedelta(days=90))


class Cluster:
    """The Secret and the caBundles, with the API server's optimistic lock."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.version = 1
        self.bundles = [b"", b""]
        self.writes = 0
        self.error: Exception | None = None

    def secret(self) -> tuple[dict[str, bytes], str]:
        if self.error:
            raise self.error
        return dict(self.data), str(self.version)

    def write_secret(self, data: dict[str, bytes], version: str) -> None:
        if version != str(self.version):
            raise RefusedError("changed meanwhile", reason="Conflict")
        self.data, self.version, self.writes = dict(data), self.version + 1, self.writes + 1

    def authorities(self) -> tuple[bytes, ...]:
        return tuple(self.bundles)

    def write_authorities(self, bundle: bytes) -> None:
        self.bundles = [bundle for _ in self.bundles]
        self.writes += 1


class Clock:
    def __init__(self) -> None:
        self.now = START


def keeper(cluster: Cluster, clock: Clock, plan: Plan = PLAN) -> SecretKeeper:
    return SecretKeeper(cluster, plan, now=lambda: clock.now)


def trusts(bundle: bytes, serving: Serving, now: datetime) -> bool:
    """As an API server with this caBundle."""
    certificate = x509.load_pem_x509_certificate(serving.certificate)
    for authority in split(bundle):
        try:
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
        except (InvalidSignature, ValueError):
            continue
        return all(one.not_valid_before_utc <= now < one.not_valid_after_utc
                   for one in (certificate, x509.load_pem_x509_certificate(authority)))  # fmt: skip
    return False


def test_the_first_look_makes_publishes_and_serves_one() -> None:
    cluster, clock = Cluster(), Clock()
    serving, pause = keeper(cluster, clock).look()
    assert serving is not None
    assert is_for(serving, HOSTS)
    assert validity(serving.certificate) == (START, START + timedelta(days=90))
    assert all(trusts(bundle, serving, START) for bundle in cluster.bundles)
    assert pause == timedelta(minutes=5)
    assert "PRIVATE" not in repr(serving) + repr(Kept.from_secret(cluster.data))


def test_a_second_look_writes_nothing() -> None:
    cluster, clock = Cluster(), Clock()
    keeper(cluster, clock).look()
    writes = cluster.writes
    clock.now += timedelta(days=59)
    keeper(cluster, clock).look()
    assert cluster.writes == writes


def test_the_key_of_the_authority_is_nowhere() -> None:
    cluster = Cluster()
    keeper(cluster, Clock()).look()
    assert sorted(cluster.data) == ["ca.crt", "tls-ca.crt", "tls.crt", "tls.key"]
    assert sum(value.count(b"PRIVATE KEY-----\n") for value in cluster.data.values()) == 2  # begin and end of one


def test_a_successor_is_published_before_it_is_served_and_the_old_authority_stays_until_it_expires() -> None:
    cluster, clock = Cluster(), Clock()
    ours = keeper(cluster, clock)
    first, _ = ours.look()
    clock.now += timedelta(days=61)
    again, _ = ours.look()
    assert again == first
    assert [len(split(bundle)) for bundle in cluster.bundles] == [2, 2]
    clock.now += timedelta(seconds=59)
    assert ours.look()[0] == first
    clock.now += timedelta(seconds=2)
    second, _ = ours.look()
    assert second is not None
    assert second != first
    assert "next.key" not in cluster.data
    assert [len(split(bundle)) for bundle in cluster.bundles] == [2, 2]
    clock.now = START + timedelta(days=91)
    assert ours.look()[0] == second
    assert [len(split(bundle)) for bundle in cluster.bundles] == [1, 1]


@settings(max_examples=examples(40))
@given(
    moments=st.lists(
        st.tuples(
            st.integers(min_value=0, max_value=2),
            st.sampled_from([1, 30, 59, 61, 300, 3600]),
            st.sampled_from(["", "", "", "restart", "api away"]),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_whoever_looks_and_is_killed_when_nobody_serves_what_is_not_trusted(
    moments: list[tuple[int, int, str]],
) -> None:
    """Three replicas; each serves what its last look said. API servers know of a changed bundle a minute later."""
    cluster, clock = Cluster(), Clock()
    plan = Plan(hosts=HOSTS, lifetime=timedelta(hours=20))
    replicas = [keeper(cluster, clock, plan) for _ in range(3)]
    served = [replica.look()[0] for replica in replicas]
    bundles = [(START - timedelta(minutes=2), cluster.bundles[0])]
    for who, seconds, what in moments:
        clock.now += timedelta(seconds=seconds)
        cluster.error = UnavailableError("away") if what == "api away" else None
        if what == "restart":
            replicas[who] = keeper(cluster, clock, plan)
        served[who] = replicas[who].look()[0] or served[who]
        bundles.append((clock.now, cluster.bundles[0]))
        known = [bundle for at, bundle in bundles if at <= clock.now - plan.settle][-1]
        for serving in served:
            assert serving is not None
            # One that nobody looked after for hours may have expired; it is never one that is not known.
            if validity(serving.certificate)[1] > clock.now:
                assert trusts(known, serving, clock.now)


def test_authorities_that_somebody_took_away_are_published_again() -> None:
    cluster, clock = Cluster(), Clock()
    ours = keeper(cluster, clock)
    serving, _ = ours.look()
    cluster.bundles[0] = b""
    assert ours.look()[0] == serving
    assert cluster.bundles[0] == cluster.bundles[1] != b""


def test_of_two_that_write_at_once_the_second_takes_over_what_the_first_wrote() -> None:
    cluster, clock = Cluster(), Clock()

    class Late(Cluster):
        def secret(self) -> tuple[dict[str, bytes], str]:
            seen = dict(cluster.data), str(cluster.version)
            if not cluster.data:
                keeper(cluster, clock).look()
            return seen

    late = Late()
    late.write_secret = cluster.write_secret  # type: ignore[method-assign]
    late.authorities = cluster.authorities  # type: ignore[method-assign]
    late.write_authorities = cluster.write_authorities  # type: ignore[method-assign]
    serving, _ = keeper(late, clock).look()
    assert serving == keeper(cluster, clock).look()[0]


@pytest.mark.parametrize("error", [UnavailableError("away"), GoneError("no such Secret"), RefusedError("forbidden")])
def test_while_the_cluster_does_not_answer_the_last_one_is_served_and_it_is_tried_again_soon(error: Exception) -> None:
    cluster, clock = Cluster(), Clock()
    ours = keeper(cluster, clock)
    serving, _ = ours.look()
    cluster.error = error
    assert ours.look() == (serving, timedelta(seconds=2))
    assert keeper(cluster, clock).look() == (None, timedelta(seconds=2))


@pytest.mark.parametrize("field", ["tls.crt", "tls.key", "tls-ca.crt", "ca.crt"])
@pytest.mark.parametrize("value", [b"", b"not PEM", None])
def test_a_secret_that_somebody_spoilt_is_mended(field: str, value: bytes | None) -> None:
    cluster, clock = Cluster(), Clock()
    keeper(cluster, clock).look()
    cluster.data.pop(field)
    cluster.data |= {} if value is None else {field: value}
    serving, _ = keeper(cluster, clock).look()
    assert serving is not None
    assert is_for(serving, HOSTS)
    assert all(trusts(bundle, serving, START) for bundle in cluster.bundles)


def test_another_host_and_an_expired_certificate_are_replaced_at_once() -> None:
    cluster, clock = Cluster(), Clock()
    first, _ = keeper(cluster, clock).look()
    moved, _ = keeper(cluster, clock, dataclasses.replace(PLAN, hosts=("other.svc",))).look()
    assert moved is not None
    assert is_for(moved, ["other.svc"])
    assert moved != first
    clock.now += timedelta(days=200)
    fresh, _ = keeper(cluster, clock).look()
    assert fresh is not None
    assert validity(fresh.certificate)[1] > clock.now


def test_a_successor_takes_over_when_the_current_one_expired_unattended() -> None:
    old, new = issue(HOSTS, timedelta(days=1), START), issue(HOSTS, timedelta(days=9), START)
    kept = Kept(current=old, successor=new, authorities=(new.authority, old.authority))
    step = next_step(kept, [kept.bundle], PLAN, START + timedelta(days=2))
    assert isinstance(step, Keep)
    assert (step.kept.current, step.kept.successor) == (new, None)
    published = next_step(step.kept, [b""], PLAN, START + timedelta(days=2))
    assert published == Publish(bundle=new.authority)


def test_a_folder_that_somebody_else_fills_is_read_as_it_is(tmp_path: Path) -> None:
    assert FolderKeeper(tmp_path).look() == (None, timedelta(seconds=2))
    serving = issue(HOSTS, timedelta(days=1), START)
    (tmp_path / "tls.crt").write_bytes(serving.certificate)
    (tmp_path / "tls.key").write_bytes(serving.key)
    found, _ = FolderKeeper(tmp_path).look()
    assert found is not None
    assert (found.certificate, found.key) == (serving.certificate, serving.key)
