"""Claims, rescues and restores on a real API server: it takes what is built, and refuses what the CRD forbids."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.kubectl import CommandFailed, apply, get, kubectl
from pinnace_operator.acceptance import accept
from pinnace_operator.cluster_objects import job_view
from pinnace_operator.experiment import Experiment
from pinnace_operator.job import build_job
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.proof import Abandoned
from pinnace_operator.rescue import build_rescue
from pinnace_operator.volumes import claim
from support.control_plane import ControlPlane
from support.crd import BAD, GOOD, Expectation, documents
from support.operator_world import PLATFORM

NAMESPACE = "claims"
ENDS = ("-volume", "both-kinds")
OURS = [path for path in BAD if path.stem.startswith(("claim-", "restore-")) or path.stem.endswith(ENDS)]


@pytest.fixture(scope="module", autouse=True)
def namespace(plane: ControlPlane) -> None:
    kubectl("create", "namespace", NAMESPACE)


@pytest.fixture(autouse=True)
def cluster(plane: ControlPlane) -> KubernetesCluster:
    return KubernetesCluster(plane.login)


@pytest.fixture
def experiment() -> Iterator[Experiment]:
    [sample] = documents(next(path for path in GOOD if path.stem == "persistent"))
    sample["spec"]["suspend"] = True
    apply(sample, namespace=NAMESPACE)
    stored = get("experiment", "persistent", NAMESPACE)
    assert stored is not None
    yield Experiment.from_manifest(stored)
    kubectl("delete", "experiment", "persistent", "--ignore-not-found", namespace=NAMESPACE)


def test_a_claim_is_made_once_stays_as_it_was_and_belongs_to_its_experiment(
    cluster: KubernetesCluster, experiment: Experiment
) -> None:
    job = build_job(experiment, 0, {}, accept(experiment, PLATFORM), PLATFORM)
    wanted = claim(experiment, job)
    assert wanted is not None
    cluster.create_claim(wanted)
    name = wanted["metadata"]["name"]
    made = get("persistentvolumeclaim", name, NAMESPACE)
    assert made is not None
    assert made["spec"]["resources"]["requests"]["storage"] == "200Gi"
    larger = {**wanted, "spec": {**wanted["spec"], "resources": {"requests": {"storage": "300Gi"}}}}
    cluster.create_claim(larger)
    assert get("persistentvolumeclaim", name, NAMESPACE) == made
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Experiment", experiment.metadata.uid, True)


def test_training_and_rescue_are_valid_jobs_and_told_apart(cluster: KubernetesCluster, experiment: Experiment) -> None:
    accepted = accept(experiment, PLATFORM)
    cluster.apply_job(build_job(experiment, 0, {}, accepted, PLATFORM))
    pod = Abandoned(uid="0e7e1b5e-0000-4000-8000-000000000000", name="persistent-0-abcde")
    rescue = build_rescue(experiment, 0, pod, accepted, PLATFORM)
    cluster.apply_job(rescue)
    # Once more changes nothing.
    cluster.apply_job(rescue)
    jobs, _ = cluster.jobs(NAMESPACE, experiment.metadata.uid)
    assert {view.rescues for view in map(job_view, jobs)} == {"", pod.uid}


def test_a_rescue_keeps_to_the_restricted_level(experiment: Experiment) -> None:
    """Where nothing of the template's says otherwise; the restore's container is of the same kind."""
    kubectl("create", "namespace", "strict")
    kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    pod = Abandoned(uid="0e7e1b5e-0000-4000-8000-000000000000", name="persistent-0-abcde")
    template = build_rescue(experiment, 0, pod, accept(experiment, PLATFORM), PLATFORM)["spec"]["template"]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rescue", **template["metadata"]}}
    kubectl(
        "create", "--dry-run=server", "--filename=-", namespace="strict",
        stdin=yaml.safe_dump(body | {"spec": template["spec"] | {"serviceAccountName": "default"}}),
    )  # fmt: skip


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_what_is_forbidden_is_refused_with_the_field_and_what_to_write(path: Path) -> None:
    *before, refused = documents(path)
    for document in before:
        document["spec"]["suspend"] = True
        apply(document, namespace=NAMESPACE)
    expectation = Expectation.of(path)
    with pytest.raises(CommandFailed) as caught:
        kubectl("apply", "--dry-run=server", "--filename=-", namespace=NAMESPACE, stdin=yaml.safe_dump(refused))
    assert f"{expectation.field}: " in str(caught.value)
    assert expectation.message in str(caught.value)


def test_without_a_word_about_the_volume_it_is_a_folder_of_the_node() -> None:
    [sample] = documents(next(path for path in GOOD if path.stem == "smallest"))
    command = ("apply", "--dry-run=server", "--filename=-", "--output=yaml")
    stored = yaml.safe_load(kubectl(*command, namespace=NAMESPACE, stdin=yaml.safe_dump(sample)))
    assert stored["spec"]["artifacts"]["volume"] == {}
    experiment = Experiment.from_manifest(stored)
    job = build_job(experiment, 0, {}, accept(experiment, PLATFORM), PLATFORM)
    [volume] = [v for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "pinnace-artifacts"]
    assert volume["emptyDir"] == {"sizeLimit": "20Gi"}
    assert claim(experiment, job) is None
