"""Spaces that values are chosen from: of each parameter a range or some choices, checked once. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pinnace_operator.experiment_spec import Dimension
from pinnace_operator.search.values import Scalar, SearchError, check_names, check_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Floats:
    """From `low` to `high`; `log`: each order of magnitude is as likely as any other, and `low` is above 0."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """`count` integers from `low` on, `step` apart."""

    low: int
    step: int
    count: int

    @property
    def high(self) -> int:
        return self.low + (self.count - 1) * self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    values: tuple[Scalar, ...]


Values = Floats | Integers | Choices

#: By parameter, sorted by name.
Space = Mapping[str, Values]


def space_of(declared: Mapping[str, Dimension], field: str) -> Space:
    """Raises SearchError; `field` is where `declared` stands in the spec."""
    if not declared:
        raise SearchError(f"{field} is empty: name at least one parameter there")
    check_names(sorted(declared), field)
    return {name: _values(declared[name], f"{field}.{name}") for name in sorted(declared)}


def _values(declared: Dimension, field: str) -> Values:
    found: list[Values] = []
    if declared.uniform is not None:
        low, high = _bounds(declared.uniform.min, declared.uniform.max, f"{field}.uniform")
        found.append(Floats(low=low, high=high))
    if declared.log_uniform is not None:
        low, high = _bounds(declared.log_uniform.min, declared.log_uniform.max, f"{field}.logUniform")
        if low <= 0:
            raise SearchError(f"{field}.logUniform.min must be above 0, because logarithms need that: raise it")
        found.append(Floats(low=low, high=high, log=True))
    if declared.int_ is not None:
        low_int, high_int, step = declared.int_.min, declared.int_.max, declared.int_.step
        _bounds(low_int, high_int, f"{field}.int")
        if step < 1:
            raise SearchError(f"{field}.int.step must be at least 1: write how far apart the values are")
        found.append(Integers(low=low_int, step=step, count=(high_int - low_int) // step + 1))
    if declared.choice is not None:
        found.append(_choices(declared.choice, field))
    if len(found) != 1:
        raise SearchError(f"{field} takes exactly one of uniform, logUniform, int and choice: keep one of them")
    return found[0]


def _bounds(low: float, high: float, field: str) -> tuple[float, float]:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SearchError(f"{field}.min must be less than max: swap them, or use choice for a single value")
    return low, high


def _choices(values: Any, field: str) -> Choices:
    if not values:
        raise SearchError(f"{field}.choice is empty: list at least one value, or remove the parameter")
    where = field.removeprefix("spec.parameters.")
    check_values({str(position): value for position, value in enumerate(values)}, f"{where}.choice")
    return Choices(values=tuple(values))
