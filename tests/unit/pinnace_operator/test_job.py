"""The Job of an iteration: what is added to the user's pod, and what is left alone."""

import copy
import dataclasses
from typing import Any

import msgspec
import pytest

from pinnace.ids import iteration_id
from pinnace.settings import SIDECAR_PREFIX, STORE_PREFIX, SidecarSettings, StoreSettings, load
from pinnace_operator.acceptance import NotAcceptedError, accept
from pinnace_operator.experiment import Experiment
from pinnace_operator.job import build_service, job_name, labels
from pinnace_operator.workers import RENDEZVOUS
from support.operator_world import PLATFORM, UID, experiment, job_of, manifest

FIRST_INIT = "spec.template.spec.initContainers[0]"


def job(body: Experiment, index: int = 0) -> dict[str, Any]:
    return job_of(body, index)


def pod_of(body: Experiment, index: int = 0) -> dict[str, Any]:
    spec: dict[str, Any] = job(body, index)["spec"]["template"]["spec"]
    return spec


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def test_the_sidecar_is_a_native_sidecar_and_the_first_of_all() -> None:
    pod = pod_of(experiment(pod={"initContainers": [{"name": "data", "image": "data:1"}]}))
    assert [container["name"] for container in pod["initContainers"]] == ["pinnace-sidecar", "data"]
    assert pod["initContainers"][0]["restartPolicy"] == "Always"
    assert pod["initContainers"][0]["startupProbe"]["httpGet"]["port"] == 8085


def test_the_sidecar_reads_from_its_environment_what_the_experiment_says() -> None:
    body = experiment(
        artifacts={
            "mountPath": "/out",
            "include": ["models/**"],
            "exclude": [],
            "completion": {"settleSeconds": 60, "markers": False},
            "compression": {"zstdLevel": 9},
            "buffer": {"sizeLimit": "1Gi"},
            "drainTimeoutSeconds": 120,
            "store": {"bucket": "team-a-bucket", "prefix": "x/y", "addressing": "Virtual", "region": "eu-west-1"},
        },
        metrics={"files": ["m.jsonl", "logs/*.jsonl"]},
    )
    found = environment(pod_of(body)["initContainers"][0]) | {"PINNACE_POD_UID": "the-pod"}
    settings = load(SidecarSettings, found, SIDECAR_PREFIX)
    assert settings == SidecarSettings(
        iteration_id=iteration_id(body.id, 0),
        pod_uid="the-pod",
        artifacts_dir="/out",
        buffer_dir="/buffer",
        buffer_limit_bytes=int(2**30 * 0.9),
        include=("models/**",),
        exclude=(),
        settle_seconds=60,
        markers=False,
        zstd_level=9,
        metrics_files=("m.jsonl", "logs/*.jsonl", "/pinnace-metrics.jsonl"),
        drain_timeout_seconds=120,
        api_url="http://api.test:8080",
        api_token_file="/var/run/pinnace/token/token",
    )
    assert load(StoreSettings, found, STORE_PREFIX) == StoreSettings(
        endpoint="http://minio.test:9000",
        region="eu-west-1",
        bucket="team-a-bucket",
        prefix="x/y",
        addressing="virtual",
        credentials_dir="/var/run/pinnace/store",
    )


