"""Credentials that the API gives pods for a while, from the token service of a real MinIO: what they are good for."""

import logging
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider

from cluster import minio_setup
from pinnace import ids
from pinnace.artifact_stores import ArtifactStore
from pinnace.client import Client, Forbidden, NotFound, Unavailable
from pinnace.records import ExperimentWrite, IterationWrite, StoreCredentials
from pinnace.settings import StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import MIN_PART_BYTES, CredentialsMissing, Multipart, StoreRefused
from pinnace_sidecar.vended import VendedCredentials
from support.api_server import ApiServer, FakeCluster, api_server
from support.minio_server import minio_server
from support.s3_server import ACCESS_KEY, SECRET_KEY, s3_server
from support.store_content import content, get_bytes, put_bytes
from support.sts_server import token_service

BUCKET = "experiments"
STORE = "shared"


def store(endpoint: str, **changes: object) -> ArtifactStore:
    spec = {
        "endpoint": endpoint,
        "bucket": BUCKET,
        "prefix": "teams/all",
        "namespaces": ["ml", "other"],
        "credentials": {"source": "STS", "sts": {"secretRef": {"name": "admin-key"}, "durationSeconds": 900}},
        **changes,
    }
    return ArtifactStore.from_manifest({"metadata": {"name": STORE}, "spec": spec})


@dataclass(frozen=True)
class World:
    """An API with a key for MinIO, and an iteration of the namespace `ml` and one of `other`."""

    api: ApiServer
    cluster: FakeCluster
    endpoint: str
    admin: MinioAdmin
    secret: str
    keys: Path
    iterations: dict[str, UUID]

    def pod(self, namespace: str = "ml", *, of: str = "") -> Client:
        iteration = self.iterations[of or namespace]
        return self.api.sidecar(iteration, namespace=namespace, pod_uid=secrets.token_hex(4))

    def given(self, namespace: str = "ml") -> StoreCredentials:
        with self.pod(namespace) as pod:
            return pod.store_credentials(self.iterations[namespace], STORE)

    def opened(self, given: StoreCredentials) -> closing[S3Store]:
        settings = StoreSettings(endpoint=self.endpoint, bucket=BUCKET)
        return closing(S3Store(settings, StaticCredentials(signing_key(given))))


