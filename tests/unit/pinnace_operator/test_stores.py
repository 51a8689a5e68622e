"""Which store an Experiment gets, what its pods are given for it, and what an offer that is withdrawn stops."""

import dataclasses
import logging
from datetime import timedelta
from typing import Any

import pytest

from pinnace.artifact_stores import ArtifactStore
from pinnace.settings import SIDECAR_PREFIX, SidecarSettings, load, load_store
from pinnace_operator.acceptance import NotAcceptedError, accept
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.experiment_spec import Store
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.job import build_job
from pinnace_operator.ports import GoneError, UnavailableError
from pinnace_operator.stores import Offers, StoreError, may_use
from support.operator_world import PLATFORM, START, World, experiment, manifest

ACCEPTED = ConditionType.ACCEPTED
STRICT = dataclasses.replace(PLATFORM, allow_inline_stores=False)
BARE = dataclasses.replace(PLATFORM, default_store=None)


def store(name: str = "research", **spec: Any) -> ArtifactStore:
    access = {"source": "STS", "sts": {"secretRef": {"name": "admin-key"}}}
    spec = {"bucket": "shared", "prefix": "all", "namespaces": ["team-a"], "credentials": access, **spec}
    return ArtifactStore.from_manifest({"metadata": {"name": name}, "spec": spec})


def offers(*stores: ArtifactStore) -> Offers:
    return Offers(namespace="team-a", stores=stores)


def wanting(**wanted: Any) -> Any:
    return experiment(artifacts={"store": wanted})


def pod_of(offered: ArtifactStore, **wanted: Any) -> tuple[dict[str, Any], dict[str, str]]:
    body = wanting(ref=offered.name, **wanted)
    accepted = accept(body, PLATFORM, offers(offered))
    pod = build_job(body, 0, {}, accepted, PLATFORM)["spec"]["template"]["spec"]
    return pod, {each["name"]: each.get("value", "uid") for each in pod["initContainers"][0]["env"]}


def withheld(offered: Offers | None, platform: Any = PLATFORM, **wanted: Any) -> StoreError:
    found = accept(wanting(**wanted), platform, offered).withheld
    assert found is not None
    return found


# --- which


@pytest.mark.parametrize(("below", "prefix"), [({}, "all/team-a"), ({"prefix": "x/y"}, "all/team-a/x/y")])
def test_keys_of_an_offered_store_begin_with_the_namespace(below: dict[str, str], prefix: str) -> None:
    chosen = accept(wanting(ref="research", **below), PLATFORM, offers(store())).store
    assert (chosen.settings.bucket, chosen.settings.prefix) == ("shared", prefix)


@pytest.mark.parametrize("prefix", ["..", "../team-b", "a/../../b", "a//b", "./a", "/a"])
def test_no_prefix_leaves_the_namespaces_own(prefix: str) -> None:
    with pytest.raises(NotAcceptedError, match=r"spec\.artifacts\.store\.prefix"):
        accept(wanting(ref="research", prefix=prefix), PLATFORM, offers(store()))


def test_who_names_none_gets_the_namespaces_default_else_the_operators() -> None:
    other, default = store("other"), store("default", default=True, bucket="defaults")
    assert accept(wanting(), PLATFORM, offers(other, default)).store.settings.bucket == "defaults"
    assert accept(wanting(prefix="x"), PLATFORM, offers(default)).store.settings.prefix == "all/team-a/x"
    assert accept(wanting(), PLATFORM, offers(other)).store.settings.bucket == "experiments"
    assert accept(wanting(bucket="mine"), PLATFORM, offers(default)).store.settings.bucket == "mine"


def test_what_is_not_offered_is_told_in_the_words_for_what_is_not_there_with_the_choice() -> None:
    unknown = withheld(offers(store("one"), store("two")), ref="three")
    assert unknown.reason == "StoreNotOffered"
    assert "offered are: one, two" in str(unknown)
    assert "administrator" in str(unknown)


def test_two_defaults_are_named() -> None:
    found = withheld(offers(store("one", default=True), store("two", default=True)))
    assert found.reason == "SeveralDefaultStores"
    assert "one, two" in str(found)