def test_the_pod_uid_comes_from_the_pod_itself() -> None:
    [uid] = [v for v in pod_of(experiment())["initContainers"][0]["env"] if v["name"] == "PINNACE_POD_UID"]
    assert uid["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"


def test_the_sidecar_keeps_to_the_restricted_level() -> None:
    context = pod_of(experiment())["initContainers"][0]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == 65532
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_only_the_sidecar_sees_credentials_token_and_buffer() -> None:
    pod = pod_of(experiment(pod={"initContainers": [{"name": "data", "image": "data:1"}]}))
    sidecar, others = pod["initContainers"][0], [*pod["initContainers"][1:], *pod["containers"]]
    ours = {"pinnace-buffer", "pinnace-token", "pinnace-store-credentials"}
    assert ours < {mount["name"] for mount in sidecar["volumeMounts"]}
    for container in others:
        assert [mount["name"] for mount in container["volumeMounts"]] == ["pinnace-artifacts"]
    [artifacts] = [mount for mount in sidecar["volumeMounts"] if mount["name"] == "pinnace-artifacts"]
    assert artifacts["readOnly"] is True


def test_the_token_is_for_the_api_alone_and_short_lived() -> None:
    [token] = [volume for volume in pod_of(experiment())["volumes"] if volume["name"] == "pinnace-token"]
    [source] = token["projected"]["sources"]
    assert source["serviceAccountToken"] == {"audience": "pinnace-api", "expirationSeconds": 3600, "path": "token"}


def test_a_missing_secret_does_not_hold_up_the_training() -> None:
    body = experiment(artifacts={"store": {"credentialsSecretRef": {"name": "mine"}}})
    [volume] = [volume for volume in pod_of(body)["volumes"] if volume["name"] == "pinnace-store-credentials"]
    assert volume["secret"] == {"secretName": "mine", "optional": True}


def test_authorities_and_encryption_of_the_store_reach_the_sidecar() -> None:
    store = {"caBundleRef": {"name": "mine", "key": "a.pem"}, "serverSideEncryption": "AES256", "checksums": "Never"}
    pod = pod_of(experiment(artifacts={"store": store}))
    sidecar = pod["initContainers"][0]
    settings = load(StoreSettings, environment(sidecar), STORE_PREFIX)
    assert (settings.server_side_encryption, settings.checksums) == ("AES256", "never")
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "pinnace-store-ca"]
    assert volume["configMap"] == {
        "name": "mine",
        "items": [{"key": "a.pem", "path": "ca.crt"}],
        "optional": True,
    }
    [mount] = [mount for mount in sidecar["volumeMounts"] if mount["name"] == "pinnace-store-ca"]
    assert (mount["readOnly"], settings.ca_file) == (True, f"{mount['mountPath']}/ca.crt")
    assert "subPath" not in mount


def test_without_authorities_there_is_no_volume_for_them() -> None:
    pod = pod_of(experiment())
    assert "pinnace-store-ca" not in {volume["name"] for volume in pod["volumes"]}
    assert load(StoreSettings, environment(pod["initContainers"][0]), STORE_PREFIX).ca_file == ""


