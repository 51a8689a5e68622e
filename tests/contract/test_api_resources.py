"""What the API keeps, through the real client and the real server."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace import ids
from pinnace.client import Client, Conflict, Invalid, NotFound
from pinnace.digests import manifest_sha256
from pinnace.records import (
    ExperimentWrite,
    IterationState,
    IterationWrite,
    MetricPoint,
    MetricReceipt,
    ProjectWrite,
    WriterEnd,
)
from support.api_server import ApiServer, api_server
from support.samples import MOMENT, artifact, report


@pytest.fixture
def experiment(client: Client) -> UUID:
    id_ = uuid4()
    client.put_experiment(id_, ExperimentWrite(project="iris", name="sweep", namespace="ml"))
    return id_


@pytest.fixture
def iteration(client: Client, experiment: UUID) -> UUID:
    return put_iteration(client, experiment, 0)


def put_iteration(client: Client, experiment: UUID, index: int, **fields: object) -> UUID:
    id_ = ids.iteration_id(experiment, index)
    write = msgspec.convert({"experiment_id": experiment, "index": index, **fields}, IterationWrite)
    client.put_iteration(id_, write)
    return id_


def point(step: int, value: float | str, *, key: str = "loss", **fields: object) -> MetricPoint:
    return msgspec.convert({"key": key, "step": step, "value": value, **fields}, MetricPoint)


class TestProjects:
    def test_a_project_is_put_described_anew_and_listed_by_name(self, client: Client) -> None:
        first = client.put_project("vision", ProjectWrite(description="old"))
        second = client.put_project("vision", ProjectWrite(description="new"))
        assert second == msgspec.structs.replace(first, description="new")
        assert client.project("vision") == second
        assert first.id == ids.project_id("vision")
        client.put_project("audio")
        names = [project.name for project in client.projects()]
        assert names == sorted(names)
        assert {"audio", "vision"} <= set(names)

    @pytest.mark.parametrize("name", ["Iris", "-iris", "iris-", "a" * 101, "iris\n", "ir is"])
    def test_a_name_that_is_none_is_refused(self, client: Client, name: str) -> None:
        with pytest.raises(Invalid) as caught:
            client.put_project(name)
        assert caught.value.field == "name"

    def test_an_unknown_project_is_not_found(self, client: Client) -> None:
        with pytest.raises(NotFound):
            client.project("nowhere")


class TestExperiments:
    def test_the_project_comes_with_the_experiment_and_keeps_its_own_description(self, client: Client) -> None:
        client.put_project("kept", ProjectWrite(description="mine"))
        client.put_experiment(uuid4(), ExperimentWrite(project="kept", name="a"))
        client.put_experiment(uuid4(), ExperimentWrite(project="made-by-the-way", name="a"))
        assert client.project("kept").description == "mine"
        assert client.project("made-by-the-way").description == ""

    def test_the_same_put_again_changes_nothing(self, client: Client) -> None:
        id_, write = (
            uuid4(),
            ExperimentWrite(project="iris", name="again", tags={"a": "", "team": "b"}, description="d"),
        )
        first = client.put_experiment(id_, write)
        assert client.put_experiment(id_, write) == first
        assert client.experiment(id_) == first

    def test_description_and_tags_may_change(self, client: Client, experiment: UUID) -> None:
        write = ExperimentWrite(project="iris", name="sweep", namespace="ml", description="better", tags={"new": ""})
        changed = client.put_experiment(experiment, write)
        assert (changed.description, changed.tags) == ("better", {"new": ""})
        assert client.experiment(experiment) == changed

    @pytest.mark.parametrize("field", ["project", "name", "namespace"])
    def test_where_it_belongs_can_not_change(self, client: Client, experiment: UUID, field: str) -> None:
        write = ExperimentWrite(project="iris", name="sweep", namespace="ml", description="stolen")
        with pytest.raises(Conflict) as caught:
            client.put_experiment(experiment, msgspec.structs.replace(write, **{field: "other"}))
        assert (caught.value.code, caught.value.field) == ("conflict", field)
        assert client.experiment(experiment).description == ""

    def test_they_are_listed_newest_first_and_by_what_they_are(self, client: Client) -> None:
        namespace = f"ns-{uuid4().hex[:8]}"
        made = [uuid4() for _ in range(3)]
        for number, id_ in enumerate(made):
            client.put_experiment(
                id_, ExperimentWrite(project=f"p{number % 2}", name=f"n{number}", namespace=namespace)
            )
        assert [each.id for each in client.experiments(namespace=namespace)] == made[::-1]
        assert [each.id for each in client.experiments(namespace=namespace, project="p0")] == [made[2], made[0]]
        assert [each.id for each in client.experiments(namespace=namespace, name="n1")] == [made[1]]
        assert list(client.experiments(namespace=namespace, name="other")) == []


class TestIterations:
    def test_an_id_that_is_not_the_index_es_is_refused(self, client: Client, experiment: UUID) -> None:
        with pytest.raises(Invalid) as caught:
            client.put_iteration(uuid4(), IterationWrite(experiment_id=experiment, index=0))
        assert caught.value.field == "index"

    def test_without_its_experiment_it_is_not_found_yet(self, client: Client) -> None:
        nowhere = uuid4()
        with pytest.raises(NotFound) as caught:
            client.put_iteration(ids.iteration_id(nowhere, 0), IterationWrite(experiment_id=nowhere, index=0))
        assert caught.value.code == "experiment-not-found"

    def test_parameters_join_but_never_change(self, client: Client, experiment: UUID) -> None:
        id_ = put_iteration(client, experiment, 1, parameters={"lr": 0.1, "deep": {"a": [1, None]}})
        put_iteration(client, experiment, 1, parameters={"depth": 3})
        with pytest.raises(Conflict) as caught:
            put_iteration(client, experiment, 1, parameters={"more": 1, "lr": 0.2})
        assert caught.value.field == "parameters.lr"
        assert client.iteration(id_).parameters == {"lr": 0.1, "deep": {"a": [1, None]}, "depth": 3}

    def test_it_runs_to_an_end_that_is_never_left(self, client: Client, experiment: UUID) -> None:
        begun, ended = MOMENT, MOMENT + timedelta(hours=1)
        put_iteration(client, experiment, 2, state="RUNNING", started_at=begun)
        id_ = put_iteration(client, experiment, 2, state="FAILED", ended_at=ended)
        put_iteration(client, experiment, 2, state="FAILED")
        with pytest.raises(Conflict) as caught:
            put_iteration(client, experiment, 2, state="RUNNING")
        assert caught.value.field == "state"
        stored = client.iteration(id_)
        assert (stored.state, stored.started_at, stored.ended_at) == (IterationState.FAILED, begun, ended)

    def test_times_come_back_in_utc(self, client: Client, experiment: UUID) -> None:
        id_ = put_iteration(
            client, experiment, 3, started_at="2026-01-31T14:00:00+02:00", ended_at="2026-02-01T00:00:00"
        )
        stored = client.iteration(id_)
        assert stored.started_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
        assert stored.started_at.utcoffset() == timedelta(0)
        assert stored.ended_at == datetime(2026, 2, 1, tzinfo=UTC)

    def test_they_are_listed_by_index_with_their_metrics(self, client: Client, experiment: UUID) -> None:
        made = [put_iteration(client, experiment, index) for index in (2, 0, 1)]
        client.put_metrics(made[0], [point(0, 1.5)])
        listed = list(client.iterations(experiment))
        assert [each.index for each in listed] == [0, 1, 2]
        assert listed[2].metrics["loss"].last == 1.5
        assert listed[0].metrics == {}

    def test_those_of_an_unknown_experiment_are_not_found(self, client: Client) -> None:
        with pytest.raises(NotFound):
            list(client.iterations(uuid4()))


class TestArtifacts:
    def test_rows_come_back_as_stored_in_the_order_sent(self, client: Client, iteration: UUID) -> None:
        sent = [artifact(iteration, f"f/{number}", bytes([number])) for number in (3, 1, 2)]
        stored = client.put_artifacts(iteration, [*sent, sent[0]])
        assert [each.path for each in stored] == ["f/3", "f/1", "f/2", "f/3"]
        assert all(each.recorded_at is not None for each in stored)
        assert client.put_artifacts(iteration, sent) == stored[:3]
        assert client.artifact(sent[1].id) == stored[1]
        found = sorted(client.iteration_artifacts(iteration), key=lambda each: each.id)
        assert found == sorted(stored[:3], key=lambda each: each.id)

    def test_a_path_written_again_is_another_artifact(self, client: Client, iteration: UUID) -> None:
        client.put_artifacts(iteration, [artifact(iteration, content=b"one")])
        client.put_artifacts(iteration, [artifact(iteration, content=b"two")])
        assert [each.size for each in client.iteration_artifacts(iteration)] == [3, 3]

    def test_suspicion_ends_and_never_begins(self, client: Client, iteration: UUID) -> None:
        sure, unsure = artifact(iteration), artifact(iteration, suspect=True)
        assert client.put_artifacts(iteration, [unsure])[0].suspect
        assert not client.put_artifacts(iteration, [sure])[0].suspect
        assert not client.put_artifacts(iteration, [unsure])[0].suspect
        assert not client.artifact(sure.id).suspect

    def test_a_batch_with_one_wrong_artifact_stores_none(self, client: Client, iteration: UUID) -> None:
        good = artifact(iteration, "good")
        client.put_artifacts(iteration, [artifact(iteration, "there")])
        wrong = [
            artifact(iteration, "there", size=99),
            artifact(iteration, "there", crc32c="AAAAAA=="),
        ]
        for each in wrong:
            with pytest.raises(Conflict) as caught:
                client.put_artifacts(iteration, [good, each])
            assert caught.value.field.startswith("artifacts[1].")
        assert [each.path for each in client.iteration_artifacts(iteration)] == ["there"]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"id": uuid4()}, "id"),
            ({"iteration_id": uuid4()}, "iteration_id"),
            ({"size": 2**63}, "size"),
            ({"crc32c": "short"}, "crc32c"),
            ({"sha256": "0" * 63 + "G"}, "sha256"),
            ({"modified_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "modified_at"),
        ],
    )
    def test_wrong_facts_are_refused_by_name(
        self, client: Client, iteration: UUID, fields: dict[str, Any], field: str
    ) -> None:
        sent = [artifact(iteration, "good"), artifact(iteration, **fields)]
        with pytest.raises(Invalid) as caught:
            client.put_artifacts(iteration, sent)
        assert caught.value.field.endswith(field)
        assert list(client.iteration_artifacts(iteration)) == []

    @pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a//b", "a/./b", "a/", "nul\0"])
    def test_paths_that_leave_the_volume_are_refused(self, client: Client, iteration: UUID, path: str) -> None:
        with pytest.raises(Invalid) as caught:
            client.put_artifacts(iteration, [artifact(iteration, path)])
        assert caught.value.field == "artifacts[0].path"

    def test_without_the_iteration_they_are_not_found_yet(self, client: Client) -> None:
        nowhere = uuid4()
        with pytest.raises(NotFound) as caught:
            client.put_artifacts(nowhere, [artifact(nowhere)])
        assert caught.value.code == "iteration-not-found"

    def test_more_than_a_request_takes_are_sent_in_several(self, client: Client, iteration: UUID) -> None:
        sent = [artifact(iteration, f"f/{number}") for number in range(2001)]
        assert len(client.put_artifacts(iteration, sent)) == 2001
        assert {each.id for each in client.iteration_artifacts(iteration)} == {each.id for each in sent}
        assert len(list(client.iteration_artifacts(iteration, limit=1500))) == 1500

    def test_an_experiment_s_come_by_iteration(self, client: Client, experiment: UUID) -> None:
        for index in (1, 0):
            iteration = put_iteration(client, experiment, index)
            client.put_artifacts(iteration, [artifact(iteration, f"{index}")])
        assert [each.path for each in client.experiment_artifacts(experiment)] == ["0", "1"]


class TestMetrics:
    def test_a_point_is_once_in_effect_however_often_it_is_sent(self, client: Client, iteration: UUID) -> None:
        points = [point(step, step * 0.5, source="pod:metrics.jsonl", offset=step * 40) for step in range(5)]
        assert client.put_metrics(iteration, points[:3]) == MetricReceipt(added=3, present=0)
        assert client.put_metrics(iteration, points) == MetricReceipt(added=2, present=3)
        assert client.put_metrics(iteration, points) == MetricReceipt(added=0, present=5)
        assert list(client.metrics(iteration)) == points
        summary = client.iteration(iteration).metrics["loss"]
        assert (summary.last, summary.last_step, summary.min, summary.max, summary.count) == (2.0, 4, 0.0, 2.0, 5)

    def test_the_same_step_from_another_offset_is_another_point(self, client: Client, iteration: UUID) -> None:
        client.put_metrics(iteration, [point(0, 1.0, offset=0), point(0, 2.0, offset=9), point(0, 1.0, offset=0)])
        assert [each.value for each in client.metrics(iteration)] == [1.0, 2.0]

    def test_nan_and_infinities_survive_and_nan_is_no_extreme(self, client: Client, iteration: UUID) -> None:
        client.put_metrics(iteration, [point(0, "Infinity"), point(1, 2.0), point(2, float("-inf")), point(3, "NaN")])
        assert [each.value for each in client.metrics(iteration)] == ["Infinity", 2.0, "-Infinity", "NaN"]
        summary = client.iteration(iteration).metrics["loss"]
        assert (summary.last, summary.min, summary.max, summary.count) == ("NaN", "-Infinity", "Infinity", 4)

    def test_a_metric_of_nothing_but_nan_has_no_extremes(self, client: Client, iteration: UUID) -> None:
        client.put_metrics(iteration, [point(0, float("nan"))])
        summary = client.iteration(iteration).metrics["loss"]
        assert (summary.last, summary.min, summary.max) == ("NaN", None, None)

    def test_they_come_by_key_step_and_time(self, client: Client, iteration: UUID) -> None:
        early, late = MOMENT, MOMENT + timedelta(microseconds=1)
        sent = [
            point(2, 1, key="b"),
            point(1, 2, key="b", time=late.isoformat(), offset=1),
            point(1, 3, key="b", time=early.isoformat(), offset=2),
            point(1, 4, key="b", offset=3),
            point(-5, 5, key="a"),
        ]
        client.put_metrics(iteration, sent)
        assert [each.value for each in client.metrics(iteration)] == [5, 4, 3, 2, 1]
        assert [each.value for each in client.metrics(iteration, key="b", limit=3)] == [4, 3, 2]
        assert [each.time for each in client.metrics(iteration, key="b")] == [None, early, late, None]
        assert list(client.metrics(iteration, key="c")) == []

    def test_one_wrong_value_stores_none(self, client: Client, iteration: UUID) -> None:
        with pytest.raises(Invalid) as caught:
            client.put_metrics(iteration, [point(0, 1.0), point(1, "nan")])
        assert caught.value.field == "points[1].value"
        assert list(client.metrics(iteration)) == []

    def test_a_long_series_comes_in_pages_without_gap_or_double(self, client: Client, iteration: UUID) -> None:
        points = [point(number // 3, number, key=f"k{number % 3}", offset=number) for number in range(3500)]
        client.put_metrics(iteration, points)
        read = list(client.metrics(iteration))
        assert [(each.key, each.step) for each in read] == sorted((each.key, each.step) for each in points)
        assert {each.offset for each in read} == set(range(3500))
        one = list(client.metrics(iteration, key="k1"))
        assert [each.offset for each in one] == list(range(1, 3500, 3))


class TestPods:
    def test_the_answer_says_what_the_api_holds_itself(self, client: Client, iteration: UUID) -> None:
        mine = [artifact(iteration, f"f/{number}", b"x" * number, pod_uid="one") for number in range(3)]
        client.put_artifacts(iteration, [*mine, artifact(iteration, "other", pod_uid="two")])
        standing = client.put_pod_report(report(iteration, "one", 1, *mine))
        assert standing.recorded == report(iteration, "one", 1, *mine).manifest
        assert standing.bytes_recorded == 3
        assert standing.report == report(iteration, "one", 1, *mine)

    def test_content_that_two_pods_shipped_is_one_row_and_both_have_it(self, client: Client, iteration: UUID) -> None:
        first = artifact(iteration, pod_uid="one")
        second = msgspec.structs.replace(first, pod_uid="two")
        client.put_artifacts(iteration, [first])
        assert client.put_pod_report(report(iteration, "two", 0)).recorded.count == 0
        assert client.put_artifacts(iteration, [second])[0].pod_uid == "one"
        assert len(list(client.iteration_artifacts(iteration))) == 1
        for pod_uid in ("one", "two"):
            standing = client.put_pod_report(report(iteration, pod_uid, 1, first))
            assert (standing.recorded.count, standing.recorded.sha256) == (1, manifest_sha256([first.id]))

    def test_other_content_of_another_pod_at_the_same_path_is_another_version_and_each_is_its_pods(
        self, client: Client, iteration: UUID
    ) -> None:
        of_each = {uid: artifact(iteration, "shared.bin", uid.encode(), pod_uid=uid) for uid in ("one", "two")}
        for mine in of_each.values():
            client.put_artifacts(iteration, [mine])
        listed = list(client.iteration_artifacts(iteration))
        assert {row.sha256 for row in listed} == {mine.sha256 for mine in of_each.values()}
        versions = client.artifact_versions(iteration, "shared.bin")
        assert [(row.version, row.pod_uid) for row in versions] == [(1, "one"), (2, "two")]
        for uid, mine in of_each.items():
            standing = client.put_pod_report(report(iteration, uid, 1, mine))
            assert (standing.recorded.count, standing.recorded.sha256) == (1, manifest_sha256([mine.id]))

    def test_the_report_with_the_highest_sequence_is_kept(self, client: Client, iteration: UUID) -> None:
        newer, older = report(iteration, "one", 7, metric_points=7), report(iteration, "one", 6, metric_points=6)
        client.put_pod_report(newer)
        assert client.put_pod_report(older).report == newer
        assert client.put_pod_report(newer).report == newer

    def test_a_report_about_another_pod_or_iteration_is_refused(self, api: ApiServer, iteration: UUID) -> None:
        with api.admin() as client, pytest.raises(NotFound):
            client.put_pod_report(report(uuid4(), "one", 0))

    def test_every_pod_that_told_or_registered_something_is_listed(self, client: Client, experiment: UUID) -> None:
        for index in (1, 0):
            iteration = put_iteration(client, experiment, index)
            client.put_artifacts(iteration, [artifact(iteration, pod_uid="silent")])
            client.put_pod_report(report(iteration, "loud", 0))
        listed = list(client.pods(experiment))
        assert [each.pod_uid for each in listed] == ["loud", "silent", "loud", "silent"]
        assert listed[0].iteration_id == ids.iteration_id(experiment, 0)
        assert (listed[1].report, listed[1].reported_at, listed[1].recorded.count) == (None, None, 1)

    @pytest.mark.parametrize("ended", list(WriterEnd))
    def test_a_sidecar_learns_how_its_writers_ended(self, api: ApiServer, client: Client, ended: WriterEnd) -> None:
        experiment, pod_uid = uuid4(), uuid4().hex
        client.put_experiment(experiment, ExperimentWrite(project="iris", name="w", namespace="ml"))
        iteration = put_iteration(client, experiment, 0)
        with api.sidecar(iteration, namespace="ml", pod_uid=pod_uid) as sidecar:
            assert sidecar.writers(iteration, pod_uid).ended is WriterEnd.RUNNING
            api.cluster.end_writers(namespace="ml", pod_uid=pod_uid, ended=ended)
            assert sidecar.writers(iteration, pod_uid).ended is ended
            assert client.writers(iteration, pod_uid).ended is WriterEnd.UNKNOWN
            sidecar.put_pod_report(report(iteration, pod_uid, 0))
            assert client.writers(iteration, pod_uid).ended is ended


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path, new_database: Callable[[], str]) -> None:
    with api_server(tmp_path, database_url=new_database()) as api, api.admin() as client:
        experiment = uuid4()
        client.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep"))
        iteration = put_iteration(client, experiment, 0)
        client.put_artifacts(iteration, [artifact(iteration)])
        client.put_metrics(iteration, [point(0, "NaN")])
        before = (client.iteration(iteration), list(client.iteration_artifacts(iteration)))
        api.stop()
        api.start()
        assert (client.iteration(iteration), list(client.iteration_artifacts(iteration))) == before
