"""What pods leave on a claim: when it is rescued, when it is left alone, and what the conditions say meanwhile."""

from typing import Any

import pytest

from pinnace.ids import iteration_id
from pinnace.naming import RESCUES_LABEL
from pinnace.records import Problem
from pinnace.settings import SIDECAR_PREFIX, SidecarSettings, load
from pinnace_operator.acceptance import NotAcceptedError, accept
from pinnace_operator.experiment_spec import Shards as ShardsOfSpec
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.job import build_job
from pinnace_operator.ports import RefusedError
from pinnace_operator.proof import Abandoned
from pinnace_operator.rescue import build_rescue, rescue_name
from pinnace_operator.volumes import claim
from pinnace_sidecar.checkpoints import Shards
from pinnace_sidecar.restore import RESTORE_PREFIX, RestoreSettings
from support.operator_world import PLATFORM, UID, World, experiment, manifest

SYNCED = ConditionType.ARTIFACTS_SYNCED
CLAIM: dict[str, Any] = {"volume": {"persistentVolumeClaim": {"size": "50Gi"}}}


def abandoned(*, pods: int = 1, **spec: Any) -> tuple[World, list[str]]:
    """An iteration that has failed, whose pods were all killed before their sidecars had shipped everything."""
    world = World(manifest(artifacts=CLAIM, backoffLimit=pods - 1, **spec))
    world.settle()
    uids = []
    for number in range(pods):
        uids.append(world.start_pod(0))
        world.settle()
        world.write_file(uids[-1])
        world.ship(uids[-1], Problem(reason="StoreUnreachable", message="away", files=1))
        world.end_pod(uids[-1], exit_code=1, last=number == pods - 1, proven=False)
    world.settle()
    return world, uids


def test_what_a_pod_left_on_its_claim_is_rescued_and_proven() -> None:
    world, [pod] = abandoned()
    assert world.open_rescues == [pod]
    assert world.condition(SYNCED) == ("False", "Rescuing")
    assert "ships what it left on its claim" in world.message(SYNCED)
    world.rescue(pod)
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")
    assert world.everything_is_ashore


def test_a_rescue_s_own_last_words_prove_the_pod_where_the_api_kept_an_older_report() -> None:
    world, [pod] = abandoned()
    before = world.standings[pod].report
    world.rescue(pod)
    held = world.standings[pod]
    world.standings[pod] = type(held)(
        iteration_id=held.iteration_id,
        pod_uid=pod,
        name=held.name,
        report=before,
        recorded=held.recorded,
        bytes_recorded=held.bytes_recorded,
        reported_at=held.reported_at,
    )
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_a_pod_that_is_gone_is_rescued_too_and_after_a_restart_of_the_operator() -> None:
    world = World(manifest(artifacts=CLAIM, backoffLimit=1))
    world.settle()
    lost = world.start_pod(0)
    world.settle()
    world.write_file(lost)
    world.ship(lost, Problem(reason="StoreUnreachable", message="away", files=1))
    world.job(0)["status"] |= {"failed": 1, "active": 0}
    world.delete_pod(lost)
    world.restart_operator()
    second = world.start_pod(0)
    world.settle()
    world.end_pod(second)
    world.settle()
    assert world.open_rescues == [lost]
    world.rescue(lost)
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_nothing_is_rescued_while_another_pod_of_the_iteration_lives() -> None:
    world = World(manifest(artifacts=CLAIM, backoffLimit=1))
    world.settle()
    first = world.start_pod(0)
    world.settle()
    world.write_file(first)
    world.end_pod(first, exit_code=1, last=False, proven=False)
    world.settle()
    assert world.rescues == {}
    second = world.start_pod(0)
    world.settle()
    assert world.rescues == {}
    world.end_pod(second)
    world.settle()
    assert (world.open_rescues, world.wrongs) == ([first], [])


def test_pods_of_one_iteration_are_rescued_one_after_the_other() -> None:
    world, pods = abandoned(pods=3)
    rescued = []
    while world.open_rescues:
        [uid] = world.open_rescues
        rescued.append(uid)
        world.rescue(uid)
        world.settle()
    assert sorted(rescued) == sorted(pods)
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_no_more_rescues_run_at_once_than_iterations_may() -> None:
    world = World(manifest(artifacts=CLAIM, backoffLimit=0, parallelism=2, parameters={"grid": {"n": [1, 2, 3, 4]}}))
    for _ in range(2):
        world.settle()
        for index in world.open_jobs():
            world.end_pod(world.start_pod(index), exit_code=1, proven=False)
    world.settle()
    assert len(world.open_rescues) == 2