def test_what_the_user_wrote_is_left_as_it_is() -> None:
    pod = {
        "automountServiceAccountToken": False,
        "nodeSelector": {"disk": "fast"},
        "securityContext": {"runAsUser": 1000},
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": 5000,
        "aFieldOfTomorrow": {"deep": [1, 2]},
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [
            {
                "name": "train",
                "image": "training:1",
                "command": ["python"],
                "args": ["$(PINNACE_PARAM_LR)"],
                "env": [{"name": "A", "value": "$(PINNACE_PARAM_LR)"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "securityContext": {"privileged": False},
            }
        ],
    }
    before = copy.deepcopy(pod)
    built = pod_of(experiment(pod=pod, parameters={"list": [{"lr": 0.1}]}))
    assert pod == before
    for field in set(pod) - {"volumes", "containers"}:
        assert built[field] == pod[field]
    [train] = built["containers"]
    for field in ("command", "args", "securityContext", "image", "name"):
        assert train[field] == before["containers"][0][field]  # type: ignore[index]
    assert train["env"][-1] == {"name": "A", "value": "$(PINNACE_PARAM_LR)"}
    assert train["volumeMounts"][0] == {"name": "data", "mountPath": "/data"}
    assert built["volumes"][0] == {"name": "data", "emptyDir": {}}


def test_parameters_reach_every_container_before_its_own_variables() -> None:
    body = experiment(parameters={"list": [{"lr": 0.1, "name": "a b", "deep": True}]})
    found = environment(pod_of(body)["containers"][0])
    assert found == {
        "PINNACE_EXPERIMENT": "sweep",
        "PINNACE_ITERATION": "0",
        "PINNACE_ITERATION_ID": str(iteration_id(body.id, 0)),
        "PINNACE_PROJECT": "team-a",
        "PINNACE_ARTIFACTS_DIR": "/artifacts",
        "PINNACE_PARAMS": '{"deep":true,"lr":0.1,"name":"a b"}',
        "PINNACE_PARAM_DEEP": "true",
        "PINNACE_PARAM_LR": "0.1",
        "PINNACE_PARAM_NAME": "a b",
    }


def test_a_value_that_looks_like_a_reference_arrives_as_it_is() -> None:
    found = environment(pod_of(experiment(parameters={"list": [{"price": "$(HOME)"}]}))["containers"][0])
    assert found["PINNACE_PARAM_PRICE"] == "$$(HOME)"


def test_the_pod_has_time_to_drain() -> None:
    assert pod_of(experiment(artifacts={"drainTimeoutSeconds": 90}))["terminationGracePeriodSeconds"] == 120


def test_a_failed_training_is_tried_in_a_new_pod_that_waits_for_the_last() -> None:
    built = job(experiment(backoffLimit=4, activeDeadlineSeconds=60))
    assert built["spec"]["podReplacementPolicy"] == "Failed"
    assert built["spec"]["backoffLimitPerIndex"] == 4
    assert built["spec"]["maxFailedIndexes"] == 0
    assert built["spec"]["activeDeadlineSeconds"] == 60
    assert built["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_experiment_owns_the_job() -> None:
    [owner] = job(experiment())["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (UID, True, True)


def test_the_labels_of_the_contract_are_on_job_and_pod() -> None:
    body = experiment()
    built = job(body)
    expected = {
        "pinnace.dev/experiment": "sweep",
        "pinnace.dev/experiment-id": UID,
        "pinnace.dev/iteration": "0",
        "pinnace.dev/iteration-id": str(iteration_id(body.id, 0)),
    }
    assert labels(body, 0) == expected
    assert expected.items() <= built["metadata"]["labels"].items()
    assert built["spec"]["template"]["metadata"]["labels"] == expected


def test_a_queue_finds_its_label_on_the_job() -> None:
    body = manifest()
    body["spec"]["template"]["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "gpu", "team": "a"}}
    built = job(Experiment.from_manifest(body))
    assert built["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu"
    assert "team" not in built["metadata"]["labels"]
    assert built["spec"]["template"]["metadata"]["labels"]["team"] == "a"


@pytest.mark.parametrize("name", ["a", "a.b-c", "x" * 253, "-".join("ab" * 60), "a" * 62 + "." + "b" * 10])
@pytest.mark.parametrize("index", [0, 999])
def test_names_and_labels_fit_however_long_the_experiments_name_is(name: str, index: int) -> None:
    body = experiment(name)
    found = job_name(body, index)
    assert len(f"{found}-1023") <= 63
    assert all((part.isalnum() and part.islower()) or part.isdigit() for part in found.split("-"))
    label = labels(body, index)["pinnace.dev/experiment"]
    assert len(label) <= 63
    assert label[-1].isalnum()


def test_names_differ_between_iterations_and_between_experiments_of_the_same_name() -> None:
    one = experiment()
    other = msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, uid=UID.replace("3f", "4f")))
    assert len({job_name(one, 0), job_name(one, 1), job_name(other, 0)}) == 3


@pytest.mark.parametrize(
    ("pod", "field"),
    [
        ({"volumes": [{"name": "pinnace-buffer", "emptyDir": {}}]}, "spec.template.spec.volumes"),
        ({"containers": [{"name": "pinnace-sidecar", "image": "x"}]}, "spec.template.spec.containers[0].name"),
        (
            {"initContainers": [{"name": "i", "image": "x", "env": [{"name": "PINNACE_PARAMS"}]}]},
            "spec.template.spec.initContainers[0].env",
        ),
        (
            {
                "containers": [
                    {"name": "t", "image": "x"},
                    {"name": "u", "image": "x", "volumeMounts": [{"name": "d", "mountPath": "/artifacts/"}]},
                ]
            },
            "spec.template.spec.containers[1].volumeMounts",
        ),
        (
            {"containers": [{"name": "t", "volumeMounts": [{"name": "pinnace-token", "mountPath": "/t"}]}]},
            "spec.template.spec.containers[0].volumeMounts",
        ),
        ({"containers": []}, "spec.template.spec.containers"),
        ({"restartPolicy": "Always"}, "spec.template.spec.restartPolicy"),
        ({"terminationGracePeriodSeconds": 30}, "spec.template.spec.terminationGracePeriodSeconds"),
    ],
)
def test_what_we_add_and_the_user_set_is_refused_by_name(pod: dict[str, Any], field: str) -> None:
    with pytest.raises(NotAcceptedError) as caught:
        accept(experiment(pod=pod), PLATFORM)
    assert caught.value.reason == "NameClash"
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize(
    ("pod", "field"),
    [
        ({"hostname": "mine"}, "spec.template.spec.hostname"),
        ({"subdomain": "mine"}, "spec.template.spec.subdomain"),
        *(
            ({"initContainers": [{"name": "i", "image": "x", "env": [{"name": name}]}]}, f"{FIRST_INIT}.env: {name} ")
            for name in RENDEZVOUS
        ),
    ],
)
def test_what_workers_are_given_and_the_user_set_is_refused_by_name(pod: dict[str, Any], field: str) -> None:
    with pytest.raises(NotAcceptedError) as caught:
        accept(experiment(pod=pod, workers=2), PLATFORM)
    assert caught.value.reason == "NameClash"
    assert str(caught.value).startswith(field)


def test_one_worker_may_have_a_subdomain_and_variables_of_torchs() -> None:
    container = {"name": "train", "image": "x", "env": [{"name": "MASTER_PORT", "value": "1"}]}
    pod = pod_of(experiment(pod={"subdomain": "mine", "containers": [container]}))
    assert pod["subdomain"] == "mine"
    assert pod["containers"][0]["env"][-1] == {"name": "MASTER_PORT", "value": "1"}


def test_workers_are_told_what_torch_reads_and_nothing_else_differs_from_a_single_pod() -> None:
    pod = {"initContainers": [{"name": "data", "image": "data:1"}]}
    one, several = job(experiment(pod=pod)), job(experiment(pod=pod, workers=3))
    name = several["metadata"]["name"]
    index = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    expected = {
        **dict.fromkeys(("PINNACE_WORKER", "RANK", "NODE_RANK", "PET_NODE_RANK"), index),
        **dict.fromkeys(("PINNACE_WORKERS", "WORLD_SIZE", "PET_NNODES"), "3"),
        **dict.fromkeys(("MASTER_ADDR", "PET_MASTER_ADDR"), f"{name}-0.{name}"),
        **dict.fromkeys(("MASTER_PORT", "PET_MASTER_PORT"), "29500"),
    }
    built = several["spec"]["template"]["spec"]
    for container in (built["initContainers"][1], *built["containers"]):
        found = {v["name"]: v.get("value") or v["valueFrom"] for v in container["env"] if v["name"] in expected}
        assert found == expected
        container["env"] = [variable for variable in container["env"] if variable["name"] not in expected]
    assert built.pop("subdomain") == name
    for field in ("completions", "parallelism"):
        assert (several["spec"].pop(field), one["spec"].pop(field)) == (3, 1)
    assert several == one
    assert build_service(experiment(), 0, one) is None


def test_the_service_names_the_pods_of_one_iteration_before_they_are_ready() -> None:
    body = experiment("9-lives", workers=2)
    built = job(body)
    service = build_service(body, 0, built)
    assert service is not None
    assert service["metadata"]["name"] == built["spec"]["template"]["spec"]["subdomain"] == f"w{job_name(body, 0)}"
    assert service["metadata"]["ownerReferences"] == built["metadata"]["ownerReferences"]
    assert service["spec"] == {
        "clusterIP": "None",
        "selector": {"pinnace.dev/iteration-id": str(iteration_id(body.id, 0))},
        "publishNotReadyAddresses": True,
    }


def test_a_disruption_is_left_out_of_the_count_and_the_users_rules_come_first() -> None:
    ours = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    theirs = [
        {"action": "FailJob", "onExitCodes": {"containerName": "train", "operator": "In", "values": [42]}},
        {"action": "Count", "onPodConditions": [{"type": "Odd", "status": "Unknown"}]},
    ]
    assert job(experiment())["spec"]["podFailurePolicy"] == {"rules": [ours]}
    built = job(experiment(podFailurePolicy={"rules": theirs}))
    assert built["spec"]["podFailurePolicy"] == {"rules": [*theirs, ours]}


def test_where_a_container_is_tried_again_in_its_pod_kubernetes_takes_no_rules() -> None:
    built = job(experiment(pod={"restartPolicy": "OnFailure"}, backoffLimit=4))["spec"]
    assert built["backoffLimit"] == 4
    assert not built.keys() & {"podFailurePolicy", "backoffLimitPerIndex", "maxFailedIndexes"}


@pytest.mark.parametrize(
    ("pod", "rule", "says"),
    [
        ({"restartPolicy": "OnFailure"}, {}, "spec.podFailurePolicy needs restartPolicy Never"),
        ({}, {"containerName": "tran"}, "spec.podFailurePolicy.rules[0].onExitCodes.containerName: tran is no"),
    ],
)
def test_rules_that_kubernetes_would_refuse_are_refused_with_the_field(
    pod: dict[str, Any], rule: dict[str, Any], says: str
) -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1], **rule}}]
    with pytest.raises(NotAcceptedError) as caught:
        accept(experiment(pod=pod, podFailurePolicy={"rules": rules}), PLATFORM)
    assert caught.value.reason == "InvalidPodFailurePolicy"
    assert str(caught.value).startswith(says)


