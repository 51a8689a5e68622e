"""The sidecar in pods of other owners: what is added, what is left alone, and what is refused."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.ids import iteration_id
from pinnace.naming import SIDECAR_CONTAINER
from pinnace.settings import SIDECAR_PREFIX, SidecarSettings, load
from pinnace_operator.acceptance import accept
from pinnace_operator.admission.injection import inject
from pinnace_operator.experiment import Experiment
from pinnace_operator.job import build_job
from support.examples import examples
from support.operator_world import PLATFORM, UID, experiment, manifest

TWO = experiment(suspend=True, parameters={"grid": {"lr": [0.1, ""]}})
LABELS = {"pinnace.dev/inject": "true", "pinnace.dev/experiment": "sweep", "pinnace.dev/iteration": "1"}
OURS = {"pinnace-artifacts", "pinnace-buffer", "pinnace-token", "pinnace-store-credentials"}

names = st.from_regex(r"[a-oq-z][a-z0-9]{0,8}", fullmatch=True)
unknown = st.dictionaries(st.sampled_from(["image", "command", "resources", "x-new-field"]), st.just({"k": [1]}))


@st.composite
def containers(draw: st.DrawFn, at_least: int = 0) -> list[dict[str, Any]]:
    made = []
    for name in draw(st.lists(names, min_size=at_least, max_size=3, unique=True)):
        container: dict[str, Any] = {"name": name, **draw(unknown)}
        if draw(st.booleans()):
            container["env"] = [{"name": n.upper(), "value": "$(PINNACE_PROJECT)"} for n in draw(st.lists(names))]
        if draw(st.booleans()):
            container["volumeMounts"] = [{"name": n, "mountPath": f"/{n}"} for n in draw(st.lists(names, unique=True))]
        made.append(container)
    return made


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": draw(containers(at_least=1)), "restartPolicy": "Never", **draw(unknown)}
    if draw(st.booleans()):
        spec["initContainers"] = draw(containers())
    if draw(st.booleans()):
        spec["volumes"] = [{"name": name, "emptyDir": {}} for name in draw(st.lists(names, unique=True))]
    spec["terminationGracePeriodSeconds"] = draw(st.sampled_from([0, 30, 630, 9999]))
    return {"metadata": {"name": "own", "labels": {**LABELS, "app": "own"}, "annotations": {"a": "b"}}, "spec": spec}


def pod(**spec: Any) -> dict[str, Any]:
    body = {"containers": [{"name": "work", "image": "work:1"}], "restartPolicy": "Never", **spec}
    return {"metadata": {"labels": dict(LABELS)}, "spec": body}


def patched(before: dict[str, Any], body: Experiment = TWO) -> dict[str, Any]:
    decision = inject(before, body, PLATFORM)
    assert decision.refusal == ""
    after = copy.deepcopy(before)
    for operation in decision.patch:
        assert operation["op"] == "add"
        _, part, field = operation["path"].split("/")
        after[part][field] = operation["value"]
    return after


def refusal(before: dict[str, Any], body: Experiment = TWO) -> str:
    decision = inject(before, body, PLATFORM)
    assert decision.patch == ()
    return decision.refusal


def without_ours(spec: dict[str, Any]) -> dict[str, Any]:
    def bare(container: dict[str, Any]) -> dict[str, Any]:
        kept = dict(container)
        kept["env"] = [v for v in container.get("env", ()) if not v["name"].startswith("PINNACE_")]
        kept["volumeMounts"] = [m for m in container.get("volumeMounts", ()) if m["name"] not in OURS]
        return kept

    return {
        **spec,
        "initContainers": [bare(c) for c in spec.get("initContainers", ()) if c["name"] != SIDECAR_CONTAINER],
        "containers": [bare(c) for c in spec["containers"]],
        "volumes": [v for v in spec.get("volumes", ()) if v["name"] not in OURS],
        "terminationGracePeriodSeconds": None,
    }


@settings(max_examples=examples(30))
@given(before=pods())
def test_whatever_the_pod_says_is_left_as_it_is_and_in_its_order(before: dict[str, Any]) -> None:
    original = copy.deepcopy(before)
    after = patched(before)
    assert before == original
    assert without_ours(after["spec"]) == without_ours(before["spec"])
    assert after["metadata"]["labels"].items() >= before["metadata"]["labels"].items()
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert after["spec"]["terminationGracePeriodSeconds"] == max(630, before["spec"]["terminationGracePeriodSeconds"])


@settings(max_examples=examples(30))
@given(before=pods())
def test_asked_again_nothing_changes(before: dict[str, Any]) -> None:
    after = patched(before)
    assert inject(after, TWO, PLATFORM).patch == ()


@settings(max_examples=examples(30))
@given(before=pods(), late=containers(at_least=1), position=st.integers(min_value=0, max_value=3))
def test_what_others_add_in_between_is_fitted_too_and_what_they_change_of_ours_stays(
    before: dict[str, Any], late: list[dict[str, Any]], position: int
) -> None:
    between = patched(before)
    between["spec"]["initContainers"][0] |= {"image": "mirror/sidecar", "resources": {}}
    added = [{**container, "name": f"late-{container['name']}"} for container in late]
    between["spec"]["containers"][position:position] = added
    between["spec"]["initContainers"].insert(0, {"name": "proxy", "image": "proxy", "restartPolicy": "Always"})
    after = patched(between)
    sidecars = [c for c in after["spec"]["initContainers"] if c["name"] == SIDECAR_CONTAINER]
    assert sidecars == [between["spec"]["initContainers"][1]]
    assert inject(after, TWO, PLATFORM).patch == ()
    for container in after["spec"]["containers"]:
        assert [m["name"] for m in container["volumeMounts"]].count("pinnace-artifacts") == 1
        ours = [v["name"] for v in container["env"] if v["name"].startswith("PINNACE_")]
        assert len(ours) == len(set(ours)) > 5


@settings(max_examples=examples(30))
@given(before=pods())
def test_it_is_given_what_a_pod_of_our_own_job_is_given(before: dict[str, Any]) -> None:
    before["spec"]["terminationGracePeriodSeconds"] = 630
    body = manifest(suspend=True, parameters={"grid": {"lr": [0.1, ""]}})
    body["spec"]["template"]["spec"] = before["spec"]
    alike = Experiment.from_manifest(body)
    accepted = accept(alike, PLATFORM)
    parameters = accepted.search.parameters_of(1, {})
    assert parameters is not None
    ours = build_job(alike, 1, parameters, accepted, PLATFORM)["spec"]["template"]["spec"]
    theirs = patched(before, alike)["spec"]
    sidecars = [spec["initContainers"][0].pop("env") for spec in (ours, theirs)]
    assert theirs == ours
    own, other = ({v["name"]: v.get("value", "") for v in env} for env in sidecars)
    assert own.pop("PINNACE_INJECTED", "false") != other.pop("PINNACE_INJECTED")
    assert own == other


def test_the_sidecar_knows_its_iteration_and_that_it_is_a_guest() -> None:
    after = patched(pod())
    environment = {v["name"]: v.get("value", "x") for v in after["spec"]["initContainers"][0]["env"]}
    settings = load(SidecarSettings, environment, SIDECAR_PREFIX)
    assert (settings.iteration_id, settings.injected) == (iteration_id(TWO.id, 1), True)
    assert after["metadata"]["labels"]["pinnace.dev/iteration-id"] == str(iteration_id(TWO.id, 1))
    assert after["metadata"]["labels"]["pinnace.dev/experiment-id"] == UID


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"pinnace.dev/iteration": "2"}, 'has the iterations "0" to "1"'),
        ({"pinnace.dev/iteration": "01"}, 'has the iterations "0" to "1"'),
        ({"pinnace.dev/iteration": "-1"}, 'has the iterations "0" to "1"'),
        ({"pinnace.dev/iteration": "²"}, 'has the iterations "0" to "1"'),
        ({"pinnace.dev/experiment-id": "4d1f5d54-0000-4000-8000-000000000000"}, "it was deleted and made again"),
        ({"pinnace.dev/iteration-id": "4d1f5d54-0000-4000-8000-000000000000"}, "correct or remove it"),
    ],
)
def test_labels_that_name_another_iteration_are_refused(labels: dict[str, str], says: str) -> None:
    body = pod()
    body["metadata"]["labels"] |= labels
    assert says in refusal(body)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"volumes": [{"name": "pinnace-buffer", "hostPath": {"path": "/"}}]}, "spec.volumes: pinnace-buffer is"),
        ({"initContainers": [{"name": "pinnace-sidecar"}]}, "spec.initContainers[0].name: pinnace-sidecar is a name"),
        (
            {"initContainers": [{"name": "pinnace-sidecar", "restartPolicy": "Always", "env": [
                {"name": "PINNACE_ITERATION_ID", "value": "4d1f5d54-0000-4000-8000-000000000000"}]}]},
            "is a name of Pinnace's",
        ),
        ({"containers": [{"name": "w", "env": [{"name": "PINNACE_X"}]}]}, "spec.containers[0].env: PINNACE_X is"),
        ({"containers": [{"name": "w", "volumeMounts": [{"name": "mine", "mountPath": "/artifacts/"}]}]}, "mount mine"),
    ],
)  # fmt: skip
def test_what_is_there_under_our_names_is_refused(spec: dict[str, Any], says: str) -> None:
    assert says in refusal(pod(**spec))


def test_an_experiment_that_is_not_accepted_gives_no_sidecar_and_says_why() -> None:
    twins = experiment(parameters={"grid": {"a-b": [1], "a_b": [2]}})
    said = refusal(pod(), twins)
    assert "Experiment sweep can't be carried out" in said
    assert "rename one of them" in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": {"iterations": {"syncedIndexes": "0-1"}}}, "iteration 1 of Experiment sweep has ended and all its"),
        ({"metadata": {**manifest()["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "is being deleted"),
    ],
)
def test_what_is_proven_or_going_away_takes_no_further_pod(change: dict[str, Any], says: str) -> None:
    body = Experiment.from_manifest({**manifest(suspend=True, parameters={"list": [{"x": 1}, {"x": 2}]}), **change})
    assert says in refusal(pod(), body)


def test_a_pod_that_never_ends_by_itself_is_taken_with_a_warning() -> None:
    assert "restartPolicy is Always" in inject(pod(restartPolicy="Always"), TWO, PLATFORM).warnings[0]
    assert inject(pod(), TWO, PLATFORM).warnings == ()


def test_an_iteration_whose_parameters_an_optimiser_will_choose_takes_no_pod_of_another_owner() -> None:
    space = {"lr": {"uniform": {"min": 0, "max": 1}}}
    body = manifest(parameters={"optuna": {"count": 2, "space": space}}, objective={"metric": "loss"})
    decision = inject(pod(), Experiment.from_manifest(body), PLATFORM)
    assert "use grid, list or random" in str(decision)
    assert decision.patch == ()
