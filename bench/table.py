"""What every table is: a name, and how to measure it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.harness import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How much is to be done. `scratch` is a folder on the disk that is measured; it is removed at the end."""

    quick: bool
    rounds: int
    scratch: Path


@dataclass(frozen=True, slots=True)
class Table:
    """`measure` returns its rows."""

    name: str
    measure: Callable[[Wishes], list[Row]]
