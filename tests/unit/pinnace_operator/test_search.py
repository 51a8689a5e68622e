"""Combinations of parameters: the order is a promise, because ids are derived from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace_operator.experiment_spec import Parameters
from pinnace_operator.search import search_of
from pinnace_operator.search.values import Combination, SearchError, spelled, variable

VALUES = st.one_of(st.text(max_size=5), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


def combinations(parameters: Parameters | None) -> tuple[Combination, ...]:
    search = search_of(parameters, None)
    found = [search.parameters_of(index, {}) for index in range(search.count)]
    return tuple(one for one in found if one is not None)


def test_without_parameters_there_is_one_iteration() -> None:
    assert combinations(None) == ({},)


def test_a_grid_is_walked_by_name_with_the_last_parameter_fastest() -> None:
    grid = Parameters(grid={"b": [1, 2], "a": ["x", "y"]})
    assert combinations(grid) == (
        {"a": "x", "b": 1},
        {"a": "x", "b": 2},
        {"a": "y", "b": 1},
        {"a": "y", "b": 2},
    )


def test_a_list_is_taken_in_its_own_order() -> None:
    assert combinations(Parameters(list=[{"lr": 0.5}, {"depth": 3, "lr": 1}, {}])) == (
        {"lr": 0.5},
        {"depth": 3, "lr": 1},
        {},
    )


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(VALUES, min_size=1, max_size=4), min_size=1))
def test_a_grid_gives_every_combination_once_with_its_json_types(grid: dict[str, list[object]]) -> None:
    found = combinations(Parameters(grid=grid))
    expected = 1
    for values in grid.values():
        expected *= len(values)
    assert len(found) == expected
    for combination in found:
        for name, value in combination.items():
            assert any(value is candidate for candidate in grid[name])
    assert found == combinations(Parameters(grid=dict(reversed(grid.items()))))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (Parameters(), "exactly one of grid, list, random and optuna, and has none"),
        (Parameters(grid={"a": [1]}, list=[{}]), "exactly one of grid, list, random and optuna, and has grid and list"),
        (Parameters(grid={"a": list(range(50)), "b": list(range(21))}), "1050 combinations and at most 1000"),
        (Parameters(list=[]), "no combination"),
        (Parameters(grid={"a": []}), "spec.parameters.grid.a is empty"),
        (Parameters(grid={"a": [{"b": 1}]}), "spec.parameters.grid.a: the value at 0 is an object"),
        (Parameters(grid={"a": [[1]]}), "is a list"),
        (Parameters(grid={"a": [None]}), "is null"),
        (Parameters(list=[{"a": None}]), "spec.parameters.list[0]: the value at a is null"),
        (Parameters(grid={"1st": [1]}), "'1st': begin a name with a letter"),
        (Parameters(list=[{"": 1}]), "spec.parameters.list[0] has a parameter called ''"),
        (Parameters(grid={"lr": [1], "LR": [2]}), "would both be PINNACE_PARAM_LR"),
        (Parameters(list=[{"a.b": 1, "a-b": 2}]), "would both be PINNACE_PARAM_A_B"),
    ],
)
def test_a_search_space_that_makes_no_sense_is_refused_by_name(parameters: Parameters, says: str) -> None:
    with pytest.raises(SearchError) as caught:
        combinations(parameters)
    assert says in str(caught.value)


def test_names_and_values_are_spelled_for_the_environment() -> None:
    assert variable("lr.warm-up") == "PINNACE_PARAM_LR_WARM_UP"
    assert [spelled(value) for value in ("a b", 3, 0.5, True)] == ["a b", "3", "0.5", "true"]
