"""Optimisers that choose an iteration's parameters by what earlier iterations came to: what one has to be able to.

To ask is one call with everything that is known: nothing is kept between two of them, so an operator that starts again
goes on where it was. What came of asking is remembered as the iteration's row in the metadata API before its Job is
made, and is never asked for again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pinnace_operator.search.values import Combination


class Told(StrEnum):
    """What is known of an iteration that has parameters."""

    #: It ended, and has a value.
    VALUE = "value"
    #: It was stopped before its end; `value` is how far it had come.
    STOPPED = "stopped"
    #: It failed, or ended without a value.
    NOTHING = "nothing"
    #: It runs, or will.
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    index: int
    parameters: Combination
    told: Told
    #: Finite; None for those that have none.
    value: float | None = None


class Suggester(Protocol):
    """One optimiser with its search space, goal and seed.

    The same question has the same answer, in one version of the optimiser's library. Every value lies in the space and
    has the type that the space gives it.
    """

    def suggest(self, indexes: Sequence[int], trials: Sequence[Trial]) -> tuple[Combination, ...]:
        """Parameters for the iterations `indexes`, which are new, in view of all the others.

        Trials with parameters that are not in the space are passed over.
        """
