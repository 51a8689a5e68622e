"""Runs recorded by `pinnace.iteration` at the real API, whatever happens to either of them."""

import asyncio
import json
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

import pinnace
from pinnace import ids
from pinnace.client import Client, Forbidden, Unauthorized, Unreachable
from pinnace.records import DatasetRole, IterationPatch, IterationState
from pinnace.tracking import delivery, sender
from support.api_server import ADMIN_TOKEN, ApiServer, api_server
from support.eventually import eventually
from support.recording import Training, as_user, command


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), sweep_seconds=1) as server:
        yield server


@pytest.fixture
def client(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    as_user(monkeypatch, tmp_path, api)
    with api.admin() as client:
        yield client


def left(folder: Path) -> list[str]:
    """The spools that are left."""
    spool = folder / "spool"
    return sorted(each.name for each in spool.iterdir()) if spool.is_dir() else []


def test_what_a_block_says_is_at_the_api_when_it_ends_and_nothing_is_left_here(client: Client, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("weights")
    with pinnace.iteration(
        project="iris", experiment="trees", parameters={"depth": 3}, tags={"team": "vision"}, name="first", notes="a"
    ) as it:
        it.log_metrics({"accuracy": 0.5, "loss": math.nan}, step=1)
        it.log_metrics({"accuracy": 0.75})
        it.log_parameters({"lr": 0.1})
        it.set_tag("baseline")
        it.set_tags({"team": None})
        it.note("b")
        it.log_artifact(tmp_path / "model.txt", name="out/model.txt")
        it.link_dataset("flowers", digest="sha256:1", rows=150, context="train")
        it.link_dataset("model", path=tmp_path / "model.txt", role="produced", artifact="out/model.txt")
    row = client.iteration(it.id)
    assert row.state is IterationState.SUCCEEDED
    assert (row.parameters, row.tags, row.name, row.notes) == (
        {"depth": 3, "lr": 0.1},
        {"baseline": ""},
        "first",
        "a\nb",
    )
    assert row.started_at is not None
    assert row.ended_at is not None
    assert row.started_at < row.ended_at
    assert [(p.key, p.step, p.value) for p in client.metrics(it.id)] == [
        ("accuracy", 1, 0.5),
        ("accuracy", 2, 0.75),
        ("loss", 1, "NaN"),
    ]
    (artifact,) = client.iteration_artifacts(it.id)
    assert (artifact.path, artifact.size, artifact.content_type) == ("out/model.txt", 7, "text/plain")
    uses = {use.dataset.name: use for use in client.iteration_datasets(it.id)}
    assert (uses["flowers"].role, uses["flowers"].context, uses["flowers"].dataset.rows) == ("consumed", "train", 150)
    assert (uses["model"].role, uses["model"].artifact_id) == (DatasetRole.PRODUCED, artifact.id)
    assert client.experiment(row.experiment_id).name == "trees"
    assert left(tmp_path) == []


def test_iterations_of_one_name_gather_in_one_experiment_also_in_one_that_was_there(client: Client) -> None:
    with pinnace.iteration(experiment="twice") as first, pinnace.iteration(experiment="twice", parent=first) as second:
        pass
    rows = [client.iteration(each.id) for each in (first, second)]
    assert rows[0].experiment_id == rows[1].experiment_id == ids.experiment_id("p", "twice")
    assert [row.index for row in rows] == [0, 1]
    assert rows[1].parent_id == first.id


def test_an_exception_is_kept_and_its_text_recorded(client: Client) -> None:
    with pytest.raises(ZeroDivisionError), pinnace.iteration() as it:
        1 / 0  # noqa: B018
    row = client.iteration(it.id)
    assert row.state is IterationState.FAILED
    assert "ZeroDivisionError: division by zero" in row.error


@pytest.mark.parametrize(
    ("raised", "state", "error"),
    [
        (SystemExit(0), "SUCCEEDED", ""),
        (SystemExit(3), "FAILED", "exit 3"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
    ],
)
def test_how_a_block_is_left_is_how_the_iteration_ended(
    client: Client, raised: BaseException, state: str, error: str
) -> None:
    with pytest.raises(type(raised)), pinnace.iteration() as it:
        raise raised
    row = client.iteration(it.id)
    assert (row.state, row.error) == (state, error)


def test_each_call_of_a_decorated_function_is_an_iteration(client: Client) -> None:
    seen: list[UUID] = []

    @pinnace.iteration(arguments=True, parameters={"fixed": 1})
    def train(depth: int, lr: float = 0.1, model: object = None) -> int:
        it = pinnace.current()
        it.log_metrics({"accuracy": depth})
        seen.append(it.id)
        return depth

    assert [train(3), train(4, model=object())] == [3, 4]
    assert client.iteration(seen[0]).parameters == {"depth": 3, "lr": 0.1, "model": None, "fixed": 1}
    assert client.iteration(seen[1]).parameters == {"depth": 4, "lr": 0.1, "fixed": 1}
    with pytest.raises(pinnace.NoIteration):
        pinnace.current()


def test_async_blocks_and_functions_have_the_same_verbs(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")

    @pinnace.iteration()
    async def train() -> UUID:
        pinnace.current().log_metrics({"x": 1})
        return pinnace.current().id

    async def main() -> tuple[UUID, UUID, UUID]:
        async with pinnace.iteration() as it:
            await it.log_metrics({"x": 1})
            await it.log_parameters({"lr": 1})
            await it.log_artifact(tmp_path / "a")
            assert await it.flush()
        both = await asyncio.gather(train(), train())
        return it.id, *both

    of_block, *of_calls = asyncio.run(main())
    assert client.iteration(of_block).parameters == {"lr": 1}
    assert [row.path for row in client.iteration_artifacts(of_block)] == ["a"]
    for each in (of_block, *of_calls):
        assert client.iteration(each).state is IterationState.SUCCEEDED
        assert client.iteration(each).metrics["x"].count == 1


def test_a_task_that_is_cancelled_is_killed(client: Client) -> None:
    seen: list[UUID] = []

    async def train() -> None:
        async with pinnace.iteration() as it:
            seen.append(it.id)
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(train())
        while not seen:
            await asyncio.to_thread(lambda: None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert client.iteration(seen[0]).state is IterationState.KILLED


def test_without_a_block_the_end_of_the_process_is_the_end(client: Client, tmp_path: Path) -> None:
    for number, (last, state) in enumerate([("", "SUCCEEDED"), ("raise ValueError('no')", "FAILED")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        script = f"it = pinnace.iteration().start()\nit.log_metrics({{'x': 1}})\nsay(str(it.id))\n{last}\n"
        with Training(folder, script) as training:
            (identity,) = training.wait_for_words()
            training.output()
        row = client.iteration(UUID(identity))
        assert (row.state, row.metrics["x"].count) == (state, 1)


# --- refused at the beginning, or at once


def test_a_wrong_token_is_said_before_the_training(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINNACE_API_TOKEN", "no-such-token")
    with pytest.raises((Unauthorized, Forbidden)):
        pinnace.iteration().start()

    async def main() -> None:
        async with pinnace.iteration():
            raise AssertionError

    with pytest.raises((Unauthorized, Forbidden)):
        asyncio.run(main())
    assert left(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_without_a_word_which_experiment_is_meant_nothing_begins(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PINNACE_EXPERIMENT")
    with pytest.raises(pinnace.NoIteration, match="PINNACE_EXPERIMENT"):
        pinnace.iteration().start()


def test_what_can_not_be_recorded_is_refused_where_it_is_said(client: Client, tmp_path: Path) -> None:
    with pinnace.iteration(parameters={"lr": 1}) as it:
        with pytest.raises(ValueError, match="name of a metric"):
            it.log_metrics({"step": 1})
        with pytest.raises(ValueError, match="could not convert"):
            it.log_metrics({"x": "high"})  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="name of a metric"):
            it.log_metrics({1: 1})  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="64-bit"):
            it.log_metrics({"x": 10**400})
        with pytest.raises(TypeError):
            it.log_metrics([1])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="whole number"):
            it.log_metrics({"x": 1}, step=1.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="can't change"):
            it.log_parameters({"lr": 2})
        with pytest.raises(TypeError):
            it.log_parameters({"model": object()})
        with pytest.raises(ValueError, match="NaN"):
            it.log_parameters({"model": {"bounds": [0, math.inf]}})
        with pytest.raises(ValueError, match="empty parts"):
            it.log_artifact(tmp_path, name="../x")
        with pytest.raises(FileNotFoundError):
            it.log_artifact(tmp_path / "nothing")
        with pytest.raises(ValueError, match="16384"):
            it.note("x" * 20_000)
    row = client.iteration(it.id)
    assert (row.parameters, row.metrics, row.notes) == ({"lr": 1}, {}, "")
    with pytest.raises(pinnace.NotOpen):
        it.log_metrics({"x": 1})


# --- an API that goes and comes back


def test_a_training_begins_and_goes_on_without_the_api_and_all_arrives_when_it_is_back(
    client: Client, api: ApiServer, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a")
    api.stop()
    try:
        with pinnace.iteration() as it:
            it.log_metrics({"x": 1}, step=0)
            it.log_artifact(tmp_path / "a")
            api.start()
            it.log_metrics({"x": 2}, step=1)
            assert it.flush()
            api.stop()
            it.log_metrics({"x": 3}, step=2)
            api.start()
    finally:
        api.stop()
        api.start()
    row = client.iteration(it.id)
    assert (row.state, row.metrics["x"].count, row.metrics["x"].last) == ("SUCCEEDED", 3, 3.0)
    assert [artifact.path for artifact in client.iteration_artifacts(it.id)] == ["a"]
    assert left(tmp_path) == []


def test_what_can_not_be_delivered_is_said_with_the_place_where_it_lies(
    client: Client, api: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = pinnace.iteration(patience=0.2, strict=True).start()
    it.flush()
    api.stop()
    it.log_metrics({"x": 1})
    with pytest.raises(pinnace.NotDelivered) as raised:
        it.end()
    assert raised.value.folder == tmp_path / "spool" / str(it.id)
    assert f"pinnace sync {raised.value.folder}" in str(raised.value)
    assert "iteration.not-delivered" in caplog.text
    with pytest.raises(ZeroDivisionError), pinnace.iteration(patience=0.2, strict=True):
        1 / 0  # noqa: B018 - what it raises is not hidden by what we would
    api.start()
    done = command("sync", "--remove", "--json")
    assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["delivered"] * 2
    assert client.iteration(it.id).metrics["x"].count == 1
    assert left(tmp_path) == []


def test_12_a_token_that_expires_under_way_is_read_anew(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DD-15"""
    token = tmp_path / "token"
    token.write_text(ADMIN_TOKEN)
    monkeypatch.delenv("PINNACE_API_TOKEN")
    monkeypatch.setenv("PINNACE_API_TOKEN_FILE", str(token))
    with pinnace.iteration() as it:
        token.write_text("expired")
        it.log_metrics({"x": 1})
        assert not it.flush(0.3)
        token.write_text(ADMIN_TOKEN)
        assert it.flush(10)
    assert client.iteration(it.id).metrics["x"].count == 1


def test_a_part_waits_for_the_whole_that_is_not_delivered_yet(client: Client, api: ApiServer) -> None:
    api.stop()
    parent = pinnace.iteration().start()
    api.start()
    part = pinnace.iteration(parent=parent).start()
    assert parent.flush(20)
    part.end()
    parent.end()
    assert client.iteration(part.id).parent_id == parent.id


def test_13_an_answer_that_is_lost_makes_no_second_point(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """DD-16"""
    put = Client.put_metrics
    calls: list[int] = []

    def losing(self: Client, iteration: UUID, points: list[object]) -> object:
        receipt = put(self, iteration, points)  # type: ignore[arg-type]
        calls.append(receipt.added)
        if len(calls) == 1:
            raise Unreachable("the answer is lost")
        return receipt

    monkeypatch.setattr(Client, "put_metrics", losing)
    with pinnace.iteration() as it:
        it.log_metrics({"x": 1}, step=1)
        it.log_metrics({"x": 2}, step=1)  # another point of the same step
    assert calls == [2, 0]
    assert client.iteration(it.id).metrics["x"].count == 2


def test_a_long_file_goes_on_where_it_broke_off(
    client: Client, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WHOLE_BYTES", 100)
    monkeypatch.setattr(delivery, "PIECE_BYTES", 1000)
    content = os.urandom(2500)
    (tmp_path / "long").write_bytes(content)
    sent: list[tuple[int, int]] = []
    append = Client.append_to_upload

    def breaking(self: Client, iteration: UUID, upload: UUID, file: object, *, offset: int, size: int) -> object:
        sent.append((offset, size))
        if len(sent) == 2:
            raise Unreachable("broken off")
        return append(self, iteration, upload, file, offset=offset, size=size)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "append_to_upload", breaking)
    with pinnace.iteration() as it:
        it.log_artifact(tmp_path / "long")
    assert sent == [(0, 1000), (1000, 1000), (1000, 1000), (2000, 500)]
    (artifact,) = client.iteration_artifacts(it.id)
    assert artifact.size == 2500


def test_a_file_is_recorded_as_it_was_when_it_was_logged(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("before")
    with pinnace.iteration() as it:
        it.log_artifact(file)
        file.write_text("after")
        it.log_artifact(file)
    sizes = [row.size for row in client.artifact_versions(it.id, "a")]
    assert sizes == [len("before"), len("after")]


def test_a_file_that_was_promised_to_stay_and_did_not_is_refused_aloud(
    client: Client, api: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a"
    file.write_text("before")
    it = pinnace.iteration(strict=True).start()
    it.flush()
    api.stop()
    it.log_artifact(file, copy=False)
    file.write_text("longer than before")
    api.start()
    with pytest.raises(pinnace.NotDelivered, match="copy=False"):
        it.end()
    assert client.iteration(it.id).state is IterationState.SUCCEEDED
    assert list(client.iteration_artifacts(it.id)) == []


def test_one_refused_event_does_not_hold_up_the_others(client: Client, tmp_path: Path) -> None:
    it = pinnace.iteration(strict=True).start()
    it.log_metrics({"x": 1})
    it.link_dataset("flowers", digest="1", rows=1)
    it.link_dataset("flowers", digest="1", rows=2)  # of the same content
    it.log_metrics({"x": 2})
    with pytest.raises(pinnace.NotDelivered, match=r"refused\.jsonl"):
        it.end()
    row = client.iteration(it.id)
    assert (row.state, row.metrics["x"].count) == ("SUCCEEDED", 2)
    (refused,) = (tmp_path / "spool" / str(it.id) / "refused.jsonl").read_text().splitlines()
    assert json.loads(refused)["event"]["dataset"]["rows"] == 2


def test_somebody_who_ends_it_elsewhere_is_heard(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sender, "_BEAT_S", 0.05)
    with pinnace.iteration() as it:
        assert it.flush()
        assert not it.should_stop
        client.patch_iteration(it.id, IterationPatch(state=IterationState.KILLED))
        eventually(lambda: it.should_stop, what="the heartbeat tells")
        it.log_metrics({"x": 1})
    assert client.iteration(it.id).state is IterationState.KILLED
    assert "refused 1 of what was said" in caplog.text
    assert left(tmp_path) == [str(it.id)]


# --- signals


@pytest.mark.parametrize("style", ["block", "async"])
def test_sigterm_kills_the_iteration_and_then_the_process_as_without_us(
    client: Client, tmp_path: Path, style: str
) -> None:
    block = "with pinnace.iteration() as it:\n    it.log_metrics({'x': 1})\n    say(str(it.id))\n    linger()\n"
    awaited = (
        "import asyncio\nasync def main():\n    async with pinnace.iteration() as it:\n"
        "        await it.log_metrics({'x': 1})\n        say(str(it.id))\n"
        "        for _ in range(600):\n            await asyncio.sleep(0.1)\n"
        "asyncio.run(main())\n"
    )
    with Training(tmp_path, block if style == "block" else awaited) as training:
        (identity,) = training.wait_for_words()
        training.signal()
        training.output()
        assert training.process.returncode == -signal.SIGTERM
    row = client.iteration(UUID(identity))
    assert (row.state, row.error, row.metrics["x"].count) == ("KILLED", "SIGTERM", 1)


def test_a_handler_that_was_there_is_called_and_what_it_raises_is_kept(client: Client, tmp_path: Path) -> None:
    script = (
        "def handler(number, frame):\n    say('handler')\n    raise RuntimeError('asked to go')\n"
        "signal.signal(signal.SIGTERM, handler)\n"
        "try:\n    with pinnace.iteration() as it:\n        say(str(it.id))\n        linger()\n"
        "except RuntimeError as error:\n    say(str(error))\n"
        "say(signal.getsignal(signal.SIGTERM) is handler)\n"
    )
    with Training(tmp_path, script) as training:
        (identity,) = training.wait_for_words()
        training.signal()
        training.output()
        assert training.process.returncode == 0
        assert training.words()[1:] == ["handler", "asked to go", True]
    row = client.iteration(UUID(identity))
    assert row.state is IterationState.KILLED
    assert "RuntimeError: asked to go" in row.error


def test_a_child_of_a_fork_ends_without_ending_the_iteration(client: Client, tmp_path: Path) -> None:
    script = (
        "with pinnace.iteration() as it:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try:\n            it.log_metrics({'x': 1})\n"
        "        except pinnace.NotOpen:\n            say('refused')\n"
        "        linger()\n"
        "    while not os.path.exists('words'):\n        time.sleep(0.01)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "    it.log_metrics({'x': 1})\n    say(str(it.id))\n"
    )
    with Training(tmp_path, script) as training:
        *_, refused, code, identity = training.wait_for_words(3)
        training.output()
    assert (refused, code) == ("refused", -signal.SIGTERM)
    row = client.iteration(UUID(identity))
    assert (row.state, row.metrics["x"].count) == ("SUCCEEDED", 1)


def test_11_a_run_that_is_killed_hard_is_lost_and_what_it_said_can_be_delivered(
    client: Client, api: ApiServer, tmp_path: Path
) -> None:
    """DD-14"""
    script = (
        "with pinnace.iteration() as it:\n    it.log_metrics({'x': 0}, step=0)\n    it.flush()\n    say(str(it.id))\n"
        "    while not os.path.exists('go'):\n        time.sleep(0.01)\n"
        "    for step in range(1, 500):\n        it.log_metrics({'x': step}, step=step)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with Training(tmp_path, script) as training:
        (identity,) = training.wait_for_words()
        api.stop()
        (tmp_path / "go").touch()
        training.output()
        assert training.process.returncode == -signal.SIGKILL
    api.start()
    done = command("sync")
    assert f"{identity}: delivered" in done.stdout
    row = client.iteration(UUID(identity))
    assert row.metrics["x"].count == 500
    eventually(lambda: client.iteration(row.id).state is IterationState.LOST, timeout=20, what="it is lost")