def test_why_a_rescue_waits_is_said() -> None:
    world, [pod] = abandoned()
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "volume node affinity",
    }
    world.start_rescue(pod, phase="Pending", containerStatuses=[], conditions=[condition])
    world.settle()
    assert world.condition(SYNCED) == ("False", "Rescuing")
    assert "volume node affinity" in world.message(SYNCED)


def test_a_rescue_that_failed_is_said_with_what_to_do_and_not_tried_for_ever() -> None:
    world, [pod] = abandoned()
    world.rescue(pod, works=False)
    for _ in range(5):
        world.pass_time(3600)
        world.restart_operator()
        world.settle()
    assert world.open_rescues == []
    assert world.condition(SYNCED) == ("False", "Unproven")
    assert "StoreUnreachable: nobody answers" in world.message(SYNCED)
    assert "delete the Job" in world.message(SYNCED)
    world.delete_rescue(pod)
    world.settle()
    assert world.condition(SYNCED) == ("False", "Rescuing")
    world.rescue(pod)
    world.settle()
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_a_rescue_that_may_not_be_made_is_said_and_tried_again() -> None:
    world = World(manifest(artifacts=CLAIM, backoffLimit=0))
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.end_pod(pod, exit_code=1, proven=False)
    world.job_error = RefusedError("exceeded quota: jobs")
    world.settle()
    assert world.condition(SYNCED) == ("False", "Rescuing")
    assert "exceeded quota" in world.message(SYNCED)
    world.job_error = None
    world.pass_time(400)
    world.settle()
    assert world.open_rescues == [pod]


def test_without_a_claim_nothing_is_rescued_and_what_would_have_helped_is_said() -> None:
    world = World(manifest(backoffLimit=0))
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    world.end_pod(pod, exit_code=1, proven=False)
    world.settle()
    assert (world.rescues, world.claims) == ({}, {})
    assert world.condition(SYNCED) == ("False", "Unproven")
    assert "persistentVolumeClaim" in world.message(SYNCED)


def test_rescues_are_neither_trainings_nor_pods_of_an_iteration() -> None:
    world, [pod] = abandoned()
    world.start_rescue(pod)
    world.settle()
    assert world.condition(ConditionType.RUNNING) == ("False", "Finished")
    assert world.status.iterations.failed == 1
    assert world.open_jobs() == []


def test_a_refused_claim_holds_the_job_back() -> None:
    world = World(manifest(artifacts=CLAIM))

    def refuse(manifest: dict[str, Any]) -> None:
        raise RefusedError("exceeded quota: requests.storage")

    world.create_claim = refuse  # type: ignore[method-assign]
    world.settle()
    assert world.jobs_by_name == {}
    assert world.condition(ConditionType.RUNNING) == ("False", "JobRefused")
    assert "requests.storage" in world.message(ConditionType.RUNNING)


def test_each_iteration_has_a_claim_of_its_own_that_goes_with_the_experiment() -> None:
    volume = {"persistentVolumeClaim": {"size": "50Gi", "storageClassName": "fast", "accessMode": "ReadWriteMany"}}
    body = experiment(artifacts={"volume": volume}, parameters={"grid": {"n": [1, 2]}})
    accepted = accept(body, PLATFORM)
    claims = [claim(body, build_job(body, index, {}, accepted, PLATFORM)) for index in (0, 1)]
    assert len({one["metadata"]["name"] for one in claims if one}) == 2
    assert claims[0] is not None
    assert claims[0]["metadata"]["ownerReferences"][0]["uid"] == UID
    assert claims[0]["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "50Gi"}},
        "storageClassName": "fast",
    }


