"""Combinations that the spec says itself, by a grid or one by one. Their order never changes.

An iteration's index is the place of its combination here, and its id is derived from the index; so the same spec must
give the same sequence for ever.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace_operator.search.values import Combination, SearchError, check_count, check_names, check_values


def of_grid(grid: Mapping[str, Sequence[Any]]) -> tuple[Combination, ...]:
    """Every combination, with the parameters sorted by name (the API server keeps no other order), the last one varying
    fastest. Raises SearchError.
    """
    names = sorted(grid)
    check_names(names, "spec.parameters.grid")
    count = 1
    for name in names:
        check_values({str(position): value for position, value in enumerate(grid[name])}, f"grid.{name}")
        if not grid[name]:
            raise SearchError(f"spec.parameters.grid.{name} is empty: list at least one value, or remove the parameter")
        count *= len(grid[name])
    check_count(count)
    return tuple(dict(zip(names, values, strict=True)) for values in itertools.product(*(grid[name] for name in names)))


def of_list(combinations: Sequence[Mapping[str, Any]]) -> tuple[Combination, ...]:
    """As they stand there. Raises SearchError."""
    check_count(len(combinations))
    for position, combination in enumerate(combinations):
        check_names(combination, f"spec.parameters.list[{position}]")
        check_values(combination, f"list[{position}]")
    return tuple({name: combination[name] for name in sorted(combination)} for combination in combinations)