@pytest.mark.parametrize("wanted", [{"bucket": "mine"}, {"endpoint": "http://10.0.0.1"}, {"prefix": "of-another"}])
def test_stores_of_ones_own_can_be_forbidden(wanted: dict[str, str]) -> None:
    assert withheld(offers(store()), STRICT, **wanted).reason == "OwnStoresNotAllowed"
    assert withheld(None, STRICT, **wanted).reason == "OwnStoresNotAllowed"
    assert accept(wanting(), STRICT, offers(store())).withheld is None


def test_a_name_says_so_where_no_artifact_stores_are_served() -> None:
    with pytest.raises(NotAcceptedError, match=r"artifactStores\.enabled"):
        accept(wanting(ref="research"), PLATFORM)


def test_without_any_store_the_condition_names_what_is_offered() -> None:
    assert "offered are: research" in str(withheld(offers(store()), BARE))


def test_a_change_of_a_store_concerns_those_who_name_it_and_those_who_name_none() -> None:
    assert may_use(Store(ref="research"), "research")
    assert may_use(Store(prefix="x"), "research")
    assert not may_use(Store(ref="other"), "research")
    assert not may_use(Store(bucket="mine"), "research")


# --- what its pods are given


def test_sessions_come_from_the_api_and_no_secret_is_mounted() -> None:
    pod, environment = pod_of(store())
    assert load(SidecarSettings, environment, SIDECAR_PREFIX).artifact_store == "research"
    assert load_store(environment).credentials_dir == ""
    assert "pinnace-store-credentials" not in str(pod)
    assert "admin-key" not in str(pod)


def test_a_workloads_identity_needs_no_secret_either() -> None:
    pod, environment = pod_of(store(credentials={"source": "WorkloadIdentity"}))
    assert load(SidecarSettings, environment, SIDECAR_PREFIX).artifact_store == ""
    assert load_store(environment).credentials_dir == ""
    assert "pinnace-store-credentials" not in str(pod)


@pytest.mark.parametrize(("named", "secret"), [({}, "pinnace-store"), ({"tenantSecretRef": {"name": "mine"}}, "mine")])
def test_a_tenants_secret_is_mounted_as_ever(named: dict[str, Any], secret: str) -> None:
    pod, environment = pod_of(store(credentials={"source": "TenantSecret", **named}))
    assert load_store(environment).credentials_dir == "/var/run/pinnace/store"
    assert {"secretName": secret, "optional": True} in [volume.get("secret") for volume in pod["volumes"]]


def test_the_authorities_and_all_else_are_the_stores_own() -> None:
    offered = store(
        caBundleRef={"name": "authorities"}, serverSideEncryption="AES256", region="eu-west-1", addressing="Virtual",
        checksums="Never", endpoint="https://minio:9000",
    )  # fmt: skip
    pod, environment = pod_of(offered)
    settings = load_store(environment)
    assert (settings.endpoint, settings.region, settings.addressing) == ("https://minio:9000", "eu-west-1", "virtual")
    assert (settings.checksums, settings.server_side_encryption) == ("never", "AES256")
    assert settings.ca_file == "/var/run/pinnace/store-ca/ca.crt"
    assert "authorities" in str(pod["volumes"])


# --- over time


def world(**wanted: Any) -> World:
    parameters = {"grid": {"n": [1, 2]}}
    return World(manifest(artifacts={"store": wanted}, parameters=parameters), platform=BARE, catalogue=Catalogue())


def test_nothing_begins_before_the_store_is_offered_and_all_does_then() -> None:
    here = world(ref="research")
    here.settle()
    assert here.condition(ACCEPTED) == ("False", "StoreNotOffered")
    assert here.jobs_by_name == {}
    here.offer("research", namespaces=None, namespaceSelector={"matchLabels": {"store": "yes"}})
    here.settle()
    assert here.condition(ACCEPTED) == ("False", "StoreNotOffered")
    here.label_namespace(store="yes")
    here.settle()
    assert here.condition(ACCEPTED) == ("True", "Valid")
    assert len(here.jobs_by_name) == 1


