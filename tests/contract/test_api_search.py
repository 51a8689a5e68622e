"""Listing iterations and experiments by filter and in any order, through the real client and the real server.

Tests whose names begin with `dd`, `ch` or `failure` show that a known failure of an earlier tracker can't happen here.
"""

from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace.client import Client, Invalid
from pinnace.records import (
    ExperimentPatch,
    ExperimentStatus,
    ExperimentWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    Lifecycle,
    Member,
    MemberKind,
    MetricWrite,
    ProjectRole,
    Shown,
    UserWrite,
)
from support.accounts import PASSWORD, Accounts
from support.api_server import ApiServer


@pytest.fixture
def project() -> str:
    return f"p{uuid4().hex[:12]}"


@pytest.fixture
def experiment(client: Client, project: str) -> UUID:
    id_ = uuid4()
    client.put_experiment(id_, ExperimentWrite(project=project, name="sweep"))
    return id_


def put(client: Client, experiment: UUID, *, accuracy: tuple[float, ...] = (), **fields: Any) -> UUID:
    """With a state, it ends when its metrics are there."""
    id_ = uuid4()
    write = msgspec.convert({"experiment_id": experiment, **fields}, IterationWrite)
    client.put_iteration(id_, msgspec.structs.replace(write, state=IterationState.RUNNING))
    client.put_metrics(id_, [MetricWrite(key="accuracy", value=each, step=at) for at, each in enumerate(accuracy)])
    client.put_iteration(id_, msgspec.structs.replace(write, state=fields.get("state", IterationState.RUNNING)))
    return id_


def names(client: Client, where: str | None = None, **options: Any) -> list[str]:
    return [iteration.name for iteration in client.search(where, **options)]


def test_a_filter_over_everything_finds_the_one(client: Client, project: str, experiment: UUID) -> None:
    fields: dict[str, Any] = {"parameters": {"lr": 0.1}, "tags": {"team": "vision"}, "state": IterationState.SUCCEEDED}
    put(client, experiment, name="good", accuracy=(0.2, 0.95), **fields)
    put(client, experiment, name="draft x", accuracy=(0.95,), **fields)
    put(client, experiment, name="bad", accuracy=(0.95, 0.2), **fields)
    put(client, experiment, name="other team", accuracy=(0.95,), **{**fields, "tags": {"team": "speech"}})
    put(client, experiment, name="text", accuracy=(0.95,), **{**fields, "parameters": {"lr": "0.1"}})
    where = (
        'metrics.accuracy.last > 0.9 and params.lr in (0.1, 0.01) and tags.team = "vision" and state = SUCCEEDED'
        ' and not (name ~ "x")'
    )
    assert names(client, where, project=project) == ["good"]
    assert names(client, where, project="elsewhere") == []


def test_failure_17_ch_6_what_has_no_metric_comes_last_in_both_directions(
    client: Client, project: str, experiment: UUID
) -> None:
    put(client, experiment, name="none")
    put(client, experiment, name="low high", accuracy=(0.1, 0.9))
    put(client, experiment, name="middle", accuracy=(0.5,))
    put(client, experiment, name="nan", accuracy=(float("nan"),))
    missing = {"none", "nan"}
    best = names(client, project=project, order_by="metrics.accuracy.max desc")
    worst = names(client, project=project, order_by="metrics.accuracy.min asc")
    lowest_maximum = names(client, project=project, order_by="metrics.accuracy.max")
    assert (best[:2], set(best[2:])) == (["low high", "middle"], missing)
    assert (worst[:2], set(worst[2:])) == (["low high", "middle"], missing)
    assert (lowest_maximum[:2], set(lowest_maximum[2:])) == (["middle", "low high"], missing)


@pytest.mark.parametrize(
    "text",
    [
        "name; DROP TABLE iterations",
        "metrics.accuracy.last) DESC; DROP TABLE iterations; --",
        "metrics.\"accuracy' OR '1'='1\".last desc",
        "params.\"lr' OR '1'='1\" desc",
        "(SELECT token FROM tokens)",
    ],
)
def test_failure_22_ch_19_a_hostile_order_is_refused_or_names_a_key_that_is_not_there(
    client: Client, project: str, experiment: UUID, text: str
) -> None:
    put(client, experiment, name="one")
    if '"' in text:
        assert names(client, project=project, order_by=text) == ["one"]
    else:
        with pytest.raises(Invalid) as refused:
            names(client, project=project, order_by=text)
        assert refused.value.field == "order_by"
    assert names(client, project=project) == ["one"]


