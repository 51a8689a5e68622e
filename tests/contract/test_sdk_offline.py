"""Runs recorded offline, and delivered later by `pinnace sync`: once, twice, and broken off."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

import pinnace
from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.client import Client, Unreachable
from pinnace.records import Iteration, IterationState
from support.api_server import ApiServer, api_server
from support.recording import Training, as_user


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def client(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    as_user(monkeypatch, tmp_path, api)
    with api.admin() as client:
        yield client


def recorded(folder: Path) -> UUID:
    """A run with some of everything, in `folder`."""
    (folder / "model").write_bytes(b"weights")
    with pinnace.iteration(parameters={"lr": 0.1}, offline=True, folder=str(folder / "runs")) as it:
        for step in range(100):
            it.log_metrics({"x": step, "y": -step}, step=step)
        it.log_artifact(folder / "model")
        it.set_tag("a", "b")
        it.note("n")
        it.link_dataset("d", digest="1")
        assert not it.flush()
    return it.id


def sync(*arguments: object, ends: Exit = Exit.OK) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, ["sync", "--json", *map(str, arguments)])
    assert result.exit_code == ends, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def arrived(client: Client, identity: UUID) -> Iteration:
    """All of `recorded` is there, and once."""
    row = client.iteration(identity)
    assert (row.state, row.parameters, row.tags, row.notes) == ("SUCCEEDED", {"lr": 0.1}, {"a": "b"}, "n")
    assert [(key, summary.count) for key, summary in sorted(row.metrics.items())] == [("x", 100), ("y", 100)]
    assert [(artifact.path, artifact.size) for artifact in client.iteration_artifacts(identity)] == [("model", 7)]
    assert [use.dataset.name for use in client.iteration_datasets(identity)] == ["d"]
    return row


def test_what_was_recorded_without_a_network_arrives_by_a_sync_and_a_second_changes_nothing(
    client: Client, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINNACE_API_URL", "http://127.0.0.1:9")
    identity = recorded(tmp_path)
    monkeypatch.setenv("PINNACE_API_URL", api.url)
    (synced,) = sync(tmp_path / "runs")
    assert (synced["outcome"], synced["iteration_id"], synced["left_bytes"]) == ("delivered", str(identity), 0)
    row = arrived(client, identity)
    assert [line["outcome"] for line in sync(tmp_path / "runs" / str(identity))] == ["delivered"]
    assert arrived(client, identity) == row
    sync(tmp_path / "runs", "--remove")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_spool_may_be_delivered_from_a_copy_that_knows_nothing_of_the_first_time(
    client: Client, tmp_path: Path
) -> None:
    identity = recorded(tmp_path)
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    sync(tmp_path / "runs")
    (again,) = sync(tmp_path / "copy", ends=Exit.UNFINISHED)
    # It has ended, so what was there before is refused; and nothing is there twice.
    assert again["outcome"] == "refused"
    arrived(client, identity)


CALLS = (
    "put_experiment",
    "put_iteration",
    "put_metrics",
    "put_file",
    "patch_iteration",
    "put_dataset",
    "use_dataset",
)


@pytest.mark.parametrize("call", CALLS)
def test_a_sync_that_breaks_off_after_any_call_goes_on_and_nothing_is_there_twice(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    identity = recorded(tmp_path)
    real = getattr(Client, call)

    def losing(self: Client, *args: object, **kwargs: object) -> object:
        real(self, *args, **kwargs)
        raise Unreachable("the answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(Client, call, losing)
        (broken,) = sync(tmp_path / "runs", "--patience", 0, ends=Exit.UNFINISHED)
        assert broken["outcome"] == "left"
        assert "the answer is lost" in str(broken["reason"])
    sync(tmp_path / "runs")
    arrived(client, identity)


def test_an_api_that_is_away_leaves_everything_where_it_is(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: ApiServer
) -> None:
    identity = recorded(tmp_path)
    monkeypatch.setenv("PINNACE_API_URL", "http://127.0.0.1:9")
    (left,) = sync(tmp_path / "runs", "--patience", 0, ends=Exit.UNFINISHED)
    assert left["outcome"] == "left"
    monkeypatch.setenv("PINNACE_API_URL", api.url)
    sync(tmp_path / "runs")
    arrived(client, identity)


def test_a_run_that_goes_on_is_passed_over(client: Client, tmp_path: Path) -> None:
    script = (
        f"with pinnace.iteration(offline=True, folder={str(tmp_path / 'runs')!r}, capture=False) as it:\n"
        "    child = os.fork()\n    if child == 0:\n        linger()\n"
        "    it.log_metrics({'x': 1})\n    say([str(it.id), child])\n    linger()\n"
    )
    with Training(tmp_path, script) as training:
        ((identity, child),) = training.wait_for_words()
        (busy,) = sync(tmp_path / "runs", ends=Exit.UNFINISHED)
        assert busy["outcome"] == "busy"
        training.signal(9)
        training.process.wait(timeout=30)
        # Its child lives on, and holds nothing up.
        (synced,) = sync(tmp_path / "runs")
        assert synced["outcome"] == "delivered"
        os.kill(child, 9)
    assert client.iteration(UUID(identity)).metrics["x"].count == 1


def test_parents_are_delivered_before_what_is_part_of_them(client: Client, tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    with pinnace.iteration(offline=True, folder=runs) as parent:
        with pinnace.iteration(offline=True, folder=runs, parent=parent) as first:
            pass
        with pinnace.iteration(offline=True, folder=runs, parent=parent) as second:
            pass
    assert [line["outcome"] for line in sync(runs)] == ["delivered"] * 3
    assert {row.id for row in client.children(parent.id)} == {first.id, second.id}


def test_a_line_that_was_cut_off_by_a_power_cut_is_not_there_and_one_that_is_spoilt_is_said(
    client: Client, tmp_path: Path
) -> None:
    with pinnace.iteration(offline=True, folder=str(tmp_path / "runs")) as it:
        it.log_metrics({"x": 1})
        it.log_metrics({"x": 2})
        it.log_metrics({"x": 3})
    events = tmp_path / "runs" / str(it.id) / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    metrics = [number for number, line in enumerate(lines) if b'"metrics"' in line]
    lines[metrics[1]] = b'{"do":"metr\n'
    events.write_bytes(b"".join(lines[: metrics[2]]) + lines[metrics[2]][:10])
    (synced,) = sync(tmp_path / "runs", ends=Exit.UNFINISHED)
    assert synced["outcome"] == "refused"
    assert "can't be understood" in str(synced["refused"])
    assert client.iteration(it.id).metrics["x"].count == 1
    assert client.iteration(it.id).state is IterationState.RUNNING  # until its lease is over


def test_a_folder_that_is_damaged_holds_up_no_other_and_is_said(client: Client, tmp_path: Path) -> None:
    identity = recorded(tmp_path)
    damaged = tmp_path / "runs" / "damaged"
    damaged.mkdir()
    (damaged / "events.jsonl").write_bytes(b'{"do":"beg')
    first, second = sync(tmp_path / "runs", ends=Exit.UNFINISHED)
    assert (first["outcome"], second["outcome"]) == ("unreadable", "delivered")
    assert "is no spool" in str(first["reason"])
    arrived(client, identity)
    sync(damaged, ends=Exit.FILE)


def test_a_folder_that_is_none_is_said(client: Client, tmp_path: Path) -> None:
    assert sync(tmp_path / "nothing", ends=Exit.FILE) == []
    assert sync() == []