def test_without_any_bucket_the_spec_is_not_accepted() -> None:
    platform = dataclasses.replace(PLATFORM, default_store=None)
    with pytest.raises(NotAcceptedError) as caught:
        accept(experiment(), platform)
    assert caught.value.reason == "StoreNotConfigured"
    assert "spec.artifacts.store.bucket" in str(caught.value)
    assert accept(experiment(artifacts={"store": {"bucket": "mine"}}), platform).store.settings.bucket == "mine"


def test_system_metrics_are_asked_of_the_training_and_read_by_the_sidecar() -> None:
    pod = pod_of(experiment(metrics={"system": {"enabled": True, "intervalSeconds": 30}}))
    training, sidecar = environment(pod["containers"][0]), environment(pod["initContainers"][0])
    assert training["PINNACE_SYSTEM_METRICS_FILE"] == "/artifacts/system-metrics.jsonl"
    assert training["PINNACE_SYSTEM_METRICS_SECONDS"] == "30"
    found = load(SidecarSettings, sidecar | {"PINNACE_POD_UID": "the-pod"}, SIDECAR_PREFIX)
    assert found.metrics_files == ("metrics.jsonl", "/pinnace-metrics.jsonl", "/system-metrics.jsonl")


def test_without_being_asked_for_there_are_no_system_metrics() -> None:
    assert not [name for name in environment(pod_of(experiment())["containers"][0]) if "SYSTEM" in name]
