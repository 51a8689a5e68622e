"""The webhooks as a real API server calls them: the chart's configurations, an operator process with its own rights."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cluster.kubectl import CommandFailed, apply, get, items, kubectl
from pinnace.naming import SIDECAR_CONTAINER
from pinnace_operator.admission.certificates import Serving, issue, split, validity
from pinnace_operator.admission.keeping import SecretKeeper
from pinnace_operator.admission.kubernetes_admission import KubernetesCertificates
from pinnace_operator.admission.review import Decision, Request
from pinnace_operator.admission.rotation import Kept, Plan
from pinnace_operator.admission.server import AdmissionServer
from support.chart import NAMESPACE
from support.control_plane import ControlPlane
from support.eventually import eventually
from support.operator_world import manifest
from support.ports import free_port
from support.webhooks import CONFIGURATIONS, SECRET, configure, create, install, operator, pod

TEAM = "team-a"
LABELS = {"pinnace.dev/inject": "true", "pinnace.dev/experiment": "sweep"}
CONTROLLERS = ("serviceaccount-controller", "namespace-controller", "job-controller")
WEBHOOKS = f"pinnace.{NAMESPACE}"


pytestmark = pytest.mark.usefixtures("plane")


@pytest.fixture(scope="module")
def port(plane: ControlPlane) -> Iterator[int]:
    """With the chart's objects there, and a namespace with a suspended Experiment of two iterations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(plane.kubeconfig))
        chosen_port = free_port()
        install(chosen_port)
        kubectl("create", "namespace", TEAM)
        kubectl("create", "namespace", "team-b")
        experiments = [
            experiment("sweep", suspend=True, parameters={"grid": {"lr": [0.1, 0.01]}}),
            experiment("single", suspend=True),
        ]
        apply(*experiments, namespace=TEAM)
        eventually(lambda: items("serviceaccounts", TEAM) and items("serviceaccounts", "team-b"), timeout=30)
        yield chosen_port


@pytest.fixture(scope="module")
def running(plane: ControlPlane, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(plane.kubeconfig))
        folder = tmp_path_factory.mktemp("operator")
        with operator(plane, folder, port):
            eventually(answers, timeout=60, interval=0.3, what=log_of(folder))
            yield folder


def log_of(folder: Path) -> str:
    return f"the webhooks answer; see {folder / 'operator.log'}"


def experiment(name: str, **spec: Any) -> dict[str, Any]:
    body = manifest(name, **spec)
    return {**body, "metadata": {"name": name}}


def answers() -> bool:
    return created(pod("probe", LABELS | {"pinnace.dev/iteration": "0"}), "--dry-run=server")


def refusal(body: dict[str, Any], namespace: str = TEAM, *options: str) -> str:
    with pytest.raises(CommandFailed) as caught:
        create(body, namespace, *options)
    return str(caught.value)


def sidecars(made: dict[str, Any]) -> list[str]:
    names = [container["name"] for container in made["spec"].get("initContainers", [])]
    return [name for name in names if name == SIDECAR_CONTAINER]


# --- Experiments


@pytest.mark.usefixtures("running")
def test_an_experiment_that_cannot_be_carried_out_is_refused_with_the_field_and_the_mend() -> None:
    twins = experiment("twins", parameters={"grid": {"a-b": [1], "a_b": [2]}})
    for options in ((), ("--dry-run=server",)):
        said = refusal(twins, TEAM, *options)
        assert "spec.parameters.grid has the parameters" in said
        assert "rename one of them" in said
    assert get("experiment", "twins", TEAM) is None


@pytest.mark.usefixtures("running")
def test_what_is_doubtful_is_taken_with_a_warning(plane: ControlPlane) -> None:
    doubtful = experiment(
        "doubtful",
        suspend=True,
        parameters={"list": [{"x": 1}, {"x": 2}]},
        artifacts={"completion": {"settleSeconds": 0}},
    )
    answer = call(plane, "POST", f"/apis/pinnace.dev/v1alpha1/namespaces/{TEAM}/experiments?dryRun=All", doubtful)
    assert answer.status == 201, answer.data
    warnings = " ".join(answer.headers.getlist("Warning"))
    assert "settleSeconds is 0" in warnings
    assert "spec.objective is not set" in warnings


