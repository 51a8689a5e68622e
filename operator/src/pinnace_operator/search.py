"""The search space: which combinations of parameters there are, in an order that never changes.

An iteration's index is the place of its combination here, and its id is derived from the index; so the same spec must
give the same sequence for ever.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pinnace.naming import PARAM_PREFIX
from pinnace_operator.experiment import Parameters

#: More iterations than this are several Experiments.
MAX_ITERATIONS: Final = 1000

Scalar = str | int | float | bool
Combination = dict[str, Scalar]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,199}")


class SearchError(ValueError):
    """The search space makes no sense; the text names the field and says what to write instead."""


def combinations(parameters: Parameters | None) -> tuple[Combination, ...]:
    """Every combination, by index. Without parameters: one that is empty.

    A grid is walked with its parameters sorted by name (the API server keeps no other order), the last one varying
    fastest. Raises SearchError.
    """
    if parameters is None:
        return ({},)
    if parameters.grid is not None and parameters.list is not None:
        raise SearchError("spec.parameters takes exactly one of grid and list: keep one of them")
    if parameters.grid is not None:
        return _grid(parameters.grid)
    if parameters.list is not None:
        return _list(parameters.list)
    raise SearchError("spec.parameters has neither grid nor list: write one of them, or leave spec.parameters out")


def variable(name: str) -> str:
    """The environment variable that carries the parameter `name`."""
    return PARAM_PREFIX + re.sub(r"[^A-Z0-9_]", "_", name.upper())


def spelled(value: Scalar) -> str:
    """`value` as a container finds it: text as it is, numbers and booleans as in JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _grid(grid: Mapping[str, Sequence[Any]]) -> tuple[Combination, ...]:
    names = sorted(grid)
    _check_names(names, "spec.parameters.grid")
    count = 1
    for name in names:
        _check_values({str(position): value for position, value in enumerate(grid[name])}, f"grid.{name}")
        if not grid[name]:
            raise SearchError(f"spec.parameters.grid.{name} is empty: list at least one value, or remove the parameter")
        count *= len(grid[name])
    _check_count(count)
    return tuple(dict(zip(names, values, strict=True)) for values in itertools.product(*(grid[name] for name in names)))


def _list(combinations_: Sequence[Mapping[str, Any]]) -> tuple[Combination, ...]:
    _check_count(len(combinations_))
    for position, combination in enumerate(combinations_):
        _check_names(combination, f"spec.parameters.list[{position}]")
        _check_values(combination, f"list[{position}]")
    return tuple({name: combination[name] for name in sorted(combination)} for combination in combinations_)


def _check_count(count: int) -> None:
    if count > MAX_ITERATIONS:
        raise SearchError(
            f"spec.parameters has {count} combinations and at most {MAX_ITERATIONS} are possible: "
            "take values out, or split them into several Experiments"
        )
    if count == 0:
        raise SearchError("spec.parameters has no combination: list at least one, or leave spec.parameters out")


def _check_names(names: Iterable[str], field: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise SearchError(
                f"{field} has a parameter called {name[:80]!r}: begin a name with a letter, and use only letters, "
                "digits, '_', '-', '.' and '/'"
            )
        twin = seen.setdefault(variable(name), name)
        if twin != name:
            raise SearchError(
                f"{field} has the parameters {twin!r} and {name!r}, which would both be {variable(name)} in the "
                "environment: rename one of them"
            )


def _check_values(values: Mapping[str, Any], field: str) -> None:
    for key, value in values.items():
        if not isinstance(value, str | int | float):
            raise SearchError(
                f"spec.parameters.{field}: the value at {key} is {_kind(value)}, and a value is a string, a number or "
                "a boolean: write structures as JSON in a string"
            )


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), type(value).__name__)