def test_each_pod_has_folders_of_its_own_on_the_claim() -> None:
    body = experiment(artifacts=CLAIM, pod={"initContainers": [{"name": "data", "image": "data:1"}]})
    job = build_job(body, 0, {}, accept(body, PLATFORM), PLATFORM)
    pod = job["spec"]["template"]["spec"]
    containers: list[dict[str, Any]] = [*pod["initContainers"], *pod["containers"]]
    sidecar, others = containers[0], containers[1:]
    mounts = {mount["mountPath"]: mount for mount in sidecar["volumeMounts"]}
    assert mounts["/artifacts"]["subPathExpr"] == "$(PINNACE_POD_UID)/artifacts"
    assert mounts["/buffer"]["subPathExpr"] == "$(PINNACE_POD_UID)/buffer"
    assert mounts["/artifacts"]["readOnly"] is True
    for container in others:
        [mount] = container["volumeMounts"]
        assert mount["subPathExpr"] == "$(PINNACE_POD_UID)/artifacts"
        [uid] = [variable for variable in container["env"] if variable["name"] == "PINNACE_POD_UID"]
        assert uid["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"
    [volume] = [v for v in pod["volumes"] if v["name"] == "pinnace-artifacts"]
    assert volume["persistentVolumeClaim"] == {"claimName": job["metadata"]["name"]}
    assert "pinnace-buffer" not in {v["name"] for v in pod["volumes"]}
    assert pod["securityContext"] == {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}


def test_the_user_s_own_group_stays() -> None:
    body = experiment(artifacts=CLAIM, pod={"securityContext": {"fsGroup": 1000, "runAsUser": 1000}})
    context = build_job(body, 0, {}, accept(body, PLATFORM), PLATFORM)["spec"]["template"]["spec"]["securityContext"]
    assert (context["fsGroup"], context["runAsUser"]) == (1000, 1000)
    plain = experiment()
    assert (
        "securityContext" not in build_job(plain, 0, {}, accept(plain, PLATFORM), PLATFORM)["spec"]["template"]["spec"]
    )


def test_a_claim_has_to_hold_more_than_the_buffer() -> None:
    body = experiment(artifacts={"volume": {"persistentVolumeClaim": {"size": "10Gi"}}})
    with pytest.raises(NotAcceptedError, match="raise it, or lower spec"):
        accept(body, PLATFORM)


def test_workers_share_a_claim_that_all_their_nodes_may_mount() -> None:
    with pytest.raises(NotAcceptedError, match="write ReadWriteMany"):
        accept(experiment(artifacts=CLAIM, workers=2), PLATFORM)
    volume = {"persistentVolumeClaim": {"size": "50Gi", "accessMode": "ReadWriteMany"}}
    assert accept(experiment(artifacts={"volume": volume}, workers=2), PLATFORM)


def test_a_rescue_is_the_dead_pod_s_sidecar_restricted_and_bounded() -> None:
    template = {
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "serviceAccountName": "trainer",
        "nodeSelector": {"gpu": "yes"},
        "securityContext": {"fsGroup": 1000},
        "hostNetwork": True,
    }
    body = experiment(artifacts=CLAIM, pod=template)
    accepted = accept(body, PLATFORM)
    job = build_rescue(body, 0, Abandoned(uid="dead-uid", name="dead-pod"), accepted, PLATFORM)
    assert job["spec"]["backoffLimit"] == 5
    assert job["spec"]["activeDeadlineSeconds"] == 86_400
    meta, pod = job["spec"]["template"]["metadata"], job["spec"]["template"]["spec"]
    assert (meta["labels"][RESCUES_LABEL], meta["annotations"]) == ("dead-uid", {"pinnace.dev/rescues-pod": "dead-pod"})
    assert meta["labels"]["pinnace.dev/iteration-id"] == str(iteration_id(body.id, 0))
    assert (pod["serviceAccountName"], pod["tolerations"]) == ("trainer", template["tolerations"])
    assert not pod.keys() & {"nodeSelector", "hostNetwork"}
    assert pod["securityContext"]["fsGroup"] == 1000
    [container] = pod["containers"]
    assert container["args"] == ["rescue"]
    assert not container.keys() & {"restartPolicy", "startupProbe", "livenessProbe", "ports"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    settings = load(SidecarSettings, variables, SIDECAR_PREFIX)
    assert (settings.pod_uid, settings.health_port) == ("dead-uid", 0)
    folders = {mount["mountPath"]: mount.get("subPath") for mount in container["volumeMounts"]}
    assert (folders["/artifacts"], folders["/buffer"]) == ("dead-uid/artifacts", "dead-uid/buffer")


def test_names_of_rescues_fit_and_differ() -> None:
    for name in ("a", "x" * 253, "a.b"):
        assert len(rescue_name(experiment(name), "one")) <= 63
    assert rescue_name(experiment(), "one") != rescue_name(experiment(), "two")


def test_a_checkpoint_comes_back_before_anything_else_starts() -> None:
    pod = {"initContainers": [{"name": "data", "image": "data:1"}]}
    body = experiment(restore={"enabled": True, "include": ["models/**"]}, pod=pod)
    job = build_job(body, 0, {}, accept(body, PLATFORM), PLATFORM)
    first, second, *_ = job["spec"]["template"]["spec"]["initContainers"]
    assert (first["name"], second["name"]) == ("pinnace-restore", "pinnace-sidecar")
    assert "restartPolicy" not in first
    variables = {variable["name"]: variable.get("value") for variable in first["env"]}
    assert variables["PINNACE_RESTORE_INCLUDE"] == '["models/**"]'
    [mount] = [mount for mount in first["volumeMounts"] if mount["mountPath"] == "/artifacts"]
    assert "readOnly" not in mount
    assert "/buffer" not in {mount["mountPath"] for mount in first["volumeMounts"]}


def restore_settings(spec: dict[str, Any], worker: str) -> RestoreSettings:
    """As the container of that worker reads them."""
    body = experiment(**spec)
    job = build_job(body, 0, {}, accept(body, PLATFORM), PLATFORM)
    container, *_ = job["spec"]["template"]["spec"]["initContainers"]
    environ = {
        variable["name"]: variable.get("value", worker)
        for variable in container["env"]
        if variable["name"].startswith(RESTORE_PREFIX)
    }
    return load(RestoreSettings, environ, RESTORE_PREFIX)


def test_each_worker_is_told_which_shard_is_its_own() -> None:
    wanted = {"enabled": True, "include": ["a/$(B)"], "timeoutSeconds": 60, "shards": "All"}
    assert restore_settings({"workers": 4, "restore": wanted}, "3") == RestoreSettings(
        include=("a/$$(B)",), timeout_seconds=60, worker=3, workers=4, shards=Shards.ALL
    )
    alone = restore_settings({"restore": {"enabled": True}}, "not asked for")
    assert (alone.worker, alone.workers, alone.shards) == (0, 1, Shards.OWN)
    assert {each.value for each in Shards} == {each.value for each in ShardsOfSpec}


def test_a_pod_that_could_not_be_restored_wrote_nothing_and_says_why() -> None:
    world = World(manifest(restore={"enabled": True}, backoffLimit=0))
    world.settle()
    pod = world.start_pod(0)
    ended = {"exitCode": 1, "reason": "Error", "message": "the checkpoint can't be restored: no answer"}
    world.pods_by_name[pod]["status"] = {
        "phase": "Failed",
        "initContainerStatuses": [
            {"name": "pinnace-restore", "state": {"terminated": ended}},
            {"name": "pinnace-sidecar", "state": {"waiting": {"reason": "PodInitializing"}}},
        ],
    }
    world.touch(world.pods_by_name[pod])
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    world.job(0)["status"] |= {"failed": 1, "active": 0, "conditions": [failed]}
    world.touch(world.job(0))
    world.settle()
    assert world.condition(ConditionType.SUCCEEDED) == ("False", "IterationsFailed")
    assert "container pinnace-restore ended with exit code 1: the checkpoint" in world.message(ConditionType.SUCCEEDED)
    assert world.condition(SYNCED) == ("True", "AllRecorded")


def test_figures_that_move_while_a_pod_runs_are_written_now_and_then() -> None:
    world = World(manifest())
    world.settle()
    pod = world.start_pod(0)
    world.settle()
    before = world.writes.count("status")
    for _ in range(60):
        world.pass_time(5)
        world.write_file(pod)
        world.ship(pod)
        world.look()
    # 300 s, in steps of 20.
    assert 10 <= world.writes.count("status") - before <= 16
    assert world.status.artifacts.recorded >= 56
    world.end_pod(pod)
    world.settle()
    assert world.status.artifacts.recorded == 60
    assert world.condition(SYNCED) == ("True", "AllRecorded")