@pytest.mark.parametrize("key", ["accuracy' OR '1'='1", 'a"b', "a\\b", "%", "--", "a;b", "ä\U0001f600"])
def test_failure_22_a_hostile_key_in_a_filter_is_a_key(
    client: Client, project: str, experiment: UUID, key: str
) -> None:
    has = put(client, experiment, name="has", parameters={key: 1}, tags={key: key})
    client.put_metrics(has, [MetricWrite(key=key, value=1.0, step=0)])
    put(client, experiment, name="has not", parameters={"accuracy": 1}, accuracy=(1.0,))
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for where in (f"params.{quoted} = 1", f"tags.{quoted} = {quoted}", f"metrics.{quoted}.any = 1"):
        assert names(client, where, project=project) == ["has"]


def test_failure_28_ch_8_a_metric_key_alone_is_refused_with_what_is_missing(client: Client) -> None:
    with pytest.raises(Invalid, match=r"column 9: a metric ends in `last`") as refused:
        list(client.search("metrics.accuracy"))
    assert refused.value.field == "filter"
    assert "metrics.accuracy.last" in refused.value.hint


def test_pages_count_all_that_match_and_go_on_in_the_same_order_only(
    client: Client, project: str, experiment: UUID
) -> None:
    for number in range(7):
        put(client, experiment, name=f"n{number}", accuracy=(number / 10,))
    where = "metrics.accuracy.last >= 0.1"
    first = client.search_page(where, project=project, order_by="metrics.accuracy.last desc", total=True, limit=4)
    assert [iteration.name for iteration in first.items] == ["n6", "n5", "n4", "n3"]
    assert first.total == 6
    put(client, experiment, name="late", accuracy=(0.99,))
    rest = client.search_page(where, project=project, order_by="metrics.accuracy.last desc", after=first.next)
    assert [iteration.name for iteration in rest.items] == ["n2", "n1"]
    assert (rest.next, rest.total) == (None, None)
    with pytest.raises(Invalid) as refused:
        client.search_page(where, project=project, order_by="name", after=first.next)
    assert refused.value.field == "after"


def test_infinite_metrics_are_paged_too(client: Client, project: str, experiment: UUID) -> None:
    for value in (float("inf"), 1.0, float("-inf")):
        put(client, experiment, name=str(value), accuracy=(value,))
    found = []
    after = None
    for _ in range(3):
        page = client.search_page(project=project, order_by="metrics.accuracy.last desc", limit=1, after=after)
        found += [iteration.name for iteration in page.items]
        after = page.next
    assert found == ["inf", "1.0", "-inf"]


def test_the_trash_is_left_out_of_lists_and_totals(client: Client, project: str, experiment: UUID) -> None:
    put(client, experiment, name="stays")
    gone = put(client, experiment, name="gone")
    client.patch_iteration(gone, IterationPatch(lifecycle=Lifecycle.TRASHED))
    page = client.search_page(project=project, total=True)
    assert ([iteration.name for iteration in page.items], page.total) == (["stays"], 1)
    assert names(client, project=project, lifecycle=Shown.TRASHED) == ["gone"]


def test_users_find_what_is_in_their_projects_and_what_is_theirs(
    api: ApiServer, client: Client, project: str, experiment: UUID
) -> None:
    user = f"ann-{uuid4().hex[:8]}"
    client.put_user(user, UserWrite(password=PASSWORD))
    accounts = Accounts(api)
    try:
        with accounts.client(user) as ann:
            put(client, experiment, name="the admin's")
            assert names(ann) == []
            assert ann.search_page(project=project, total=True).total == 0
            client.put_member(project, Member(kind=MemberKind.USER, name=user, role=ProjectRole.EDITOR))
            put(ann, experiment, name="ann's")
            assert sorted(names(ann)) == ["ann's", "the admin's"]
            assert names(ann, "created_by = me") == ["ann's"]
            assert names(client, "created_by = me", project=project) == ["the admin's"]
    finally:
        accounts.close()


def test_experiments_are_filtered_by_their_attributes_and_tags(client: Client, project: str) -> None:
    ids = {}
    for name, team in (("a", "vision"), ("b", "speech")):
        ids[name] = uuid4()
        client.put_experiment(ids[name], ExperimentWrite(project=project, name=name, tags={"team": team}))
    client.patch_experiment(ids["b"], ExperimentPatch(status=ExperimentStatus.FINISHED))
    found = client.experiments(project=project, where='tags.team = "vision" or ended_at is null')
    assert [one.name for one in found] == ["a"]
    assert [one.name for one in client.experiments(where="status = FINISHED", project=project)] == ["b"]
    with pytest.raises(Invalid, match="experiments have no 'params'"):
        list(client.experiments(where="params.lr = 1"))