@pytest.mark.usefixtures("running")
def test_an_experiment_that_was_stored_with_a_fault_can_still_be_suspended_labelled_and_deleted() -> None:
    late, other = (experiment(name, parameters={"grid": {"a-b": [1], "a_b": [2]}}) for name in ("late", "other"))
    configuration = get("validatingwebhookconfiguration", WEBHOOKS)
    assert configuration is not None
    kubectl("delete", "validatingwebhookconfiguration", WEBHOOKS)
    try:
        eventually(lambda: created(late), timeout=20, what="nobody refuses it")
    finally:
        kept = {field: configuration["metadata"][field] for field in ("name", "labels")}
        apply({**configuration, "metadata": kept})
    eventually(lambda: not created(other, "--dry-run=server"), timeout=20, what="the configuration is in force again")
    kubectl("patch", "experiment", "late", "--type=merge", '--patch={"spec":{"suspend":true}}', namespace=TEAM)
    kubectl("label", "experiment", "late", "seen=yes", namespace=TEAM)
    kubectl("delete", "experiment", "late", namespace=TEAM)


def created(body: dict[str, Any], *options: str) -> bool:
    try:
        return bool(create(body, TEAM, *options))
    except CommandFailed:
        return False


# --- pods


@pytest.mark.usefixtures("running")
def test_a_labelled_pod_gets_the_sidecar_first_and_what_it_needs_and_keeps_its_own() -> None:
    for options in (("--dry-run=server",), ()):
        made = create(
            pod("labelled", LABELS | {"pinnace.dev/iteration": "1"}, terminationGracePeriodSeconds=5), TEAM, *options
        )
        sweep = get("experiment", "sweep", TEAM)
        assert sweep is not None
        assert made["metadata"]["labels"]["pinnace.dev/experiment-id"] == sweep["metadata"]["uid"]
        assert made["spec"]["initContainers"][0]["name"] == SIDECAR_CONTAINER
        assert made["spec"]["initContainers"][0]["restartPolicy"] == "Always"
        assert made["spec"]["terminationGracePeriodSeconds"] == 630
        work = made["spec"]["containers"][0]
        environment = {variable["name"]: variable["value"] for variable in work["env"]}
        assert environment["PINNACE_PARAM_LR"] == "0.01"
        assert environment["MINE"] == "1"
        assert "/artifacts" in [mount["mountPath"] for mount in work["volumeMounts"]]


@pytest.mark.usefixtures("running")
def test_two_labels_are_enough_where_there_is_one_iteration() -> None:
    made = create(pod("bare", LABELS | {"pinnace.dev/experiment": "single"}), TEAM, "--dry-run=server")
    assert made["metadata"]["labels"]["pinnace.dev/iteration"] == "0"
    assert sidecars(made) == [SIDECAR_CONTAINER]


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("labels", [{}, {"pinnace.dev/inject": "false"}, {"pinnace.dev/experiment": "sweep"}])
def test_a_pod_that_does_not_ask_is_left_untouched(labels: dict[str, str]) -> None:
    made = create(pod("untouched", labels), TEAM, "--dry-run=server")
    assert "initContainers" not in made["spec"]
    assert made["metadata"].get("labels", {}) == labels


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("labels", "namespace", "says"),
    [
        (LABELS | {"pinnace.dev/inject": "yes"}, TEAM, 'pinnace.dev/inject is "yes": write "true"'),
        (LABELS | {"pinnace.dev/experiment": "nobody"}, TEAM, "there is no Experiment nobody in namespace team-a"),
        (LABELS, "team-b", "there is no Experiment sweep in namespace team-b"),
        (LABELS, TEAM, 'iterations "0" to "1": write one of them'),
        (LABELS | {"pinnace.dev/iteration": "2"}, TEAM, 'iterations "0" to "1": write one of them'),
    ],
)
def test_a_labelled_pod_that_cannot_be_given_a_sidecar_is_refused_in_words(
    labels: dict[str, str], namespace: str, says: str
) -> None:
    assert says in refusal(pod("refused", labels), namespace, "--dry-run=server")