def signing_key(given: StoreCredentials) -> Credentials:
    return Credentials(
        access_key_id=given.access_key_id,
        secret_access_key=given.secret_access_key,
        session_token=given.session_token,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("credentials")
    keys = folder / "keys"
    (keys / "admin-key").mkdir(parents=True)
    secret = secrets.token_urlsafe(30)
    cluster = FakeCluster()
    (folder / "minio").mkdir()
    with (
        minio_server(folder / "minio") as minio,
        api_server(folder, cluster=cluster, store_keys_dir=str(keys)) as api,
        api.operator() as operator,
    ):
        minio_setup.ensure(
            endpoint=minio.endpoint, root_user=minio.root_user, root_password=minio.root_password, bucket=BUCKET,
            access_key="pinnace", secret_key=secret,
        )  # fmt: skip
        (keys / "admin-key" / "AWS_ACCESS_KEY_ID").write_text("pinnace")
        (keys / "admin-key" / "AWS_SECRET_ACCESS_KEY").write_text(secret)
        iterations = {}
        for namespace in ("ml", "other", "outside"):
            experiment = uuid4()
            iterations[namespace] = ids.iteration_id(experiment, 0)
            operator.put_experiment(experiment, ExperimentWrite(project=namespace, name="sweep", namespace=namespace))
            operator.put_iteration(iterations[namespace], IterationWrite(experiment_id=experiment, index=0))
        cluster.stores[STORE] = store(minio.endpoint)
        host = minio.endpoint.removeprefix("http://")
        provider = StaticProvider(minio.root_user, minio.root_password)
        yield World(
            api=api,
            cluster=cluster,
            endpoint=minio.endpoint,
            admin=MinioAdmin(endpoint=host, credentials=provider, secure=False),
            secret=secret,
            keys=keys,
            iterations=iterations,
        )


# --- what they are good for


def test_a_pod_writes_reads_and_finds_what_lies_below_its_namespaces_prefix(world: World) -> None:
    with world.opened(world.given()) as store_, content(b"weights") as given:
        key = "teams/all/ml/iris/ab/one"
        assert store_.head(key) is None, "nothing there is not the same as forbidden"
        put_bytes(store_, key, b"weights")
        found = store_.head(key)
        assert found is not None
        assert found.size == given.whole.size
        assert get_bytes(store_, key) == b"weights"
        assert [each.key for each in store_.list("teams/all/ml/iris/")] == [key]


def test_a_large_file_goes_up_in_parts_and_can_be_given_up(world: World) -> None:
    with world.opened(world.given()) as store_, content(os.urandom(2 * MIN_PART_BYTES)) as given:
        upload = store_.create_multipart("teams/all/ml/large")
        parts = [store_.put_part(upload, n, given.file, digest) for n, digest in enumerate(given.digest.parts, 1)]
        assert store_.list_parts(upload) == tuple(parts)
        store_.complete_multipart(upload, parts, given.digest)
        assert store_.head("teams/all/ml/large") is not None
        store_.abort_multipart(store_.create_multipart("teams/all/ml/broken-off"))


@pytest.mark.parametrize(
    "key", ["teams/all/other/secret", "teams/all/ml2/secret", "teams/all/mlx", "teams/secret", "secret"]
)
def test_what_lies_outside_of_it_can_be_neither_written_nor_read_nor_listed(world: World, key: str) -> None:
    with world.opened(world.given()) as store_, content(b"x") as given:
        for forbidden in (
            lambda: store_.put(key, given.file, given.whole),
            lambda: get_bytes(store_, key),
            lambda: store_.head(key),
            lambda: list(store_.list(key)),
            lambda: store_.create_multipart(key),
            lambda: store_.list_parts(Multipart(key=key, upload_id="guessed")),
            lambda: store_.abort_multipart(Multipart(key=key, upload_id="guessed")),
        ):
            with pytest.raises(StoreRefused) as caught:
                forbidden()
            assert caught.value.code == "AccessDenied"


def test_the_bucket_itself_its_uploads_and_its_policy_are_out_of_reach(world: World) -> None:
    given = world.given()
    with world.opened(given) as store_:
        for forbidden in (
            lambda: list(store_.list()),
            lambda: list(store_.list("teams/all/")),
            lambda: list(store_.list_multiparts("teams/all/ml/")),
        ):
            with pytest.raises(StoreRefused, match=r"AccessDenied|denied"):
                forbidden()
    client = Minio(
        endpoint=world.endpoint.removeprefix("http://"),
        access_key=given.access_key_id,
        secret_key=given.secret_access_key,
        session_token=given.session_token,
        secure=False,
        region="us-east-1",
    )
    for call in (client.get_bucket_policy, client.delete_bucket_policy, client.remove_bucket):
        with pytest.raises(Exception, match=r"AccessDenied|Access Denied"):
            call(bucket_name=BUCKET)


def test_what_was_recorded_can_not_be_deleted_with_them(world: World) -> None:
    with world.opened(world.given()) as store_:
        put_bytes(store_, "teams/all/ml/kept", b"kept")
        with pytest.raises(StoreRefused):
            store_.delete("teams/all/ml/kept")
        assert get_bytes(store_, "teams/all/ml/kept") == b"kept"


def test_they_buy_no_others(world: World) -> None:
    given = world.given()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", given.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", given.secret_access_key),
        ("AWS_SESSION_TOKEN", given.session_token),
    ):
        folder = world.keys / "stolen"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(value)
    access = {"source": "STS", "sts": {"secretRef": {"name": "stolen"}}}
    world.cluster.stores["stolen"] = store(world.endpoint, credentials=access)
    with world.pod() as pod, pytest.raises(Unavailable, match="refuses"):
        pod.store_credentials(world.iterations["ml"], "stolen")


def test_they_end_when_they_say(world: World) -> None:
    given = world.given()
    assert 850 < given.expires_in_seconds <= 900


def test_they_end_with_the_key_that_bought_them(world: World) -> None:
    given = world.given()
    with world.opened(given) as store_:
        put_bytes(store_, "teams/all/ml/before", b"x")
        world.admin.user_disable("pinnace")
        try:
            with pytest.raises(StoreRefused):
                get_bytes(store_, "teams/all/ml/before")
        finally:
            world.admin.user_enable("pinnace")


# --- who gets them


def test_each_namespace_gets_its_own_part_whatever_its_pods_say(world: World) -> None:
    with world.opened(world.given("other")) as store_:
        put_bytes(store_, "teams/all/other/mine", b"x")
        with pytest.raises(StoreRefused):
            put_bytes(store_, "teams/all/ml/theirs", b"x")


def test_a_pod_with_the_label_of_anothers_iteration_gets_nothing(world: World) -> None:
    with world.pod("other", of="ml") as thief, pytest.raises(Forbidden):
        thief.store_credentials(world.iterations["ml"], STORE)
    with world.pod("other") as thief, pytest.raises(Forbidden):
        thief.store_credentials(world.iterations["ml"], STORE)


def test_neither_the_operator_nor_a_person_gets_any(world: World) -> None:
    for client in (world.api.operator(), world.api.admin()):
        with client, pytest.raises(Forbidden):
            client.store_credentials(world.iterations["ml"], STORE)


def test_a_store_that_is_not_offered_is_refused_in_the_words_for_none(world: World) -> None:
    refusals = []
    for name in (STORE, "none"):
        with world.pod("outside") as pod, pytest.raises(NotFound) as caught:
            pod.store_credentials(world.iterations["outside"], name)
        refusals.append(caught.value.detail.replace(name, "NAME"))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("labels", [None, {}, {"team": "b"}])
