"""Editing, archiving, trees, signs of life and locks, through the real client and the real server.

Tests whose names begin with `dd` or `ch` show that a known failure of an earlier tracker can't happen here.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import urllib3

from pinnace import ids
from pinnace.client import Client, Conflict, Invalid, NotFound
from pinnace.records import (
    MAX_INDEX,
    ExperimentPatch,
    ExperimentStatus,
    ExperimentWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    Lifecycle,
    MetricPatch,
    MetricPoint,
    MetricWrite,
    ProblemDetails,
    ProjectPatch,
    ProjectWrite,
    Shown,
)
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.eventually import eventually
from support.samples import MOMENT, artifact, report

NOBODY = UUID("11111111-1111-4111-8111-111111111111")
ENDS = ("SUCCEEDED", "FAILED", "KILLED")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), database_url=database_url, sweep_seconds=0.1) as server:
        yield server


@pytest.fixture
def project() -> str:
    return f"p{uuid4().hex[:12]}"


@pytest.fixture
def experiment(client: Client, project: str) -> UUID:
    id_ = uuid4()
    client.put_experiment(id_, ExperimentWrite(project=project, name="sweep"))
    return id_


def put(client: Client, experiment: UUID, **fields: Any) -> UUID:
    """An iteration whose number the API gives."""
    id_ = uuid4()
    client.put_iteration(id_, msgspec.convert({"experiment_id": experiment, **fields}, IterationWrite))
    return id_


def change(client: Client, iteration: UUID, **fields: Any) -> None:
    client.patch_iteration(iteration, msgspec.convert(fields, IterationPatch))


def request(api: ApiServer, method: str, path: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    return urllib3.request(method, f"{api.url}/api/v1{path}", headers=headers, body=body, retries=False)


class TestEdits:
    def test_a_merge_patch_changes_what_it_names_and_null_takes_away(self, client: Client, project: str) -> None:
        made = client.put_project(project, ProjectWrite(description="d", tags={"a": "1", "b": ""}))
        assert (made.created_by, made.lifecycle) == ("admin", Lifecycle.ACTIVE)
        edited = client.patch_project(project, ProjectPatch(tags={"a": None, "c": "3"}))
        assert (edited.description, edited.tags) == ("d", {"b": "", "c": "3"})
        assert client.patch_project(project, ProjectPatch(description=None)).description == ""
        assert client.patch_project(project, ProjectPatch(tags=None)).tags == {}
        assert client.patch_project(project, ProjectPatch()) == client.project(project)

    def test_one_style_for_every_entity(self, client: Client, experiment: UUID) -> None:
        edited = client.patch_experiment(experiment, ExperimentPatch(description="d", tags={"team": "vision"}))
        assert (edited.description, edited.tags, edited.created_by) == ("d", {"team": "vision"}, "admin")
        iteration = put(client, experiment, tags={"a": ""}, name="first", notes="n")
        again = client.patch_iteration(iteration, IterationPatch(tags={"b": "2"}, notes="better", name=None))
        assert (again.tags, again.notes, again.name) == ({"a": "", "b": "2"}, "better", "")
        assert again.created_by == "admin"

    def test_more_tags_than_a_thing_holds_are_refused(self, client: Client, experiment: UUID) -> None:
        client.patch_experiment(experiment, ExperimentPatch(tags={f"a{number}": "" for number in range(100)}))
        with pytest.raises(Invalid) as caught:
            client.patch_experiment(experiment, ExperimentPatch(tags={"one-more": ""}))
        assert caught.value.field == "tags"
        assert len(client.experiment(experiment).tags) == 100

    def test_dd21_an_edit_needs_no_field_that_it_does_not_change(self, client: Client, experiment: UUID) -> None:
        assert client.patch_experiment(experiment, ExperimentPatch(description="x")).status is ExperimentStatus.OPEN

    def test_a_put_again_carries_over_what_it_says_anew_and_leaves_what_people_edited(
        self, client: Client, experiment: UUID, project: str
    ) -> None:
        write = ExperimentWrite(project=project, name="sweep", description="spec", tags={"a": "1", "b": "2"})
        client.put_experiment(experiment, write)
        client.patch_experiment(experiment, ExperimentPatch(description="mine", tags={"a": "changed", "mine": ""}))
        assert client.put_experiment(experiment, write).description == "mine"
        after = client.put_experiment(experiment, msgspec.structs.replace(write, tags={"a": "1", "c": "3"}))
        assert (after.description, after.tags) == ("mine", {"a": "changed", "mine": "", "c": "3"})

    @pytest.mark.parametrize("path", ["projects/nowhere", f"experiments/{NOBODY}", f"iterations/{NOBODY}"])
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    def test_dd25_what_is_missing_is_a_404_for_every_method(self, api: ApiServer, method: str, path: str) -> None:
        answer = request(api, method, f"/{path}", b"{}" if method == "PATCH" else None)
        assert answer.status == 404
        assert msgspec.json.decode(answer.data, type=ProblemDetails).code.endswith("not-found")

    def test_28_a_query_with_only_half_of_its_fields_is_told_what_is_missing(
        self, api: ApiServer, client: Client, experiment: UUID
    ) -> None:
        iteration = put(client, experiment)
        answer = request(api, "PATCH", f"/iterations/{iteration}/metrics?key=loss", b"{}")
        problem = msgspec.json.decode(answer.data, type=ProblemDetails)
        assert (answer.status, problem.field) == (422, "step")


class TestLifecycle:
    def test_what_is_put_away_is_left_out_of_lists_and_comes_back(self, client: Client, experiment: UUID) -> None:
        here, archived, trashed = (put(client, experiment) for _ in range(3))
        change(client, archived, lifecycle="ARCHIVED")
        client.trash_iteration(trashed)
        client.trash_iteration(trashed)

        def listed(shown: Shown) -> list[UUID]:
            return [each.id for each in client.iterations(experiment, lifecycle=shown)]

        assert listed(Shown.ACTIVE) == [here]
        assert listed(Shown.ARCHIVED) == [archived]
        assert listed(Shown.TRASHED) == [trashed]
        assert listed(Shown.ALL) == [here, archived, trashed]
        change(client, trashed, lifecycle="ACTIVE")
        assert listed(Shown.ACTIVE) == [here, trashed]

    def test_a_trashed_project_hides_all_that_is_in_it_and_gives_it_back(
        self, client: Client, experiment: UUID, project: str
    ) -> None:
        iteration = put(client, experiment)
        client.trash_project(project)
        assert project not in {each.name for each in client.projects()}
        assert list(client.experiments(project=project)) == []
        assert list(client.iterations(experiment)) == []
        assert [each.id for each in client.experiments(project=project, lifecycle=Shown.TRASHED)] == [experiment]
        assert [each.id for each in client.iterations(experiment, lifecycle=Shown.TRASHED)] == [iteration]
        client.patch_project(project, ProjectPatch(lifecycle=Lifecycle.ACTIVE))
        assert [each.id for each in client.iterations(experiment)] == [iteration]

    @pytest.mark.parametrize("what", ["project", "experiment", "iteration"])
    def test_what_lies_in_the_trash_takes_nothing(
        self, client: Client, experiment: UUID, project: str, what: str
    ) -> None:
        iteration = put(client, experiment)
        trash: dict[str, Callable[[], None]] = {
            "project": lambda: client.trash_project(project),
            "experiment": lambda: client.trash_experiment(experiment),
            "iteration": lambda: client.trash_iteration(iteration),
        }
        trash[what]()
        point = MetricPoint(key="a", step=0, value=1.0)
        refused: list[Callable[[], object]] = [
            lambda: change(client, iteration, notes="n"),
            lambda: client.put_metrics(iteration, [point]),
            lambda: client.delete_metrics(iteration, key="a"),
        ]
        if what != "iteration":
            refused += [
                lambda: put(client, experiment),
                lambda: client.patch_experiment(experiment, ExperimentPatch(description="n")),
            ]
        if what == "project":
            refused += [
                lambda: client.put_experiment(uuid4(), ExperimentWrite(project=project, name="new")),
                lambda: client.patch_project(project, ProjectPatch(description="n")),
            ]
        for call in refused:
            with pytest.raises(Conflict) as caught:
                call()
            assert caught.value.code == "trashed"
            assert "ACTIVE" in caught.value.hint

    def test_taking_it_back_and_editing_it_may_be_one_request(self, client: Client, experiment: UUID) -> None:
        client.trash_experiment(experiment)
        back = ExperimentPatch(lifecycle=Lifecycle.ACTIVE, description="back")
        assert client.patch_experiment(experiment, back).description == "back"

    def test_sidecar_and_operator_are_never_refused_for_the_trash(self, api: ApiServer, client: Client) -> None:
        experiment = uuid4()
        write = ExperimentWrite(project=f"p{experiment.hex[:8]}", name="sweep", namespace="ml")
        client.put_experiment(experiment, write)
        client.trash_project(write.project)
        iteration = ids.iteration_id(experiment, 0)
        with api.operator() as operator:
            operator.put_experiment(experiment, write)
            operator.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        with api.sidecar(iteration, namespace="ml", pod_uid="pod") as sidecar:
            sidecar.put_artifacts(iteration, [artifact(iteration, pod_uid="pod")])
            sidecar.put_metrics(iteration, [MetricPoint(key="a", step=0, value=1.0)])
            sidecar.put_pod_report(report(iteration, "pod", 1))
        assert len(list(client.iteration_artifacts(iteration))) == 1

    def test_failure_4_dd_4_a_run_with_everything_attached_goes_to_the_trash_whole_and_comes_back_whole(
        self, client: Client, experiment: UUID
    ) -> None:
        """Failure 4."""
        iteration = put(client, experiment, tags={"a": "1"}, parameters={"lr": 1})
        put(client, experiment, parent_id=iteration)
        client.put_metrics(iteration, [MetricPoint(key="a", step=0, value=1.0)])
        client.put_artifacts(iteration, [artifact(iteration)])
        before = client.iteration(iteration)
        client.trash_iteration(iteration)
        change(client, iteration, lifecycle="ACTIVE")
        assert client.iteration(iteration) == before
        assert len(list(client.metrics(iteration))) == len(list(client.iteration_artifacts(iteration))) == 1
        assert len(list(client.children(iteration))) == 1


class TestExperimentStatus:
    def test_one_that_is_closed_takes_no_iterations_until_it_is_open_again(
        self, client: Client, experiment: UUID
    ) -> None:
        known = put(client, experiment)
        closed = client.patch_experiment(experiment, ExperimentPatch(status=ExperimentStatus.FINISHED))
        assert closed.ended_at is not None
        with pytest.raises(Conflict) as caught:
            put(client, experiment)
        assert caught.value.code == "ended"
        client.put_iteration(known, IterationWrite(experiment_id=experiment))
        opened = client.patch_experiment(experiment, ExperimentPatch(status=ExperimentStatus.OPEN))
        assert (opened.status, opened.ended_at) == (ExperimentStatus.OPEN, None)
        put(client, experiment)


class TestNumbers:
    def test_without_an_index_the_api_counts(self, client: Client, experiment: UUID) -> None:
        made = [put(client, experiment) for _ in range(3)]
        assert [client.iteration(id_).index for id_ in made] == [0, 1, 2]
        client.put_iteration(made[1], IterationWrite(experiment_id=experiment))
        assert [each.id for each in client.iterations(experiment)] == made

    def test_an_index_that_another_has_is_a_conflict_that_says_so(self, client: Client, experiment: UUID) -> None:
        put(client, experiment)
        with pytest.raises(Conflict) as caught:
            client.put_iteration(ids.iteration_id(experiment, 0), IterationWrite(experiment_id=experiment, index=0))
        assert caught.value.field == "index"

    def test_an_id_stays_with_its_experiment_and_number(self, client: Client, experiment: UUID, project: str) -> None:
        iteration = put(client, experiment)
        other = uuid4()
        client.put_experiment(other, ExperimentWrite(project=project, name="other"))
        with pytest.raises(Conflict) as caught:
            client.put_iteration(iteration, IterationWrite(experiment_id=other))
        assert caught.value.field == "experiment_id"
        third = ids.iteration_id(experiment, 3)
        client.put_iteration(third, IterationWrite(experiment_id=experiment))
        with pytest.raises(Conflict) as caught:
            client.put_iteration(third, IterationWrite(experiment_id=experiment, index=3))
        assert caught.value.field == "index"

    def test_numbers_that_the_api_gives_never_meet_the_operator_s(self, client: Client) -> None:
        experiment = uuid4()
        client.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep", namespace="ml"))
        assert client.iteration(put(client, experiment)).index == MAX_INDEX + 1
        client.put_iteration(ids.iteration_id(experiment, 0), IterationWrite(experiment_id=experiment, index=0))
        assert client.iteration(put(client, experiment)).index == MAX_INDEX + 2


class TestEnd:
    @pytest.mark.parametrize("end", ENDS)
    def test_what_has_ended_is_locked_but_for_words_about_it(self, client: Client, experiment: UUID, end: str) -> None:
        iteration = put(client, experiment, state="RUNNING", parameters={"lr": 1})
        point = MetricPoint(key="a", step=0, value=1.0)
        client.put_metrics(iteration, [point])
        change(client, iteration, state=end, error="boom")
        ended = client.iteration(iteration)
        assert ended.started_at is not None
        assert ended.ended_at is not None
        for call in (
            lambda: change(client, iteration, state="RUNNING"),
            lambda: change(client, iteration, parameters={"depth": 3}),
            lambda: change(client, iteration, environment={"commit": "b"}),
            lambda: change(client, iteration, error="other"),
            lambda: client.put_metrics(iteration, [MetricPoint(key="a", step=1, value=1.0)]),
            lambda: client.patch_metric(iteration, MetricPatch(value=2.0), key="a", step=0),
            lambda: client.delete_metrics(iteration, key="a"),
        ):
            with pytest.raises(Conflict) as caught:
                call()
            assert caught.value.code == "ended"
        change(client, iteration, name="n", notes="why", tags={"best": ""})
        change(client, iteration, state=end, error="boom")
        after = client.iteration(iteration)
        expected = msgspec.structs.replace(ended, name="n", notes="why", tags={"best": ""})
        assert after == expected
        assert list(client.metrics(iteration)) == [point]

    def test_what_the_system_reports_late_is_taken(self, api: ApiServer, client: Client) -> None:
        experiment = uuid4()
        client.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep", namespace="ml"))
        iteration = ids.iteration_id(experiment, 0)
        write = IterationWrite(experiment_id=experiment, index=0, state=IterationState.RUNNING)
        client.put_iteration(iteration, write)
        change(client, iteration, state="KILLED")
        with api.operator() as operator:
            assert operator.put_iteration(iteration, write).state is IterationState.KILLED
            failed = msgspec.structs.replace(write, state=IterationState.FAILED)
            assert operator.put_iteration(iteration, failed).state is IterationState.KILLED
        with api.sidecar(iteration, namespace="ml", pod_uid="late") as sidecar:
            receipt = sidecar.put_metrics(iteration, [MetricPoint(key="a", step=0, value=1.0, source="late:m")])
            assert receipt.added == 1

    def test_dd20_state_and_times_agree(self, client: Client, experiment: UUID) -> None:
        iteration = put(client, experiment)
        change(client, iteration, state="SUCCEEDED")
        assert client.iteration(iteration).ended_at is not None
        given = put(client, experiment, state="SUCCEEDED", started_at=MOMENT, ended_at=MOMENT + timedelta(hours=1))
        assert client.iteration(given).started_at == MOMENT

    def test_nobody_can_say_lost(self, client: Client, experiment: UUID) -> None:
        with pytest.raises(Invalid):
            put(client, experiment, state="LOST")
        iteration = put(client, experiment, state="RUNNING")
        with pytest.raises(Conflict):
            change(client, iteration, state="LOST")


class TestParameters:
    def test_they_join_while_it_runs_and_are_set_once(self, client: Client, experiment: UUID) -> None:
        iteration = put(client, experiment, parameters={"lr": 0.1, "big": 1e22, "zero": -0.0, "": ""})
        change(client, iteration, parameters={"depth": {"a": None}})
        change(client, iteration, parameters={"lr": 0.1, "big": 1e22, "zero": -0.0})
        with pytest.raises(Conflict) as caught:
            change(client, iteration, parameters={"lr": 0.2})
        assert caught.value.field == "parameters.lr"
        assert client.iteration(iteration).parameters == {
            "lr": 0.1,
            "big": 1e22,
            "zero": 0.0,
            "": "",
            "depth": {"a": None},
        }

    def test_a_mistake_is_corrected_when_that_is_asked_for(self, client: Client, experiment: UUID) -> None:
        iteration = put(client, experiment, parameters={"lr": 1, "typo": 1})
        correction = IterationPatch(parameters={"lr": 1.0, "typo": None})
        parameters = client.patch_iteration(iteration, correction, override=True).parameters
        assert msgspec.json.encode(parameters) == b'{"lr":1.0}'


class TestEnvironment:
    def test_dd22_it_is_kept_verbatim_and_stays_out_of_lists(
        self, api: ApiServer, client: Client, experiment: UUID
    ) -> None:
        lock = "numpy==2.0 \\\n    --hash=sha256:00\n"
        iteration = put(client, experiment, environment={"commit": "a", "lock": lock})
        change(client, iteration, environment={"image": "sha256:1"})
        assert client.environment(iteration) == {"commit": "a", "lock": lock, "image": "sha256:1"}
        assert b"numpy" not in request(api, "GET", f"/experiments/{experiment}/iterations").data
        assert b"numpy" not in request(api, "GET", f"/iterations/{iteration}").data


class TestTree:
    def test_children_and_what_a_subtree_comes_to(self, client: Client, experiment: UUID) -> None:
        root = put(client, experiment, state="RUNNING")
        left, right = put(client, experiment, parent_id=root), put(client, experiment, parent_id=root, name="right")
        leaf = put(client, experiment, parent_id=left, state="FAILED")
        outside = put(client, experiment)
        for id_ in (leaf, right, outside):
            client.put_artifacts(id_, [artifact(id_, content=b"12345")])
        assert [each.id for each in client.children(root)] == [left, right]
        tree = client.subtree(root)
        assert (tree.iterations, tree.artifacts, tree.artifact_bytes) == (4, 2, 10)
        assert tree.states == {IterationState.RUNNING: 1, IterationState.PENDING: 2, IterationState.FAILED: 1}
        assert [(node.id, node.depth) for node in tree.items] == [(root, 0), (left, 1), (right, 1), (leaf, 2)]
        first = client.subtree(root, limit=3)
        assert [node.id for node in client.subtree(root, limit=3, after=first.next).items] == [leaf]
        client.trash_iteration(left)
        pruned = client.subtree(root)
        assert (pruned.iterations, [node.id for node in pruned.items]) == (3, [root, right, leaf])

    def test_a_parent_is_of_the_same_experiment_and_never_below(
        self, client: Client, experiment: UUID, project: str
    ) -> None:
        root = put(client, experiment)
        child = put(client, experiment, parent_id=root)
        grandchild = put(client, experiment, parent_id=child)
        other = uuid4()
        client.put_experiment(other, ExperimentWrite(project=project, name="other"))
        stranger = put(client, other)
        for parent in (root, child, grandchild, stranger, uuid4()):
            with pytest.raises(Invalid) as caught:
                change(client, root, parent_id=parent)
            assert caught.value.field == "parent_id"
        for parent in (stranger, uuid4()):
            with pytest.raises(Invalid):
                put(client, experiment, parent_id=parent)
        itself = uuid4()
        with pytest.raises(Invalid):
            client.put_iteration(itself, IterationWrite(experiment_id=experiment, parent_id=itself))

    def test_it_may_be_hung_elsewhere_and_taken_off(self, client: Client, experiment: UUID) -> None:
        root, other = put(client, experiment), put(client, experiment)
        child = put(client, experiment, parent_id=root)
        change(client, child, parent_id=other)
        assert [each.id for each in client.children(other)] == [child]
        change(client, child, parent_id=None)
        assert client.iteration(child).parent_id is None
        client.put_iteration(child, IterationWrite(experiment_id=experiment, parent_id=root))
        assert client.iteration(child).parent_id is None


class TestSignsOfLife:
    def test_failure_11_dd_14_a_run_that_was_killed_is_not_running_for_ever(
        self, client: Client, experiment: UUID
    ) -> None:
        """Failure 11."""
        iteration = put(client, experiment, state="RUNNING")
        receipt = client.heartbeat(iteration, lease_seconds=1)
        assert receipt.state is IterationState.RUNNING
        assert receipt.lease_until is not None
        eventually(lambda: client.iteration(iteration).state is IterationState.LOST, timeout=20, what="the sweep")
        assert client.heartbeat(iteration, lease_seconds=60).state is IterationState.RUNNING
        assert client.iteration(iteration).heartbeat_at is not None

    def test_who_never_promised_a_sign_of_life_is_never_lost(self, client: Client, experiment: UUID) -> None:
        silent = put(client, experiment, state="RUNNING")
        pending = put(client, experiment)
        client.heartbeat(pending, lease_seconds=1)
        ended = put(client, experiment, state="RUNNING")
        client.heartbeat(ended, lease_seconds=1)
        change(client, ended, state="SUCCEEDED")
        witness = put(client, experiment, state="RUNNING")
        client.heartbeat(witness, lease_seconds=1)
        eventually(lambda: client.iteration(witness).state is IterationState.LOST, timeout=20, what="the sweep")
        states = [client.iteration(id_).state.value for id_ in (silent, pending, ended)]
        assert states == ["RUNNING", "PENDING", "SUCCEEDED"]

    def test_a_heartbeat_tells_who_was_killed_or_thrown_away(self, client: Client, experiment: UUID) -> None:
        iteration = put(client, experiment, state="RUNNING")
        change(client, iteration, state="KILLED")
        client.trash_experiment(experiment)
        receipt = client.heartbeat(iteration)
        assert (receipt.state, receipt.lifecycle) == (IterationState.KILLED, Lifecycle.TRASHED)
        assert receipt.lease_until is None

    def test_an_unknown_one_is_not_found(self, client: Client) -> None:
        with pytest.raises(NotFound):
            client.heartbeat(uuid4())


class TestMetrics:
    def test_dd18_steps_are_chosen_in_order_and_repeated_sends_get_the_same(
        self, client: Client, experiment: UUID
    ) -> None:
        """Failure 13: the answer got lost, and the same batch is sent again."""
        iteration = put(client, experiment)
        batch = [
            MetricWrite(key="loss", value=1.0, source="sdk", offset=0),
            MetricWrite(key="acc", value="NaN", source="sdk", offset=1),
            MetricWrite(key="loss", value=0.5, source="sdk", offset=2),
            MetricWrite(key="loss", value=0.4, step=10),
            MetricWrite(key="loss", value="-Infinity", source="sdk", offset=3),
        ]
        first = client.put_metrics(iteration, batch)
        assert (first.added, first.steps) == (5, (0, 0, 1, 10, 11))
        again = client.put_metrics(iteration, batch)
        assert (again.added, again.present, again.steps) == (0, 5, first.steps)
        assert [(each.key, each.step, each.value) for each in client.metrics(iteration)] == [
            ("acc", 0, "NaN"),
            ("loss", 0, 1.0),
            ("loss", 1, 0.5),
            ("loss", 10, 0.4),
            ("loss", 11, "-Infinity"),
        ]

    def test_a_point_without_step_needs_a_source(self, client: Client, experiment: UUID) -> None:
        with pytest.raises(Invalid) as caught:
            client.put_metrics(put(client, experiment), [MetricWrite(key="a", value=1.0)])
        assert caught.value.field == "points[0].source"

    def test_failure_14_dd_17_a_batch_with_a_repeated_key_keeps_its_order_and_is_all_or_nothing(
        self, client: Client, experiment: UUID
    ) -> None:
        """Failure 14."""
        iteration = put(client, experiment)
        batch = [MetricWrite(key="a", value=float(number), source="s", offset=number) for number in range(5)]
        with pytest.raises(Invalid):
            client.put_metrics(iteration, [*batch, MetricWrite(key="a", value="many", step=1)])
        assert list(client.metrics(iteration)) == []
        client.put_metrics(iteration, batch)
        assert [(each.step, each.value) for each in client.metrics(iteration)] == [(n, float(n)) for n in range(5)]

    def test_keys_are_listed_with_their_summaries(self, client: Client, experiment: UUID) -> None:
        iteration = put(client, experiment)
        client.put_metrics(
            iteration, [MetricPoint(key=key, step=step, value=step + 0.5) for key in "ba" for step in range(3)]
        )
        series = list(client.metric_series(iteration))
        assert [each.key for each in series] == ["a", "b"]
        assert {each.key: each.summary for each in series} == client.iteration(iteration).metrics
        assert [each.key for each in client.metric_series(iteration, limit=1)] == ["a"]

    def test_a_point_is_corrected_and_deleted_and_the_summary_follows(self, client: Client, experiment: UUID) -> None:
        iteration = put(client, experiment)
        client.put_metrics(iteration, [MetricPoint(key="a", step=step, value=float(step)) for step in range(3)])
        corrected = client.patch_metric(iteration, MetricPatch(value="Infinity", time=MOMENT), key="a", step=1)
        assert (corrected.value, corrected.time) == ("Infinity", MOMENT)
        assert client.iteration(iteration).metrics["a"].max == "Infinity"
        assert client.patch_metric(iteration, MetricPatch(value=1.5), key="a", step=1).time == MOMENT
        for _ in range(2):
            client.delete_metrics(iteration, key="a", step=2)
        summary = client.iteration(iteration).metrics["a"]
        assert (summary.count, summary.last, summary.max) == (2, 1.5, 1.5)
        with pytest.raises(NotFound):
            client.patch_metric(iteration, MetricPatch(value=0.0), key="a", step=2)
        client.delete_metrics(iteration, key="a")
        assert client.iteration(iteration).metrics == {}
        assert list(client.metric_series(iteration)) == []
        assert list(client.metrics(iteration)) == []
        receipt = client.put_metrics(iteration, [MetricWrite(key="a", value=7.0, source="s")])
        assert receipt.steps == (0,)
        assert client.iteration(iteration).metrics["a"].last == 7.0


def test_27_a_malformed_authorization_header_is_a_401_on_every_new_route(api: ApiServer) -> None:
    for method, path in (
        ("PATCH", f"/iterations/{uuid4()}"),
        ("PUT", f"/iterations/{uuid4()}/heartbeat"),
        ("DELETE", "/projects/iris"),
        ("GET", f"/artifacts/{uuid4()}/lineage"),
    ):
        url = f"{api.url}/api/v1{path}"
        answer = urllib3.request(method, url, headers={"authorization": "Bearer"}, body=b"{}", retries=False)
        assert answer.status == 401


def test_21_lists_are_whole_while_a_run_is_in_progress(client: Client, experiment: UUID) -> None:
    """No end, no metric, no sign of life: nothing that a list needs may be missing."""
    running = put(client, experiment, state="RUNNING")
    client.put_metrics(running, [MetricPoint(key="a", step=0, value="NaN")])
    (row,) = client.iterations(experiment)
    assert (row.state, row.ended_at, row.heartbeat_at) == (IterationState.RUNNING, None, None)
    assert row.metrics["a"].min is None