@pytest.mark.usefixtures("running")
def test_a_pod_of_our_own_jobs_has_one_sidecar_as_before() -> None:
    apply(experiment("ordinary"), namespace=TEAM)
    [made] = eventually(
        lambda: items("pods", TEAM, "pinnace.dev/experiment=ordinary"), timeout=60, interval=0.3, what="its pod"
    )
    assert sidecars(made) == [SIDECAR_CONTAINER]
    assert "pinnace.dev/inject" not in made["metadata"]["labels"]
    kubectl("delete", "experiment", "ordinary", namespace=TEAM)


@pytest.mark.usefixtures("running")
def test_what_another_webhook_puts_in_afterwards_gets_the_volume_too_and_there_is_one_sidecar() -> None:
    """The other one is called after ours, changes our sidecar as well, and ours is called again."""
    seen: list[list[str]] = []

    def meddle(request: Request) -> Decision:
        assert request.object is not None
        spec = request.object["spec"]
        seen.append([container["name"] for container in spec["containers"]])
        if len(spec["containers"]) > 1:
            return Decision()
        change: list[dict[str, Any]] = [
            {"op": "add", "path": "/spec/containers/-", "value": {"name": "proxy", "image": "proxy:1"}},
            {"op": "replace", "path": "/spec/initContainers/0/image", "value": "mirror.test/sidecar:1"},
        ]
        return Decision(patch=tuple(change))

    serving = issue(["localhost"], timedelta(hours=1), datetime.now(UTC))
    with AdmissionServer({"/meddle": meddle}, _Fixed(serving), port=0) as meddler:
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "zz-meddler"},
            "webhooks": [
                {
                    "name": "meddler.example.org",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "rules": [
                        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
                    ],
                    "clientConfig": {
                        "url": f"https://localhost:{meddler.port}/meddle",
                        "caBundle": base64.b64encode(serving.authority).decode(),
                    },
                }
            ],
        }
        apply(configuration)
        try:
            body = pod("meddled", LABELS | {"pinnace.dev/iteration": "0"})
            made = eventually(
                lambda: meddled if len((meddled := create(body, TEAM, "--dry-run=server"))["spec"]["containers"]) == 2
                else None,
                timeout=20,
                what="the other webhook is called",
            )  # fmt: skip
        finally:
            kubectl("delete", "mutatingwebhookconfiguration", "zz-meddler")
    assert seen
    assert sidecars(made) == [SIDECAR_CONTAINER]
    assert made["spec"]["initContainers"][0]["image"] == "mirror.test/sidecar:1", "another's change stays"
    for container in made["spec"]["containers"]:
        assert [mount["name"] for mount in container["volumeMounts"]].count("pinnace-artifacts") == 1
        names = [variable["name"] for variable in container["env"]]
        assert len(names) == len(set(names))
    volumes = [volume["name"] for volume in made["spec"]["volumes"]]
    assert len(volumes) == len(set(volumes))


@pytest.mark.usefixtures("running")
def test_the_operators_log_has_no_key_and_no_token(running: Path) -> None:
    token = json.loads(json.dumps((running / "kubeconfig").read_text())).split("token: ")[1].strip()
    log = (running / "operator.log").read_text()
    assert "webhook.serving" in log
    assert "PRIVATE KEY" not in log
    assert token not in log


# --- certificates


def certificates(plane: ControlPlane) -> KubernetesCertificates:
    return KubernetesCertificates(plane.login, namespace=NAMESPACE, secret=SECRET, webhooks=WEBHOOKS)