def test_labels_decide_where_the_store_says_so(world: World, labels: dict[str, str] | None) -> None:
    selector = {"matchLabels": {"team": "a"}}
    world.cluster.stores["labelled"] = store(world.endpoint, namespaces=None, namespaceSelector=selector)
    world.cluster.namespaces.pop("ml", None)
    if labels is not None:
        world.cluster.namespaces["ml"] = labels
    with world.pod() as pod:
        with pytest.raises(NotFound):
            pod.store_credentials(world.iterations["ml"], "labelled")
        world.cluster.namespaces["ml"] = {"team": "a"}
        assert pod.store_credentials(world.iterations["ml"], "labelled").session_token


@pytest.mark.parametrize("source", ["TenantSecret", "WorkloadIdentity"])
def test_a_store_whose_pods_have_credentials_of_their_own_gives_none(world: World, source: str) -> None:
    world.cluster.stores["own"] = store(world.endpoint, credentials={"source": source})
    with world.pod() as pod, pytest.raises(NotFound):
        pod.store_credentials(world.iterations["ml"], "own")


# --- what can be wrong


@pytest.mark.parametrize("name", ["absent", "../keys/admin-key", ".."])
def test_a_key_that_the_api_does_not_have_is_told_with_the_mend(world: World, name: str) -> None:
    access = {"source": "STS", "sts": {"secretRef": {"name": name}}}
    world.cluster.stores["keyless"] = store(world.endpoint, credentials=access)
    with world.pod() as pod, pytest.raises(Unavailable) as caught:
        pod.store_credentials(world.iterations["ml"], "keyless")
    assert "artifactStores.keys" in caught.value.hint


def test_a_token_service_that_is_away_is_told(world: World) -> None:
    world.cluster.stores["away"] = store("http://127.0.0.1:9")
    with world.pod() as pod, pytest.raises(Unavailable, match="does not answer"):
        pod.store_credentials(world.iterations["ml"], "away")


def test_nothing_secret_is_logged_or_kept_by_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    given = world.given()
    said = "".join(str(vars(record)) for record in caplog.records if not record.name.startswith("botocore"))
    assert f"'key': '{given.access_key_id}'" in said
    for secret in (given.secret_access_key, given.session_token, world.secret):
        assert secret not in said
        assert secret not in repr(given)
    with world.pod() as pod:
        token = world.cluster.add_pod(world.iterations["ml"], namespace="ml", pod_uid="raw")
        request = urllib.request.Request(
            f"{world.api.url}/api/v1/iterations/{world.iterations['ml']}/credentials",
            data=msgspec.json.encode({"store": STORE}),
            headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.headers["cache-control"] == "no-store"
        assert pod.api_url == world.api.url


# --- how a sidecar uses them


def test_an_upload_goes_on_when_they_end_in_its_middle(tmp_path: Path) -> None:
    """The store ends a session early; a real one ends after 15 minutes at least."""
    now = [0.0]
    with (
        s3_server() as server,
        token_service(ACCESS_KEY, SECRET_KEY) as tokens,
        api_server(tmp_path, store_keys_dir=str(tmp_path / "keys")) as api,
        api.operator() as operator,
        content(os.urandom(2 * MIN_PART_BYTES + 1)) as given,
    ):
        key = tmp_path / "keys" / "admin-key"
        key.mkdir(parents=True)
        (key / "AWS_ACCESS_KEY_ID").write_text("any")
        (key / "AWS_SECRET_ACCESS_KEY").write_text("any")
        access = {"source": "STS", "sts": {"secretRef": {"name": "admin-key"}, "endpoint": tokens.url}}
        api.cluster.stores[STORE] = store(server.endpoint, credentials=access)
        experiment = uuid4()
        iteration = ids.iteration_id(experiment, 0)
        operator.put_experiment(experiment, ExperimentWrite(project="iris", name="one", namespace="ml"))
        operator.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        with api.sidecar(iteration, namespace="ml", pod_uid="one") as pod:
            source = VendedCredentials(lambda: pod.store_credentials(iteration, STORE), monotonic=lambda: now[0])
            settings = StoreSettings(endpoint=server.endpoint, bucket=server.bucket)
            with closing(S3Store(settings, source)) as opened:
                digests = given.digest.parts
                upload = opened.create_multipart("key")
                first = opened.put_part(upload, 1, given.file, digests[0])
                server.expired_tokens = {"session-1"}
                now[0] += 10
                with pytest.raises(StoreRefused, match=r"ExpiredToken|expired"):
                    opened.put_part(upload, 2, given.file, digests[1])
                others = [opened.put_part(upload, n, given.file, digests[n - 1]) for n in (2, 3)]
                assert opened.list_parts(upload) == (first, *others)
                opened.complete_multipart(upload, [first, *others], given.digest)
            # While the API is away, those at hand serve until they end.
            api.stop()
            now[0] += 3000
            assert source.current().session_token == "session-2"
            now[0] += 700
            with pytest.raises(CredentialsMissing):
                source.current()
            api.start()
            now[0] += 10
            assert source.current().session_token == "session-3"
