"""The API against a model of itself in memory: whatever is sent in whatever order, both say the same."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pinnace.client import ApiError, Client
from pinnace.records import (
    ExperimentPatch,
    ExperimentStatus,
    ExperimentWrite,
    IterationPatch,
    IterationState,
    IterationWrite,
    Lifecycle,
    MetricWrite,
    Shown,
)
from support.api_server import api_server

ENDS = {"SUCCEEDED", "FAILED", "KILLED"}
#: What may be said of an iteration.
STATES = st.sampled_from(["PENDING", "RUNNING", *sorted(ENDS)])
LIFECYCLES = st.sampled_from(list(Lifecycle))
KEYS = st.sampled_from(["lr", "depth"])
VALUES = st.sampled_from([1, 1.0, "1", None, [1]])


@dataclass
class Model:
    """An iteration as it should be."""

    index: int
    state: str
    parent: UUID | None = None
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    notes: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: list[float] = field(default_factory=list)

    def disagrees(self, key: str, value: Any) -> bool:
        return key in self.parameters and spelled(self.parameters[key]) != spelled(value)


def spelled(value: Any) -> bytes:
    return msgspec.json.encode(value)


class Tracker(RuleBasedStateMachine):
    """Rules say what they expect: "" for done, or the code of the refusal."""

    client: Client

    def __init__(self) -> None:
        super().__init__()
        self.experiment = uuid4()
        self.status = ExperimentStatus.OPEN
        self.lifecycle = Lifecycle.ACTIVE
        self.iterations: dict[UUID, Model] = {}
        self.client.put_experiment(self.experiment, ExperimentWrite(project="model", name="m"))

    def pick(self, data: st.DataObject) -> tuple[UUID, Model]:
        id_ = data.draw(st.sampled_from(list(self.iterations)))
        return id_, self.iterations[id_]

    def refused(self, model: Model, *, locked: bool = True) -> str:
        """Why what is recorded of it may not change."""
        if Lifecycle.TRASHED in (model.lifecycle, self.lifecycle):
            return "trashed"
        return "ended" if locked and model.state in ENDS else ""

    def try_(self, expected: str, call: Any, *args: Any, **kwargs: Any) -> Any:
        if not expected:
            return call(*args, **kwargs)
        with pytest.raises(ApiError) as caught:
            call(*args, **kwargs)
        assert caught.value.code == expected
        return None

    def is_below(self, id_: UUID | None, other: UUID) -> bool:
        while id_ is not None:
            if id_ == other:
                return True
            id_ = self.iterations[id_].parent
        return False

    @rule(data=st.data(), state=STATES, with_parent=st.booleans())
    def create(self, data: st.DataObject, state: str, with_parent: bool) -> None:
        parent = self.pick(data)[0] if with_parent and self.iterations else None
        expected = "trashed" if self.lifecycle is Lifecycle.TRASHED else ""
        if not expected and self.status is not ExperimentStatus.OPEN:
            expected = "ended"
        id_ = uuid4()
        write = IterationWrite(experiment_id=self.experiment, state=IterationState(state), parent_id=parent)
        answer = self.try_(expected, self.client.put_iteration, id_, write)
        if answer is not None:
            assert answer.index == len(self.iterations)
            self.iterations[id_] = Model(index=answer.index, state=state, parent=parent)

    @precondition(lambda self: self.iterations)
    @rule(data=st.data(), state=STATES)
    def move(self, data: st.DataObject, state: str) -> None:
        id_, model = self.pick(data)
        expected = "ended" if model.state in ENDS and state != model.state else self.refused(model, locked=False)
        change = IterationPatch(state=IterationState(state))
        if self.try_(expected, self.client.patch_iteration, id_, change):
            model.state = state

    @precondition(lambda self: self.iterations)
    @rule(data=st.data(), key=KEYS, value=VALUES, override=st.booleans())
    def parameter(self, data: st.DataObject, key: str, value: Any, override: bool) -> None:
        id_, model = self.pick(data)
        after = {**model.parameters, key: value}
        if value is None:
            del after[key]
        if not override and model.disagrees(key, value):
            expected = "conflict"
        elif model.state in ENDS and after != model.parameters:
            expected = "ended"
        else:
            expected = self.refused(model, locked=False)
        change = IterationPatch(parameters={key: value})
        if self.try_(expected, self.client.patch_iteration, id_, change, override=override):
            model.parameters = after

    @precondition(lambda self: self.iterations)
    @rule(data=st.data(), key=st.sampled_from("ab"), value=st.sampled_from(["", "x", None]), notes=st.text(max_size=3))
    def words(self, data: st.DataObject, key: str, value: str | None, notes: str) -> None:
        id_, model = self.pick(data)
        notes = notes.replace("\0", "")
        change = IterationPatch(tags={key: value}, notes=notes)
        if self.try_(self.refused(model, locked=False), self.client.patch_iteration, id_, change):
            model.notes = notes
            model.tags = {**model.tags, key: value or ""}
            if value is None:
                del model.tags[key]

    @precondition(lambda self: self.iterations)
    @rule(data=st.data(), off=st.booleans())
    def hang(self, data: st.DataObject, off: bool) -> None:
        id_, model = self.pick(data)
        parent = None if off else self.pick(data)[0]
        expected = "invalid" if self.is_below(parent, id_) else self.refused(model, locked=False)
        if self.try_(expected, self.client.patch_iteration, id_, IterationPatch(parent_id=parent)):
            model.parent = parent

    @precondition(lambda self: self.iterations)
    @rule(data=st.data(), value=st.floats(allow_nan=False, allow_infinity=False, width=32))
    def measure(self, data: st.DataObject, value: float) -> None:
        id_, model = self.pick(data)
        point = MetricWrite(key="loss", value=value, source="m", offset=len(model.points))
        receipt = self.try_(self.refused(model), self.client.put_metrics, id_, [point])
        if receipt is not None:
            assert receipt.steps == (len(model.points),)
            model.points.append(value)
            assert self.client.put_metrics(id_, [point]).steps == receipt.steps

    @precondition(lambda self: self.iterations)
    @rule(data=st.data(), lifecycle=LIFECYCLES)
    def put_away(self, data: st.DataObject, lifecycle: Lifecycle) -> None:
        id_, model = self.pick(data)
        self.client.patch_iteration(id_, IterationPatch(lifecycle=lifecycle))
        model.lifecycle = lifecycle

    @rule(lifecycle=LIFECYCLES)
    def put_all_away(self, lifecycle: Lifecycle) -> None:
        self.client.patch_experiment(self.experiment, ExperimentPatch(lifecycle=lifecycle))
        self.lifecycle = lifecycle

    @rule(status=st.sampled_from(list(ExperimentStatus)))
    def close(self, status: ExperimentStatus) -> None:
        expected = "trashed" if self.lifecycle is Lifecycle.TRASHED and status is not self.status else ""
        change = ExperimentPatch(status=status)
        if self.try_(expected, self.client.patch_experiment, self.experiment, change):
            self.status = status

    @invariant()
    def both_say_the_same(self) -> None:
        rows = {row.id: row for row in self.client.iterations(self.experiment, lifecycle=Shown.ALL)}
        assert list(rows) == list(self.iterations)
        for id_, model in self.iterations.items():
            row = rows[id_]
            assert (row.index, row.state, row.parent_id) == (model.index, model.state, model.parent)
            assert (row.lifecycle, row.notes, row.tags) == (model.lifecycle, model.notes, model.tags)
            assert spelled(dict(sorted(row.parameters.items()))) == spelled(dict(sorted(model.parameters.items())))
            assert (row.ended_at is not None) == (model.state in ENDS)
            summary = row.metrics.get("loss")
            assert (summary.count if summary else 0) == len(model.points)
            if summary:
                assert (summary.last, summary.max) == (model.points[-1], max(model.points))

    @invariant()
    def lists_and_trees_show_what_they_should(self) -> None:
        is_trashed = self.lifecycle is Lifecycle.TRASHED
        active = [id_ for id_, one in self.iterations.items() if one.lifecycle is Lifecycle.ACTIVE and not is_trashed]
        assert [row.id for row in self.client.iterations(self.experiment)] == active
        if self.iterations:
            root = next(iter(self.iterations))
            below = [
                id_
                for id_, one in self.iterations.items()
                if self.is_below(id_, root) and one.lifecycle is not Lifecycle.TRASHED
            ]
            assert [node.id for node in self.client.subtree(root).items] == below


@pytest.fixture(scope="module")
def client(database_url: str) -> Iterator[Client]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        yield stack.enter_context(stack.enter_context(api_server(folder, database_url=database_url)).admin())


def test_the_api_is_what_the_model_is(client: Client) -> None:
    machine = type("TrackerHere", (Tracker,), {"client": client})
    run_state_machine_as_test(machine, settings=settings(max_examples=8, stateful_step_count=25, deadline=None))