def test_replicas_that_begin_at_once_serve_one_certificate_that_both_configurations_trust(
    plane: ControlPlane, port: int
) -> None:
    plan = Plan(hosts=("localhost",), lifetime=timedelta(days=1))
    empty_secret()
    found: list[Serving | None] = []

    def begin() -> None:
        keeper = SecretKeeper(certificates(plane), plan, now=lambda: datetime.now(UTC))
        eventually(lambda: keeper.look()[0], timeout=20)
        found.append(keeper.look()[0])

    replicas = [threading.Thread(target=begin) for _ in range(4)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()
    assert len(found) == 4
    first = found[0]
    assert first is not None
    assert all(serving == first for serving in found)
    assert all(first.authority in split(bundle) for bundle in certificates(plane).authorities())
    assert len(certificates(plane).authorities()) == len(CONFIGURATIONS)


def test_an_upgrade_of_the_chart_leaves_certificate_and_authorities_in_place(plane: ControlPlane, port: int) -> None:
    keeper = SecretKeeper(
        certificates(plane), Plan(hosts=("localhost",), lifetime=timedelta(days=1)), lambda: datetime.now(UTC)
    )
    eventually(lambda: keeper.look()[0], timeout=20)
    before, secret = certificates(plane).authorities(), certificates(plane).secret()
    configure(port)
    assert certificates(plane).authorities() == before
    assert certificates(plane).secret() == secret


def shown(port: int, authorities: bytes) -> bytes | None:
    """The certificate that a new connection sees. Raises SSLError when it is none that `authorities` vouch for."""
    context = ssl.create_default_context(cadata=authorities.decode())
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.getpeercert(binary_form=True)


def empty_secret() -> None:
    kubectl("patch", "secret", SECRET, "--type=merge", '--patch={"data":null}', namespace=NAMESPACE)


class _Fixed:
    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def look(self) -> tuple[Serving | None, timedelta]:
        return self._serving, timedelta(hours=1)


def call(plane: ControlPlane, method: str, path: str, body: dict[str, Any]) -> urllib3.BaseHTTPResponse:
    http = urllib3.PoolManager(ca_certs=str(plane.authority), retries=False, timeout=20.0)
    headers = {"Authorization": f"Bearer {plane.token}", "Content-Type": "application/json"}
    return http.request(method, f"{plane.url}{path}", body=json.dumps(body), headers=headers)


# --- with an operator that ends: these come last, because the others share one that runs


@pytest.mark.timeout(120)
def test_certificates_change_in_mid_use_without_a_refused_request(plane: ControlPlane, tmp_path: Path) -> None:
    port, lifetime = free_port(), 9
    empty_secret()
    configure(port)
    with operator(plane, tmp_path / "short", port, webhook_certificate_seconds=str(lifetime)):
        eventually(answers, timeout=60, interval=0.2, what=log_of(tmp_path / "short"))
        first = Kept.from_secret(certificates(plane).secret()[0]).current
        assert first is not None
        body = pod("steady", LABELS | {"pinnace.dev/iteration": "0"})
        asked, wrong, seen = 0, [], set()
        published = certificates(plane)
        # Until the first certificate has expired, and some time more.
        until = validity(first.certificate)[1] + timedelta(seconds=3)
        while datetime.now(UTC) < until:
            answer = call(plane, "POST", f"/api/v1/namespaces/{TEAM}/pods?dryRun=All", body)
            asked += 1
            if answer.status != 201:
                wrong.append((datetime.now(UTC), answer.status, answer.data[:300]))
            seen.add(shown(port, published.authorities()[0]))
    assert wrong == []
    assert asked > 30
    assert len(seen) >= 2


@pytest.mark.timeout(120)
def test_while_it_is_down_labelled_pods_are_refused_and_nothing_else_is(plane: ControlPlane, tmp_path: Path) -> None:
    configure(free_port())
    eventually(lambda: not answers(), timeout=20, what="the webhook is away")
    assert "failed calling webhook" in refusal(pod("labelled-now", LABELS), TEAM, "--dry-run=server")
    create(pod("unlabelled", {"app": "other"}), TEAM, "--dry-run=server")
    create(pod("not-wanted", {"pinnace.dev/inject": "false"}), TEAM, "--dry-run=server")
    for namespace in ("kube-system", NAMESPACE):
        create(pod("of-the-system", LABELS), namespace, "--dry-run=server")
    create(experiment("meanwhile"), TEAM, "--dry-run=server")
    kubectl("delete", "mutatingwebhookconfiguration", WEBHOOKS)
    eventually(answers, timeout=20, what="without the configuration nothing is held up")
