"""Random parameters: the same for ever, within their bounds, and independent of how many there are."""

import hashlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace_operator.experiment_spec import Dimension, IntRange, Parameters, RandomSearch, Range
from pinnace_operator.search import search_of
from pinnace_operator.search.sampling import draw, number_of
from pinnace_operator.search.spaces import space_of
from pinnace_operator.search.values import Combination, SearchError

SPACE = {
    "lr": Dimension(log_uniform=Range(min=1e-4, max=0.1)),
    "dropout": Dimension(uniform=Range(min=0, max=0.5)),
    "depth": Dimension(int_=IntRange(min=2, max=12, step=2)),
    "optimizer": Dimension(choice=["adam", "sgd", True, 1]),
}
#: Never to be changed: what was recorded as random once must be found again.
GOLDEN = [
    {"depth": 8, "dropout": 0.467700204429034, "lr": 0.035273982095988955, "optimizer": "adam"},
    {"depth": 8, "dropout": 0.05891145540593401, "lr": 0.03156969925282951, "optimizer": "adam"},
    {"depth": 12, "dropout": 0.13463246642212212, "lr": 0.03130438625716424, "optimizer": "adam"},
]
BOUNDS = st.tuples(st.floats(min_value=-1e12, max_value=1e12), st.floats(min_value=-1e12, max_value=1e12)).filter(
    lambda pair: pair[0] < pair[1]
)


def drawn(count: int, seed: int = 7, space: dict[str, Dimension] | None = None) -> list[Combination | None]:
    search = search_of(Parameters(random=RandomSearch(count=count, seed=seed, space=space or SPACE)), None)
    assert search.count == count
    return [search.parameters_of(index, {}) for index in range(count)]


def test_these_very_values_are_a_promise() -> None:
    assert drawn(3) == GOLDEN


def test_the_generator_is_what_its_documentation_says() -> None:
    digest = hashlib.sha256(b'["pinnace random 1",7,2,"lr"]').digest()
    assert number_of(7, 2, "lr") == int.from_bytes(digest, "big")


def test_a_draw_depends_neither_on_count_nor_on_the_other_parameters() -> None:
    assert drawn(100)[:10] == drawn(10)
    fewer = {"lr": SPACE["lr"]}
    assert [one and one["lr"] for one in drawn(10)] == [one and one["lr"] for one in drawn(10, space=fewer)]
    assert drawn(10) == drawn(10, space=dict(reversed(SPACE.items())))


def test_choices_that_python_takes_for_equal_keep_their_types() -> None:
    found = [drawn(1, space={"x": Dimension(choice=[one])}) for one in (1, 1.0, True, "1")]
    assert [(type(one["x"]), one["x"]) for [one] in found if one] == [(int, 1), (float, 1.0), (bool, True), (str, "1")]


def test_another_seed_gives_other_values() -> None:
    assert drawn(5, seed=0) == drawn(5, seed=0)
    assert drawn(5, seed=0) != drawn(5, seed=1)


@given(BOUNDS, st.integers(min_value=0), st.integers(min_value=0, max_value=999))
def test_a_uniform_value_lies_between_its_bounds(bounds: tuple[float, float], seed: int, index: int) -> None:
    space = space_of({"x": Dimension(uniform=Range(min=bounds[0], max=bounds[1]))}, "space")
    value = draw(space, seed, index)["x"]
    assert isinstance(value, float)
    assert bounds[0] <= value <= bounds[1]


@given(st.floats(min_value=1e-300, max_value=1e300), st.floats(min_value=1e-300, max_value=1e300), st.integers(0, 999))
def test_a_log_uniform_value_lies_between_its_bounds(one: float, other: float, index: int) -> None:
    low, high = min(one, other), max(one, other)
    if low < high:
        space = space_of({"x": Dimension(log_uniform=Range(min=low, max=high))}, "space")
        value = draw(space, 0, index)["x"]
        assert isinstance(value, float)
        assert low <= value <= high


@given(st.integers(-(2**53), 2**53), st.integers(1, 2**53), st.integers(1, 1000), st.integers(0, 999))
def test_an_integer_lies_on_a_step_between_its_bounds(low: int, span: int, step: int, index: int) -> None:
    space = space_of({"x": Dimension(int_=IntRange(min=low, max=low + span, step=step))}, "space")
    value = draw(space, 3, index)["x"]
    assert isinstance(value, int)
    assert low <= value <= low + span
    assert (value - low) % step == 0


def test_every_value_comes_about_as_often_as_any_other() -> None:
    found = [one for one in drawn(1000) if one is not None]
    for depth in (2, 4, 6, 8, 10, 12):
        assert 120 <= sum(one["depth"] == depth for one in found) <= 215
    below = sum(math.log10(float(one["lr"])) < -2.5 for one in found)
    assert 440 <= below <= 560
    kinds = [(type(one["optimizer"]), one["optimizer"]) for one in found]
    assert {(bool, True), (int, 1), (str, "sgd")} <= set(kinds)


@pytest.mark.parametrize(
    ("dimension", "says"),
    [
        (Dimension(), "exactly one of uniform, logUniform, int and choice"),
        (Dimension(choice=[1], uniform=Range(min=0, max=1)), "exactly one of uniform"),
        (Dimension(uniform=Range(min=1, max=1)), "space.x.uniform.min must be less than max"),
        (Dimension(uniform=Range(min=-math.inf, max=1)), "uniform.min must be less than max"),
        (Dimension(log_uniform=Range(min=0, max=1)), "logUniform.min must be above 0"),
        (Dimension(int_=IntRange(min=2, max=1)), "int.min must be less than max"),
        (Dimension(int_=IntRange(min=1, max=2, step=0)), "int.step must be at least 1"),
        (Dimension(choice=[]), "choice is empty"),
        (Dimension(choice=[[1]]), "random.space.x.choice: the value at 0 is a list"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_by_name(dimension: Dimension, says: str) -> None:
    with pytest.raises(SearchError) as caught:
        drawn(1, space={"x": dimension})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("count", "space", "says"),
    [
        (0, SPACE, "no combination"),
        (1001, SPACE, "1001 combinations"),
        (1, {"1st": SPACE["lr"]}, "begin a name with a letter"),
        (1, {"lr": SPACE["lr"], "LR": SPACE["lr"]}, "would both be PINNACE_PARAM_LR"),
    ],
)
def test_counts_and_names_are_checked(count: int, space: dict[str, Any], says: str) -> None:
    with pytest.raises(SearchError) as caught:
        drawn(count, space=space)
    assert says in str(caught.value)