def test_what_has_begun_is_brought_ashore_after_the_offer_is_withdrawn_and_nothing_more_begins() -> None:
    here = world(ref="research")
    here.offer("research")
    here.settle()
    pod = here.start_pod(0)
    here.write_file(pod)
    here.withdraw("research")
    here.settle()
    assert here.condition(ACCEPTED) == ("False", "StoreNotOffered")
    here.ship(pod)
    here.end_pod(pod)
    here.settle()
    assert str(here.status.synced) == "0"
    assert len(here.jobs_by_name) == 1
    here.offer("research")
    here.settle()
    assert len(here.jobs_by_name) == 2


def test_nobody_is_refused_before_the_stores_are_listed() -> None:
    here = world(ref="research")
    here.offer("research")
    here.settle()
    here.restart_operator()
    fresh = dataclasses.replace(here.reconciliation, catalogue=Catalogue())
    here.reconciliation = fresh
    here.cluster_is_up = False
    assert here.look() is not None
    here.cluster_is_up = True
    here.settle()
    assert here.condition(ACCEPTED) == ("True", "Valid")


class Lists:
    def __init__(self, stores: list[dict[str, Any]], version: int) -> None:
        self.stores, self.version, self.asked = stores, version, 0

    def artifact_stores(self) -> tuple[list[dict[str, Any]], int]:
        self.asked += 1
        return self.stores, self.version

    def namespaces(self) -> tuple[list[dict[str, Any]], int]:
        return [], self.version


def raw(name: str, version: int, **spec: Any) -> dict[str, Any]:
    access = {"source": "WorkloadIdentity"}
    spec = {"bucket": "abc", "namespaces": ["team-a"], "credentials": access, **spec}
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": spec}


def names(catalogue: Catalogue) -> list[str]:
    return [each.name for each in catalogue.offers("team-a").stores]


def test_what_comes_late_or_twice_changes_nothing() -> None:
    catalogue = Catalogue()
    assert catalogue.see_store(raw("one", 5))
    assert not catalogue.see_store(raw("one", 5))
    assert not catalogue.see_store(raw("one", 3, namespaces=["other"]))
    assert catalogue.see_store(raw("one", 7), deleted=True)
    assert not catalogue.see_store(raw("one", 6))
    assert names(catalogue) == []


def test_a_list_corrects_what_a_watch_has_lost_and_not_what_is_newer() -> None:
    catalogue, lists = Catalogue(), Lists([raw("listed", 2), raw("newer", 4, namespaces=["other"])], 10)
    catalogue.see_store(raw("lost", 3))
    catalogue.see_store(raw("newer", 12))
    catalogue.refresh(lists, START)
    assert names(catalogue) == ["listed", "newer"]
    catalogue.refresh(lists, START + timedelta(minutes=5))
    assert lists.asked == 1
    catalogue.refresh(lists, START + timedelta(minutes=11))
    assert lists.asked == 2


def test_without_the_definition_nothing_is_offered() -> None:
    class Absent(Lists):
        def artifact_stores(self) -> tuple[list[dict[str, Any]], int]:
            raise GoneError("no such resource")

    catalogue = Catalogue()
    catalogue.refresh(Absent([], 1), START)
    assert names(catalogue) == []


def test_an_api_server_that_does_not_answer_is_asked_again() -> None:
    class Away(Lists):
        def artifact_stores(self) -> tuple[list[dict[str, Any]], int]:
            self.asked += 1
            raise UnavailableError("away")

    catalogue, away = Catalogue(), Away([], 1)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            catalogue.refresh(away, START)
    assert away.asked == 2


def test_a_store_of_another_version_is_offered_to_nobody_and_said(caplog: pytest.LogCaptureFixture) -> None:
    catalogue = Catalogue()
    with caplog.at_level(logging.WARNING):
        catalogue.see_store(raw("strange", 1, prefix="team-*"))
    assert names(catalogue) == []
    assert "upgrade both" in caplog.text
